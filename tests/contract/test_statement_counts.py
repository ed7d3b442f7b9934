"""The number of statements that each call sends. It is fixed, whatever the call finds; a change of it is a change of speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, insert

from fine_tuning_store import (
    CheckpointPermission,
    FineTuningJobCheckpoint,
    FineTuningJobEvent,
    FineTuningStore,
    Hyperparameters,
    IllegalTransitionError,
    JobError,
)
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from fine_tuning_store.sql.models import JOB_CHILDREN, job_transitions
from tests.support.databases import Database
from tests.support.factories import a_job, a_transition, created, stored
from tests.support.tables import each

MODEL = "ft:m"


@contextmanager
def statements(store: FineTuningStore) -> Iterator[list[str]]:
    """Yield the list of statements sent in the block, except BEGIN, SAVEPOINT and RELEASE."""
    sent: list[str] = []

    def record(_: Any, __: Any, statement: str, *___: Any) -> None:
        if not statement.startswith(("BEGIN", "SAVEPOINT", "RELEASE")):
            sent.append(statement)

    engine = store._transactions.engine
    event.listen(engine, "before_cursor_execute", record)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", record)


def an_event(number: int) -> FineTuningJobEvent:
    return FineTuningJobEvent(id=f"ftevent-new-{number}", created_at=1, message="hello")


def a_checkpoint(job_id: str) -> FineTuningJobCheckpoint:
    return FineTuningJobCheckpoint(
        id="ftckpt_new", created_at=1, fine_tuned_model_checkpoint=MODEL, fine_tuning_job_id=job_id, step_number=5
    )


Call = Callable[[FineTuningStore, str], object]
#: The calls that append events. On MariaDB, whose UPDATE returns nothing, they read the last position by a statement of its own.
APPENDS = ("pause with a message", "events.append", "events.append_many", "events.import_many")
#: For each call the status of its job, the number of statements, and the call.
CALLS: dict[str, tuple[str, int, Call]] = {
    "get": ("running", 1, lambda store, id: store.jobs.get(id)),
    "get_many": ("running", 1, lambda store, id: store.jobs.get_many([id])),
    "get_many of none": ("running", 0, lambda store, _: store.jobs.get_many([])),
    "list": ("running", 1, lambda store, _: store.jobs.list()),
    "list of two statuses": ("running", 2, lambda store, _: store.jobs.list(status=["running", "queued"])),
    "list with several filters": ("running", 3, lambda store, _: store.jobs.list(status="running", metadata={"a": "b"})),
    "list after": ("running", 2, lambda store, id: store.jobs.list(after=id)),
    "iterate": ("running", 1, lambda store, _: list(store.jobs.iterate())),
    "count": ("running", 1, lambda store, _: store.jobs.count(status="running", metadata={"a": "b"})),
    "count with a limit": ("running", 1, lambda store, _: store.jobs.count(limit=5)),
    "statistics.counts": ("running", 1, lambda store, _: store.statistics.counts(by=("model", "metadata.a"), bucket="month")),
    "statistics.durations": ("running", 1, lambda store, _: store.statistics.durations(by=("model", "metadata.a"), bucket="week")),
    "statistics.error_codes": ("failed", 1, lambda store, _: store.statistics.error_codes(metadata={"a": "b"})),
    "statistics.queue": ("running", 1, lambda store, _: store.statistics.queue()),
    "enqueue": ("validating_files", 2, lambda store, id: store.jobs.enqueue(id)),
    "start": ("queued", 2, lambda store, id: store.jobs.start(id)),
    "start with hyperparameters": ("queued", 4, lambda store, id: store.jobs.start(id, hyperparameters=Hyperparameters(n_epochs=3))),
    "requeue": ("running", 2, lambda store, id: store.jobs.requeue(id)),
    "pause": ("running", 2, lambda store, id: store.jobs.pause(id)),
    "resume": ("paused", 2, lambda store, id: store.jobs.resume(id)),
    "succeed": ("running", 2, lambda store, id: store.jobs.succeed(id, fine_tuned_model=MODEL, trained_tokens=5)),
    "succeed with files": ("running", 4, lambda store, id: store.jobs.succeed(id, fine_tuned_model=MODEL, result_files=["a", "b"])),
    "fail": ("running", 4, lambda store, id: store.jobs.fail(id, JobError(code="c"))),
    "cancel": ("running", 2, lambda store, id: store.jobs.cancel(id)),
    "cancel again": ("cancelled", 3, lambda store, id: store.jobs.cancel(id)),
    "pause with a message": ("queued", 4, lambda store, id: store.jobs.pause(id, message="hello")),
    "update": ("running", 3, lambda store, id: store.jobs.update(id, trained_tokens=5)),
    "update metadata": ("running", 5, lambda store, id: store.jobs.update(id, metadata={"a": "b", "c": "d"})),
    "update metadata to none": ("running", 4, lambda store, id: store.jobs.update(id, metadata=None)),
    "replace": ("running", 9, lambda store, id: store.jobs.replace(a_job(id=id, error=JobError(code="c")))),
    "replace_many": ("running", 9, lambda store, id: store.jobs.replace_many([a_job(id=id, metadata={"a": "b"})])),
    "delete_expired_idempotency_keys": ("running", 1, lambda store, _: store.jobs.delete_expired_idempotency_keys()),
    "delete": ("failed", 3, lambda store, id: store.jobs.delete(id)),
    "transitions.import_many of none": ("running", 1, lambda store, id: store.transitions.import_many(id, [])),
    "transitions.import_many": (
        "running",
        4,
        lambda store, id: store.transitions.import_many(id, [a_transition(id, number) for number in range(1, 1000)]),
    ),
    "transitions.list": ("running", 1, lambda store, id: store.transitions.list(id)),
    "transitions.list after": ("running", 2, lambda store, id: store.transitions.list(id, after="fttransition-2")),
    "events.append": ("running", 2, lambda store, id: store.events.append(id, "hello", data={"a": 1})),
    "events.append_many": ("running", 2, lambda store, id: store.events.append_many(id, [{"message": "one"}, {"message": "two"}])),
    "events.append_many of none": ("running", 1, lambda store, id: store.events.append_many(id, [])),
    "events.import_many": ("running", 4, lambda store, id: store.events.import_many(id, [an_event(number) for number in range(1000)])),
    "events.import_many of none": ("running", 1, lambda store, id: store.events.import_many(id, [])),
    "events.list": ("running", 1, lambda store, id: store.events.list(id)),
    "events.list after": ("running", 2, lambda store, id: store.events.list(id, after="ftevent-2")),
    "events.list after the last": ("running", 3, lambda store, id: store.events.list(id, after="ftevent-0")),
    "events.tail": ("running", 1, lambda store, id: store.events.tail(id)),
    "events.tail after the last": ("running", 2, lambda store, id: store.events.tail(id, 99)),
    "checkpoints.create": (
        "running",
        2,
        lambda store, id: store.checkpoints.create(id, step_number=3, fine_tuned_model_checkpoint=MODEL, metrics={"a": 1}),
    ),
    "checkpoints.add": ("running", 2, lambda store, id: store.checkpoints.add(a_checkpoint(id))),
    "checkpoints.import_many": ("running", 3, lambda store, id: store.checkpoints.import_many(id, [a_checkpoint(id)])),
    "checkpoints.import_many of none": ("running", 1, lambda store, id: store.checkpoints.import_many(id, [])),
    "checkpoints.list": ("running", 1, lambda store, id: store.checkpoints.list(id)),
    "checkpoints.list after": ("running", 2, lambda store, id: store.checkpoints.list(id, after="ftckpt_1")),
    "checkpoint_permissions.create": ("running", 5, lambda store, _: store.checkpoint_permissions.create("ft:c", ["proj_new"])),
    "checkpoint_permissions.create of three": ("running", 7, lambda store, _: store.checkpoint_permissions.create("ft:c", ["a", "b", "c"])),
    "checkpoint_permissions.import_many": (
        "running",
        5,
        lambda store, id: store.checkpoint_permissions.import_many(
            id, [CheckpointPermission(id="cp_new", created_at=1, project_id="proj_new", fine_tuned_model_checkpoint="ft:c")]
        ),
    ),
    "checkpoint_permissions.import_many of none": ("running", 2, lambda store, id: store.checkpoint_permissions.import_many(id, [])),
    "checkpoint_permissions.list": ("running", 2, lambda store, _: store.checkpoint_permissions.list("ft:c")),
}


def test_every_public_method_is_counted(sqlite_store: FineTuningStore) -> None:
    names = {name.split()[0] for name in CALLS} | {"create", "add", "add_many", "checkpoint_permissions.delete"}
    public = {name for name in dir(sqlite_store.jobs) if not name.startswith("_")}
    for repository in ("transitions", "events", "checkpoints", "checkpoint_permissions", "statistics"):
        public |= {f"{repository}.{name}" for name in dir(getattr(sqlite_store, repository)) if not name.startswith("_")}

    assert names == public


#: The transitions that PostgreSQL makes by one statement, which returns the job.
AT_ONCE = ("enqueue", "start", "requeue", "pause", "resume", "succeed", "cancel")


def is_logged(call: str) -> bool:
    """Return whether a call makes a transition."""
    return call.split(maxsplit=1)[0] in TRANSITIONS and call != "cancel again"


@each("call", CALLS)
def test_a_call_sends_a_fixed_number_of_statements(store: FineTuningStore, call: str, database: Database) -> None:
    status, number, function = CALLS[call]
    if call == "delete" and database.name == "sqlite":  # the store deletes the child rows itself, as foreign keys may be off
        number += len(JOB_CHILDREN)
    if is_logged(call) and database.name != "postgresql":  # which logs in the statement of the transition
        number += 1
    if call in AT_ONCE and database.name == "postgresql":
        number = 1
    if call == "cancel again" and database.name == "postgresql":  # nothing to be done at once
        number += 1
    if call in APPENDS and database.name == "mariadb":
        number += 1
    job = stored(
        store,
        status=status,
        metadata={"a": "b", "c": "d"},
        result_files=("f1", "f2"),
        fine_tuned_model="ft:final",
        error=JobError(code="c"),
    )
    store.events.import_many(
        job.id, [FineTuningJobEvent(id=f"ftevent-{number}", created_at=1, message="", data={"a": 1}) for number in range(4)]
    )
    for step in range(3):
        store.checkpoints.add(
            FineTuningJobCheckpoint(
                id=f"ftckpt_{step}", created_at=1, fine_tuned_model_checkpoint="ft:c", fine_tuning_job_id=job.id, step_number=step
            )
        )
    store.checkpoint_permissions.create("ft:c", ["proj_1", "proj_2"])
    logged = {"job_id": job.id, "transition": "start", "from_status": "queued", "to_status": status, "at": 1, "attempt": 1}
    with store.engine.begin() as connection:
        connection.execute(insert(job_transitions), [{**logged, "id": f"fttransition-{number}", "position": -number} for number in (1, 2)])

    with statements(store) as sent:
        function(store, job.id)

    assert len(sent) == number, (len(sent), sent)


def test_a_creation_sends_one_statement_on_postgresql_and_at_most_three_elsewhere(store: FineTuningStore, database: Database) -> None:
    store.jobs.list()
    with statements(store) as bare:
        created(store)
    with statements(store) as full:
        created(store, metadata={"a": "b", "c": "d"}, hyperparameters=Hyperparameters(n_epochs=3), suffix="s")

    assert len(bare) == (1 if database.name == "postgresql" else 2), bare
    assert len(full) == (1 if database.name == "postgresql" else 3), full


def test_three_hundred_jobs_are_added_with_seven_statements(store: FineTuningStore) -> None:
    template = stored(store, metadata={"a": "b"}, result_files=("f",), error=JobError(code="c"), status="failed")
    store.jobs.delete(template.id)
    with statements(store) as sent:
        store.jobs.add_many([replace(template, id=f"ftjob-{number}") for number in range(300)])

    assert len(sent) == 7, (len(sent), sent)


def test_a_purge_sends_three_statements_a_transaction_and_one_a_page_of_each_status(store: FineTuningStore, database: Database) -> None:
    for number in range(10):
        stored(store, status="failed", finished_at=number)
    store.jobs.count()
    with statements(store) as sent:
        store.retention.purge(finished_before=100, batch_size=5, dry_run=False)

    of_children = len(JOB_CHILDREN) if database.name == "sqlite" else 0
    assert len(sent) == 3 + 2 + 3 + 2 * (3 + of_children), (len(sent), sent)  # keys with an end, without one, transactions


def test_an_illegal_transition_sends_three_statements_and_on_postgresql_four(store: FineTuningStore, database: Database) -> None:
    job = stored(store, status="failed")
    with statements(store) as sent, pytest.raises(IllegalTransitionError):
        store.jobs.start(job.id)

    assert len(sent) == (4 if database.name == "postgresql" else 3), (len(sent), sent)


def test_a_claim_is_one_statement_on_postgresql_and_four_elsewhere_and_a_write_of_its_lease_two_more(
    store: FineTuningStore, database: Database
) -> None:
    stored(store, status="queued", metadata={"a": "b"})
    with statements(store) as sent:
        lease = store.leases.claim("worker-1")
    assert lease is not None
    assert len(sent) == (1 if database.name == "postgresql" else 4), sent
    with statements(store) as sent:
        assert store.leases.claim("worker-1") is None
    assert len(sent) == 1, sent
    with statements(store) as sent:
        lease.heartbeat()
    assert len(sent) == 3, sent
    with statements(store) as sent:
        lease.succeed(fine_tuned_model=MODEL)
    assert len(sent) == (4 if database.name == "postgresql" else 5), sent


@pytest.mark.parametrize("jobs", [1, 20])
def test_a_page_takes_one_statement_regardless_of_its_rows(store: FineTuningStore, jobs: int) -> None:
    for _ in range(jobs):
        stored(store, metadata={"a": "b"}, result_files=("f1", "f2"), error=JobError(code="c"), status="failed")
    with statements(store) as sent:
        assert len(store.jobs.list(limit=20)) == jobs

    assert len(sent) == 1, (len(sent), sent)


def test_a_permission_is_deleted_with_one_statement(store: FineTuningStore) -> None:
    stored(store, fine_tuned_model=MODEL, status="succeeded")
    (permission,) = store.checkpoint_permissions.create(MODEL, ["proj_1"])
    with statements(store) as sent:
        store.checkpoint_permissions.delete(permission.id)

    assert len(sent) == 1, (len(sent), sent)


def test_a_cursor_of_permissions_takes_one_more_statement(store: FineTuningStore) -> None:
    stored(store, fine_tuned_model=MODEL, status="succeeded")
    newest = store.checkpoint_permissions.create(MODEL, ["proj_1", "proj_2"])[-1]
    with statements(store) as sent:
        assert len(store.checkpoint_permissions.list(MODEL, after=newest.id)) == 1

    assert len(sent) == 3, (len(sent), sent)  # one finds the organization, as the store is of all organizations

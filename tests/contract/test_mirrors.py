"""Mirrored jobs: those from elsewhere, which a newer version may replace as a whole until a transition changes their status here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from fine_tuning_store import (
    FineTuningJob,
    FineTuningJobEvent,
    FineTuningStore,
    Hyperparameters,
    IllegalTransitionError,
    InvalidValueError,
    JobAlreadyExistsError,
    JobError,
    JobStatus,
)
from fine_tuning_store.domain.job import STORE_MEMBERS
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from tests.contract.test_jobs import EVERYTHING
from tests.contract.test_retention_locks import BRIEF, other_transaction
from tests.support.async_store import run_with_store
from tests.support.databases import Database
from tests.support.factories import a_job, created, stored, transition
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

#: A value that no default has for each member that only a store knows, as an export of another store has them.
HISTORY: dict[str, Any] = {
    "attempt": 3,
    "queued_at": 1_700_000_100,
    "started_at": 1_700_000_200,
    "updated_at": 1_700_000_300,
    "queued_seconds": 40,
    "running_seconds": 50,
    "available_at": 1_700_000_400,
    "lost_leases": 2,
}
LEASE: dict[str, Any] = {"worker_id": "worker-1", "lease_expires_at": 4_000_000_000}


def test_every_member_that_only_a_store_knows_is_imported_here() -> None:
    assert {*HISTORY, *LEASE} == set(STORE_MEMBERS)


@each("status", list(JobStatus))
def test_an_added_job_keeps_what_its_store_knew_of_it_but_its_lease(store: FineTuningStore, status: JobStatus) -> None:
    job = a_job(status=status, **HISTORY, **LEASE)

    added = store.jobs.add(job)

    assert added == replace(job, worker_id=None, lease_expires_at=None)
    assert store.jobs.get(job.id) == added


def test_a_job_that_is_not_stored_is_added_and_its_change_is_now(store: FineTuningStore) -> None:
    job = replace(EVERYTHING, **HISTORY, **LEASE)

    replaced = store.jobs.replace(job)

    assert replaced.updated_at is not None
    assert replaced.updated_at > HISTORY["updated_at"]
    assert replaced == replace(job, updated_at=replaced.updated_at, worker_id=None, lease_expires_at=None)
    assert store.jobs.get(job.id) == replaced


@each("newer", [EVERYTHING, a_job(id=EVERYTHING.id, organization_id=EVERYTHING.organization_id, created_at=5)])
@each("older", [EVERYTHING, a_job(id=EVERYTHING.id, organization_id=EVERYTHING.organization_id, metadata={"team": "vision"})])
def test_a_mirrored_job_is_replaced_as_a_whole(store: FineTuningStore, older: FineTuningJob, newer: FineTuningJob) -> None:
    store.jobs.add(replace(older, queued_at=7, attempt=9))

    replaced = store.jobs.replace(replace(newer, **HISTORY))

    assert replaced == replace(newer, **{**HISTORY, "updated_at": replaced.updated_at})
    assert store.jobs.get(newer.id) == replaced
    assert [job.id for job in store.jobs.iterate(metadata=newer.metadata, created_until=newer.created_at + 1)] == [newer.id]
    assert store.jobs.list(metadata={"team": "vision"}).data == ()


def test_the_change_of_a_replaced_job_is_not_before_its_creation(store: FineTuningStore) -> None:
    job = store.jobs.replace(a_job(created_at=4_000_000_000))

    assert job.updated_at == job.created_at


@each("after", list(JobStatus))
@each("before", list(JobStatus))
def test_a_job_of_any_status_is_replaced_by_one_of_any_other(store: FineTuningStore, before: JobStatus, after: JobStatus) -> None:
    job = stored(store, status=before)
    finished_at = 1_800_000_000 if after.is_ended else None

    for model in ("m-1", "m-2"):  # a replaced job is a mirrored one
        replaced = store.jobs.replace(replace(job, status=after, finished_at=finished_at, model=model))

        assert store.jobs.get(job.id) == replaced
        assert (replaced.status, replaced.finished_at, replaced.model) == (after, finished_at, model)


def test_what_belongs_to_a_replaced_job_stays_and_no_transition_is_logged(store: FineTuningStore) -> None:
    job = stored(store, status="running", fine_tuned_model="ft:final")
    store.events.import_many(job.id, [FineTuningJobEvent(id="ftevent-1", created_at=1, message="m")])
    store.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint="ft:c")
    permissions = store.checkpoint_permissions.create("ft:c", ["proj-1"])
    before = [store.events.tail(job.id), store.checkpoints.list(job.id)]

    store.jobs.replace(replace(job, status=JobStatus.SUCCEEDED, finished_at=9, fine_tuned_model=None))

    assert [store.events.tail(job.id), store.checkpoints.list(job.id)] == before
    assert store.checkpoint_permissions.list("ft:c").data == permissions
    assert store.transitions.list(job.id).data == ()
    assert store.events.append(job.id, "next").position == 2


@each("verb", TRANSITIONS)
def test_a_job_whose_status_was_changed_here_is_not_replaced(store: FineTuningStore, verb: str) -> None:
    job = stored(store, status=TRANSITIONS[verb].sources[0])
    changed = transition(store.jobs, verb, job.id)

    with pytest.raises(IllegalTransitionError, match="not a mirrored job") as refused:
        store.jobs.replace(job)

    assert (refused.value.job_id, refused.value.transition, refused.value.status) == (job.id, "replace", changed.status)
    assert store.jobs.get(job.id) == changed


def test_a_job_that_a_worker_claimed_is_not_replaced(store: FineTuningStore) -> None:
    job = stored(store, status="queued")
    lease = store.leases.claim("worker-1")
    assert lease is not None

    with pytest.raises(IllegalTransitionError):
        store.jobs.replace(job)

    assert store.jobs.get(job.id) == lease.job


@each("options", [{}, {"id": "ftjob-own"}, {"idempotency_key": "key-1"}])
def test_a_job_that_was_created_here_is_not_replaced(store: FineTuningStore, options: dict[str, Any]) -> None:
    job = created(store, **options)

    with pytest.raises(IllegalTransitionError):
        store.jobs.replace(replace(job, model="other"))

    assert store.jobs.get(job.id) == job


def test_a_job_that_code_without_a_log_has_changed_is_not_replaced(store: FineTuningStore) -> None:
    """Such as a release before the log of transitions, in a rolling deploy."""
    job = stored(store, status="queued")
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE fine_tuning_jobs SET status = 'running'"))

    with pytest.raises(IllegalTransitionError):
        store.jobs.replace(job)


def test_an_update_of_a_mirrored_job_leaves_it_one(store: FineTuningStore) -> None:
    job = stored(store, status="running")
    store.jobs.update(job.id, metadata={"label": "own"}, trained_tokens=4)

    assert store.jobs.replace(job).metadata is None


def test_the_totals_of_an_imported_job_go_on_here(store: FineTuningStore) -> None:
    job = stored(store, status="queued", queued_at=2, queued_seconds=40, running_seconds=50, attempt=1)

    started = store.jobs.start(job.id)

    assert started.queued_seconds is not None
    assert started.queued_seconds > 40
    assert (started.running_seconds, started.attempt) == (50, 2)
    assert store.jobs.requeue(job.id).running_seconds is not None


def test_many_jobs_are_stored_and_replaced_in_one_call(store: FineTuningStore) -> None:
    old = [a_job(metadata={"n": str(number)}, result_files=("a", "b"), error=JobError(code="c")) for number in range(150)]
    store.jobs.add_many(old)
    newer = [replace(job, model="m-2", result_files=("c",), error=None, hyperparameters=Hyperparameters(n_epochs=2)) for job in old]
    mixed = [*newer[::-1], *(a_job(metadata={"n": "new"}) for _ in range(150))]

    replaced = store.jobs.replace_many(iter(mixed))

    assert [replace(job, updated_at=None) for job in replaced] == mixed
    assert {job.id: job for job in store.jobs.iterate(page_size=1000)} == {job.id: job for job in replaced}
    assert store.jobs.replace_many([]) == ()


@each("refused", ["own", "foreign", "twice"])
def test_if_one_of_many_jobs_is_refused_none_is_written_even_in_a_unit_that_commits(store: FineTuningStore, refused: str) -> None:
    mirrored = [stored(store) for _ in range(120)]
    own, foreign = created(store, id="ftjob-zz"), stored(store, organization_id="org-other", id="ftjob-zzz")
    jobs = [a_job(id="a-new"), *(replace(job, model="other") for job in mirrored), a_job(id="zzzz-new")]
    jobs.append({"own": own, "foreign": replace(foreign, organization_id="org-1"), "twice": jobs[0]}[refused])

    with store.begin() as unit, pytest.raises(IllegalTransitionError if refused == "own" else JobAlreadyExistsError):
        unit.jobs.replace_many(jobs)

    assert {job.id: job for job in store.jobs.iterate()} == {job.id: job for job in [*mirrored, own, foreign]}


def test_a_store_of_the_organization_replaces_its_own_job(store: FineTuningStore) -> None:
    job, other = stored(store, metadata={"a": "b"}), stored(store, organization_id="org-other", metadata={"a": "b"})
    scoped = store.for_organization("org-1")

    replaced = scoped.jobs.replace(replace(job, organization_id=None, metadata={"a": "c"}, result_files=("f",)))

    assert scoped.jobs.get(job.id) == replaced
    assert (replaced.organization_id, replaced.metadata, replaced.result_files) == ("org-1", {"a": "c"}, ("f",))
    assert store.jobs.get(other.id) == other


def test_many_replacements_neither_wait_for_nor_lock_rows_of_another_organization(url: str, driver: str | None, database: Database) -> None:
    """Also where the jobs are most of the table, so that MariaDB would rather read all of it."""
    if database.name == "sqlite":
        return
    members: dict[str, Any] = {"metadata": {"a": "b"}, "result_files": ("f",), "error": JobError(code="c"), "status": "failed"}

    def replace_all(store: Any) -> None:
        own = [stored(store, **members) for _ in range(150)]
        stored(store, organization_id="org-other", **members)
        with other_transaction(url, database) as connection:
            for table in ("jobs", "job_errors", "job_hyperparameters", "job_metadata", "job_result_files"):
                id = "id" if table == "jobs" else "job_id"
                others = "(SELECT id FROM fine_tuning_jobs WHERE organization_id = 'org-other')"
                connection.execute(text(f"SELECT {id} FROM fine_tuning_{table} WHERE {id} IN {others} FOR UPDATE")).all()
            store.for_organization("org-1").jobs.replace_many([replace(job, model="newer") for job in own])

        assert store.jobs.count(model="newer") == len(own)

    run_with_store(replace_all, url, driver, timeouts=BRIEF)


def test_a_replacement_is_rolled_back_with_its_unit(store: FineTuningStore) -> None:
    job = stored(store, metadata={"a": "b"})

    with pytest.raises(ZeroDivisionError), store.begin() as unit:
        unit.jobs.replace(replace(job, metadata={"c": "d"}))
        raise ZeroDivisionError

    assert store.jobs.get(job.id) == job


def test_what_is_no_job_is_refused_by_its_field(store: FineTuningStore) -> None:
    job = stored(store)

    wrong: list[tuple[str, Any]] = [("model", ""), ("status", "unknown"), ("attempt", -1)]
    for field, value in wrong:
        with pytest.raises(InvalidValueError, match=field):
            store.jobs.replace(replace(job, **{field: value}))
    with pytest.raises(InvalidValueError, match="FineTuningJob"):
        store.jobs.replace("ftjob-1")  # type: ignore[arg-type]
    assert store.jobs.get(job.id) == job

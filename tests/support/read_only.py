"""Every call of the repositories: those that read, and those that a read-only store refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fine_tuning_store import FineTuningJobCheckpoint, FineTuningJobEvent, FineTuningStore, JobError
from tests.support.factories import ORGANIZATION, a_job, created

MODEL = "ft:m:ckpt-step-1"

#: By database, what makes a session of it read-only.
READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET default_transaction_read_only = on",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}

#: Each takes a store or a unit, and the id of a job.
Call = Callable[[Any, str], Any]

READS: dict[str, Call] = {
    "jobs.get": lambda store, id: store.jobs.get(id),
    "jobs.get_many": lambda store, id: store.jobs.get_many([id]),
    "jobs.list": lambda store, _: store.jobs.list(status=["running"], metadata={"a": "b"}).data,
    "jobs.iterate": lambda store, _: list(store.jobs.iterate(page_size=1)),
    "jobs.count": lambda store, _: store.jobs.count(status="running"),
    "statistics.counts": lambda store, _: store.statistics.counts(by=("status", "metadata.a"), bucket="day"),
    "statistics.durations": lambda store, _: store.statistics.durations(by=("model",)),
    "statistics.error_codes": lambda store, _: store.statistics.error_codes(),
    "statistics.queue": lambda store, _: store.statistics.queue(),
    "transitions.list": lambda store, id: store.transitions.list(id, limit=1).data,
    "events.list": lambda store, id: store.events.list(id, limit=1).data,
    "events.tail": lambda store, id: store.events.tail(id).data,
    "checkpoints.list": lambda store, id: store.checkpoints.list(id).data,
    "checkpoint_permissions.list": lambda store, _: store.checkpoint_permissions.list(MODEL).data,
}

#: The second page of each list, which a cursor begins.
NEXT_PAGES: dict[str, Call] = {
    "jobs.list": lambda store, id: store.jobs.list(after=id).data,
    "transitions.list": lambda store, id: store.transitions.list(id, after=store.transitions.list(id, limit=1).last_id).data,
    "events.list": lambda store, id: store.events.list(id, after=store.events.list(id, limit=1).last_id).data,
    "checkpoints.list": lambda store, id: store.checkpoints.list(id, after=store.checkpoints.list(id, limit=1).last_id).data,
    "checkpoint_permissions.list": lambda store, _: (
        store.checkpoint_permissions.list(MODEL, after=store.checkpoint_permissions.list(MODEL, limit=1).last_id).data
    ),
}

WRITES: dict[str, Call] = {
    "jobs.delete_expired_idempotency_keys": lambda store, _: store.jobs.delete_expired_idempotency_keys(),
    "jobs.create": lambda store, _: store.jobs.create(organization_id=ORGANIZATION, model="m", training_file="f"),
    "jobs.add": lambda store, _: store.jobs.add(a_job()),
    "jobs.add_many": lambda store, _: store.jobs.add_many([a_job(), a_job()]),
    "jobs.replace": lambda store, _: store.jobs.replace(a_job()),
    "jobs.replace_many": lambda store, _: store.jobs.replace_many([a_job(), a_job()]),
    "jobs.enqueue": lambda store, id: store.jobs.enqueue(id),
    "jobs.start": lambda store, id: store.jobs.start(id),
    "jobs.requeue": lambda store, id: store.jobs.requeue(id, message="hello"),
    "jobs.pause": lambda store, id: store.jobs.pause(id),
    "jobs.resume": lambda store, id: store.jobs.resume(id),
    "jobs.succeed": lambda store, id: store.jobs.succeed(id, fine_tuned_model="ft:m"),
    "jobs.fail": lambda store, id: store.jobs.fail(id, JobError(code="c")),
    "jobs.cancel": lambda store, id: store.jobs.cancel(id),
    "jobs.update": lambda store, id: store.jobs.update(id, metadata={"a": "c"}),
    "jobs.delete": lambda store, id: store.jobs.delete(id),
    "events.append": lambda store, id: store.events.append(id, "hello"),
    "events.append_many": lambda store, id: store.events.append_many(id, [{"message": "hello"}]),
    "events.import_many": lambda store, id: store.events.import_many(id, [FineTuningJobEvent(id="e", created_at=1, message="hello")]),
    "checkpoints.create": lambda store, id: store.checkpoints.create(id, step_number=9, fine_tuned_model_checkpoint="ft:9"),
    "checkpoints.add": lambda store, id: store.checkpoints.add(
        FineTuningJobCheckpoint(id="c", created_at=1, fine_tuned_model_checkpoint="ft:8", fine_tuning_job_id=id, step_number=8)
    ),
    "checkpoints.import_many": lambda store, id: store.checkpoints.import_many(id, []),
    "checkpoint_permissions.import_many": lambda store, id: store.checkpoint_permissions.import_many(id, []),
    "transitions.import_many": lambda store, id: store.transitions.import_many(id, []),
    "checkpoint_permissions.create": lambda store, _: store.checkpoint_permissions.create(MODEL, ["proj-9"]),
    "checkpoint_permissions.delete": lambda store, _: store.checkpoint_permissions.delete("cp_1"),
}


def filled(store: FineTuningStore) -> str:
    """The id of a running job, in a store where each list has two rows."""
    created(store, metadata={"a": "b"})
    job = created(store, metadata={"a": "b"})
    store.jobs.enqueue(job.id)
    store.jobs.start(job.id, message="Started")
    store.jobs.fail(created(store).id, JobError(code="c"))
    store.events.append(job.id, "Step 1", type="metrics", data={"step": 1})
    for step in (1, 2):
        store.checkpoints.create(job.id, step_number=step, fine_tuned_model_checkpoint=f"ft:m:ckpt-step-{step}")
    store.checkpoint_permissions.create(MODEL, ["proj-1", "proj-2"])
    return job.id

"""User code for the sync and async API, and the types that a type checker must infer. Checked, never executed."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import assert_type

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from fine_tuning_store import (
    AsyncFineTuningJobRepository,
    AsyncFineTuningStore,
    AsyncUnitOfWork,
    CheckpointPermission,
    ErrorCodeCount,
    FineTuningJob,
    FineTuningJobCheckpoint,
    FineTuningJobEvent,
    FineTuningJobRepository,
    FineTuningStore,
    Hyperparameters,
    JobCounts,
    JobDurations,
    JobError,
    JobQueueState,
    JobTransition,
    Page,
    PurgeResult,
    UnitOfWork,
)


def sync(store: FineTuningStore, session: Session, connection: Connection) -> None:
    job = store.jobs.create(organization_id="org-1", model="m", training_file="f", hyperparameters=Hyperparameters(n_epochs="auto"))
    assert_type(job, FineTuningJob)
    assert_type(store.jobs.get(job.id), FineTuningJob)
    assert_type(store.jobs.get_many([job.id]), tuple[FineTuningJob, ...])
    assert_type(store.jobs.list(status=["queued"], limit=5), Page[FineTuningJob])
    assert_type(store.jobs.count(100, created_since=datetime.now(UTC)), int)
    assert_type(store.statistics.counts(by=("model", "metadata.team"), bucket="day", at="finished"), tuple[JobCounts, ...])
    assert_type(store.statistics.durations(by="model", status="succeeded"), tuple[JobDurations, ...])
    assert_type(store.statistics.error_codes(limit=5, created_since=0), tuple[ErrorCodeCount, ...])
    assert_type(store.statistics.queue(organization_id="org-1"), JobQueueState)
    assert_type(store.jobs.iterate(metadata={"a": "b"}), Iterator[FineTuningJob])
    assert_type(store.jobs.fail(job.id, JobError(code="x"), message="y"), FineTuningJob)
    assert_type(store.events.tail(job.id, 3), Page[FineTuningJobEvent])
    assert_type(store.jobs.replace(job), FineTuningJob)
    assert_type(store.transitions.import_many(job.id, store.transitions.list(job.id)), tuple[JobTransition, ...])
    assert_type(store.retention.purge(finished_before=0, statuses="failed", progress=lambda result: result.jobs), PurgeResult)
    assert_type(store.schema.current(), str | None)
    with store.begin() as unit:
        assert_type(unit, UnitOfWork)
        assert_type(unit.connection, Connection)
        assert_type(unit.jobs.start(job.id), FineTuningJob)
    assert_type(store.run_in_transaction(lambda unit: unit.jobs.get(job.id).status.is_ended), bool)
    assert_type(FineTuningJobRepository(session).get(job.id), FineTuningJob)
    assert_type(FineTuningJobRepository(connection, organization_id="org-1").get(job.id), FineTuningJob)


async def async_(engine: AsyncEngine, session: AsyncSession, connection: AsyncConnection) -> None:
    async with AsyncFineTuningStore.from_url("postgresql://") as store:
        assert_type(store, AsyncFineTuningStore)
        assert_type(store.engine, AsyncEngine)
    store = AsyncFineTuningStore(engine).for_organization("org-1")
    assert_type(store, AsyncFineTuningStore)
    job = await store.jobs.create(model="m", training_file="f", hyperparameters=Hyperparameters(n_epochs="auto"))
    assert_type(job, FineTuningJob)
    assert_type(await store.jobs.get(job.id), FineTuningJob)
    assert_type(await store.jobs.get_many([job.id]), tuple[FineTuningJob, ...])
    assert_type(await store.jobs.list(status=["queued"], limit=5), Page[FineTuningJob])
    assert_type(await store.jobs.count(100, created_since=datetime.now(UTC)), int)
    assert_type(await store.statistics.counts(by=("model", "metadata.team"), bucket="day", at="finished"), tuple[JobCounts, ...])
    assert_type(await store.statistics.durations(by="model", status="succeeded"), tuple[JobDurations, ...])
    assert_type(await store.statistics.error_codes(limit=5, created_since=0), tuple[ErrorCodeCount, ...])
    assert_type(await store.statistics.queue(organization_id="org-1"), JobQueueState)
    assert_type(store.jobs.iterate(metadata={"a": "b"}), AsyncIterator[FineTuningJob])
    assert_type([each async for each in store.jobs.iterate()], list[FineTuningJob])
    assert_type(await store.jobs.fail(job.id, JobError(code="x"), message="y"), FineTuningJob)
    assert_type(await store.events.append(job.id, "hello", data={"a": 1}), FineTuningJobEvent)
    assert_type(await store.events.tail(job.id, 3), Page[FineTuningJobEvent])
    assert_type(await store.checkpoints.list(job.id), Page[FineTuningJobCheckpoint])
    assert_type(await store.checkpoint_permissions.create("m", ["p"]), tuple[CheckpointPermission, ...])
    assert_type(await store.jobs.replace_many([job]), tuple[FineTuningJob, ...])

    async def export(jobs: tuple[FineTuningJob, ...]) -> None:
        assert_type(await store.events.tail(jobs[0].id), Page[FineTuningJobEvent])

    assert_type(await store.retention.purge(finished_before=datetime.now(UTC), statuses=["failed"], before_delete=export), PurgeResult)
    assert_type(await store.schema.current(), str | None)
    await store.schema.upgrade(lock_timeout=5)
    async with store.begin() as unit:
        assert_type(unit, AsyncUnitOfWork)
        assert_type(unit.connection, AsyncConnection)
        assert_type(await unit.jobs.start(job.id), FineTuningJob)

    async def work(unit: AsyncUnitOfWork) -> bool:
        return (await unit.jobs.get(job.id)).status.is_ended

    assert_type(await store.run_in_transaction(work), bool)
    assert_type(await AsyncFineTuningJobRepository(session).get(job.id), FineTuningJob)
    assert_type(await AsyncFineTuningJobRepository(connection, organization_id="org-1").get(job.id), FineTuningJob)
    await store.close()

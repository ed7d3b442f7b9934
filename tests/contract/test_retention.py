"""Purging ended jobs: what is deleted, what is left, and what the result says."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, inspect, text

from fine_tuning_store import (
    FineTuningJob,
    FineTuningJobCheckpoint,
    FineTuningStore,
    InvalidValueError,
    JobError,
    JobNotFoundError,
    JobStatus,
    PurgeResult,
    ReadOnlyStoreError,
    Retention,
)
from fine_tuning_store.repositories.purge_batches import next_size
from tests.support.async_store import AwaitedStore
from tests.support.factories import a_job, a_transition, stored
from tests.support.parallel import at_once
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

#: Jobs end at 1000, 1001 ... in the order of their numbers.
START = 1000
LATER = 9_000_000_000
#: Tables without rows of a job.
OTHERS = {"fine_tuning_jobs", "fine_tuning_idempotency_keys", "fine_tuning_store_compatibility", "fine_tuning_store_version"}


def ended(store: FineTuningStore, number: int, events: int = 0, **members: Any) -> FineTuningJob:
    """Store a job that ended at START + number."""
    job = stored(store, **{"status": "succeeded", "created_at": 1, "finished_at": START + number, **members})
    if events:
        store.events.append_many(job.id, [{"message": "m"}] * events)
    return job


def with_everything(store: FineTuningStore, **members: Any) -> FineTuningJob:
    """Store an ended job that has rows in every table."""
    job = ended(
        store,
        0,
        events=2,
        error=JobError(code="c"),
        metadata={"a": "b"},
        result_files=("f",),
        fine_tuned_model=members.get("id"),
        **members,
    )
    store.transitions.import_many(job.id, [a_transition(job.id)])
    store.checkpoints.import_many(
        job.id,
        [FineTuningJobCheckpoint(id="c", created_at=1, fine_tuned_model_checkpoint="ft:c", fine_tuning_job_id=job.id, step_number=1)],
    )
    store.checkpoint_permissions.create(str(members.get("id")), ["proj-1"])
    return job


def rows_of_each_child_table(connection: Connection, job_id: str) -> dict[str, int]:
    """Return the number of rows of a job in each table of the database that has its id, found by reflection."""
    found = {}
    for table in inspect(connection).get_table_names():
        if table.startswith("fine_tuning_") and table not in OTHERS:
            statement = text(f"SELECT count(*) FROM {table} WHERE job_id = :id")  # fails for a table that needs a place in OTHERS
            found[table] = connection.execute(statement, {"id": job_id}).scalar_one()
    return found


def ids_of(store: FineTuningStore) -> set[str]:
    return {job.id for job in store.jobs.iterate(page_size=1000)}


@each("way", ["delete", "purge", "delete with foreign keys off", "purge with foreign keys off"])
def test_no_table_keeps_a_row_of_a_job_that_is_deleted_or_purged(store: FineTuningStore, way: str) -> None:
    """A new table is missing here, until `with_everything` writes to it."""
    job, kept = with_everything(store, id="ftjob-a"), with_everything(store, id="ftjob-b", organization_id="org-kept")
    with store.engine.connect() as connection:
        before = rows_of_each_child_table(connection, job.id)
        assert all(before.values()), before
        assert len(before) >= 8

    if way.endswith("off"):
        if isinstance(store, AwaitedStore) or not store.engine.url.drivername.startswith("sqlite"):
            return
        engine = create_engine(store.engine.url)  # with the driver's defaults
        _delete_or_purge(FineTuningStore(engine), way, job.id)
        engine.dispose()
    else:
        _delete_or_purge(store, way, job.id)

    with store.engine.connect() as connection:
        assert set(rows_of_each_child_table(connection, job.id).values()) == {0}
        assert rows_of_each_child_table(connection, kept.id) == before
    assert ids_of(store) == {kept.id}


def _delete_or_purge(store: FineTuningStore, way: str, id: str) -> None:
    if way.startswith("delete"):
        store.jobs.delete(id)
    else:
        purged = store.retention.purge(finished_before=LATER, organization_id="org-1", dry_run=False)
        assert purged == PurgeResult(jobs=1, events=2)


def test_a_purge_counts_only_unless_it_is_asked_to_delete(store: FineTuningStore) -> None:
    jobs = [ended(store, number, events=number) for number in range(5)]

    for events_only, expected in ((False, PurgeResult(jobs=3, events=3)), (True, PurgeResult(jobs=2, events=3))):
        assert store.retention.purge(finished_before=START + 3, events_only=events_only) == expected

    assert ids_of(store) == {job.id for job in jobs}
    assert len(store.events.tail(jobs[4].id)) == 4
    assert store.retention.purge(finished_before=START + 3, dry_run=False) == PurgeResult(jobs=3, events=3)
    assert store.retention.purge(finished_before=START + 3, dry_run=False) == PurgeResult()
    assert ids_of(store) == {job.id for job in jobs[3:]}


@each("dry_run", [True, False])
@each("batch_size", [1, 3, 1000])
def test_the_jobs_that_finished_first_are_purged_first_up_to_the_limit(store: FineTuningStore, batch_size: int, dry_run: bool) -> None:
    jobs = [ended(store, number // 2, status=("failed", "cancelled", "succeeded")[number % 3]) for number in range(10)]
    found: list[PurgeResult] = []

    def purge(limit: int | None) -> PurgeResult:
        return store.retention.purge(finished_before=START + 4, limit=limit, batch_size=batch_size, dry_run=dry_run, progress=found.append)

    assert purge(5) == PurgeResult(jobs=5, has_more=True)
    assert found[-1] == PurgeResult(jobs=5)
    assert all(one.jobs - other.jobs <= batch_size for other, one in pairwise(found))
    if dry_run:
        assert purge(8) == PurgeResult(jobs=8) == purge(None)
    else:
        assert ids_of(store) == {job.id for job in jobs[5:]}
        assert purge(3) == PurgeResult(jobs=3)
        assert ids_of(store) == {job.id for job in jobs[8:]}


def test_open_jobs_are_never_purged(store: FineTuningStore) -> None:
    jobs = [stored(store, status=status, created_at=1) for status in JobStatus]

    assert store.retention.purge(finished_before=LATER, dry_run=False) == PurgeResult(jobs=3)

    assert ids_of(store) == {job.id for job in jobs if not job.status.is_ended}


@each("organization_id", [None, "org-1"])
def test_only_jobs_of_the_statuses_are_purged(store: FineTuningStore, organization_id: str | None) -> None:
    jobs = {status: ended(store, 0, status=status) for status in JobStatus if status.is_ended}

    for statuses, status in (("failed", JobStatus.FAILED), ([JobStatus.CANCELLED], JobStatus.CANCELLED)):
        purged = store.retention.purge(finished_before=LATER, statuses=statuses, organization_id=organization_id, dry_run=False)
        assert purged.jobs == 1
        assert jobs[status].id not in ids_of(store)


def test_a_job_without_an_end_counts_as_finished_when_it_was_created(store: FineTuningStore) -> None:
    """Some imports lack it."""
    old, new = (stored(store, status="failed", created_at=number, updated_at=1) for number in (START - 1, START))

    for organization_id in (None, "org-1"):
        assert store.retention.purge(finished_before=START, organization_id=organization_id) == PurgeResult(jobs=1)
    store.retention.purge(finished_before=datetime.fromtimestamp(START, UTC), dry_run=False, batch_size=1)

    assert ids_of(store) == {new.id}
    assert old.finished_at is None


def test_a_purge_of_one_organization_leaves_the_others(store: FineTuningStore) -> None:
    jobs = {name: [ended(store, number, organization_id=name) for number in range(3)] for name in ("org-1", "org-2", "org-3")}
    stored(store, organization_id="org-1")

    assert store.for_organization("org-1").retention.purge(finished_before=LATER, dry_run=False, batch_size=2).jobs == 3
    assert store.retention.purge(finished_before=LATER, organization_id="org-2", dry_run=False, batch_size=2).jobs == 3
    with pytest.raises(InvalidValueError, match="organization_id"):
        store.for_organization("org-1").retention.purge(finished_before=LATER, organization_id="org-3")

    assert {job.id for job in jobs["org-3"]} <= ids_of(store)
    assert len(ids_of(store)) == 4


def test_events_are_purged_without_their_jobs_and_their_positions_are_not_used_again(store: FineTuningStore) -> None:
    old, new, bare = ended(store, 0, events=3), ended(store, 5, events=2), ended(store, 0)
    running = stored(store, status="running")
    store.events.append(running.id, "m")

    purged = store.retention.purge(finished_before=START + 5, events_only=True, dry_run=False)

    assert purged == PurgeResult(jobs=1, events=3)
    assert ids_of(store) == {old.id, new.id, bare.id, running.id}
    assert store.events.tail(old.id).data == ()
    assert [len(store.events.tail(id)) for id in (new.id, running.id)] == [2, 1]
    assert store.events.append(old.id, "later").position == 4
    assert store.retention.purge(finished_before=START + 5, events_only=True, dry_run=False) == PurgeResult(jobs=1, events=1)
    assert store.retention.purge(finished_before=START + 5, events_only=True, dry_run=False) == PurgeResult()


@each("events_only", [False, True])
def test_the_jobs_of_each_transaction_are_passed_on_before_they_are_deleted(store: FineTuningStore, events_only: bool) -> None:
    jobs = [ended(store, number, events=1, metadata={"n": str(number)}) for number in range(5)]
    passed: list[FineTuningJob] = []

    def export(batch: tuple[FineTuningJob, ...]) -> None:
        assert [len(store.events.tail(job.id)) for job in batch] == [1] * len(batch)
        passed.extend(batch)

    purged = store.retention.purge(
        finished_before=LATER, limit=4, batch_size=2, events_only=events_only, dry_run=False, before_delete=export
    )

    assert purged == PurgeResult(jobs=4, events=4, has_more=True)
    assert passed == jobs[:4]
    store.retention.purge(finished_before=LATER, before_delete=passed.extend)  # a dry run
    assert passed == jobs[:4]


def test_a_failed_export_ends_the_purge_and_keeps_its_jobs(store: FineTuningStore) -> None:
    jobs = [ended(store, number) for number in range(5)]
    calls: list[int] = []

    def export(batch: tuple[FineTuningJob, ...]) -> None:
        calls.append(len(batch))
        if len(calls) == 2:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        store.retention.purge(finished_before=LATER, batch_size=2, dry_run=False, before_delete=export)

    assert ids_of(store) == {job.id for job in jobs[2:]}


def test_functions_may_be_async_in_an_async_store_only(store: FineTuningStore) -> None:
    jobs = [ended(store, number) for number in range(3)]
    passed: list[Any] = []

    async def export(batch: tuple[FineTuningJob, ...]) -> None:
        if isinstance(store, AwaitedStore):
            assert await store.target.jobs.get(batch[0].id) == batch[0]
        passed.append(batch)

    async def progress(result: PurgeResult) -> None:
        passed.append(result)

    if not isinstance(store, AwaitedStore):
        for functions in ({"before_delete": export}, {"progress": progress}):
            with pytest.raises(TypeError, match="AsyncFineTuningStore"):
                store.retention.purge(finished_before=START + 1, dry_run=False, **functions)
        return
    store.retention.purge(finished_before=START + 1, dry_run=False, progress=progress, before_delete=export)
    assert passed == [tuple(jobs[:1]), PurgeResult(jobs=1)]


def test_a_purge_may_change_the_store_in_its_functions(store: FineTuningStore) -> None:
    """Jobs that are gone by then are neither counted nor an error."""
    jobs = [ended(store, number) for number in range(4)]

    purged = store.retention.purge(
        finished_before=LATER, batch_size=2, dry_run=False, before_delete=lambda batch: store.jobs.delete(batch[0].id)
    )

    assert purged == PurgeResult(jobs=2)
    assert ids_of(store) == set()
    assert len(jobs) == 4


WRONG: dict[str, dict[str, Any]] = {
    "finished_before": {"finished_before": datetime(2026, 1, 1)},  # noqa: DTZ001
    "statuses": {"statuses": ["failed", "running"]},
    "statuses of none": {"statuses": []},
    "statuses unknown": {"statuses": "unknown"},
    "organization_id": {"organization_id": ""},
    "events_only": {"events_only": "no"},
    "limit": {"limit": 0},
    "batch_size": {"batch_size": 1001},
    "dry_run": {"dry_run": None},
}


@each("field", WRONG)
def test_a_wrong_argument_is_refused_by_its_name_and_nothing_is_deleted(store: FineTuningStore, field: str) -> None:
    job = ended(store, 0)

    with pytest.raises(InvalidValueError) as refused:
        store.retention.purge(**{"finished_before": LATER, "dry_run": False, **WRONG[field]})

    assert refused.value.field == field.split(maxsplit=1)[0]
    assert ids_of(store) == {job.id}


def test_a_transaction_of_the_host_cannot_be_purged_in(store: FineTuningStore) -> None:
    with store.begin() as unit:
        assert not hasattr(unit, "retention")
        with pytest.raises(TypeError, match=r"store\.retention"):
            Retention(unit.connection)  # type: ignore[arg-type]


def test_a_read_only_store_counts_and_does_not_delete(store: FineTuningStore, url: str) -> None:
    job = ended(store, 0, events=2)

    with FineTuningStore.from_url(url, read_only=True) as reader:
        assert reader.retention.purge(finished_before=LATER) == PurgeResult(jobs=1, events=2)
        with pytest.raises(ReadOnlyStoreError):
            reader.retention.purge(finished_before=1, dry_run=False)

    assert store.jobs.get(job.id) == job


def test_a_transaction_that_takes_long_makes_the_next_ones_smaller_until_they_are_quick() -> None:
    assert [next_size(size, 200, seconds) for size, seconds in ((200, 3), (100, 0.7), (100, 0.1), (150, 0.1), (1, 9))] == [
        *(100, 100, 200, 200, 1)
    ]


# Several processes


def purge_in(wait: Any, url: str) -> tuple[int, int]:
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        purged = store.retention.purge(finished_before=LATER, batch_size=7, dry_run=False)
        return purged.jobs, purged.events


def write_in(wait: Any, url: str, ids: list[str]) -> int:
    """Append events until each job is gone, and add jobs. Returns how many jobs were added."""
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        for id in ids:
            with suppress(JobNotFoundError):
                store.events.append(id, "late")
            store.jobs.add(a_job(id=f"new-{id}", status="running"))
    return len(ids)


@pytest.mark.slow
def test_purges_and_writers_at_once_delete_each_job_once_and_lose_no_other(store: FineTuningStore, url: str) -> None:
    jobs = [a_job(status="failed", created_at=number, finished_at=number, metadata={"a": "b"}) for number in range(300)]
    store.jobs.add_many(jobs)

    results = at_once((purge_in, (url,)), (purge_in, (url,)), (write_in, (url, [job.id for job in jobs[::-1]])))

    assert [error for _, error in results] == [None] * 3
    left = store.retention.purge(finished_before=LATER, dry_run=False)  # what the writer had locked
    assert results[0][0][0] + results[1][0][0] + left.jobs == 300
    assert {job.status for job in store.jobs.iterate()} == {JobStatus.RUNNING}
    assert store.jobs.count() == 300

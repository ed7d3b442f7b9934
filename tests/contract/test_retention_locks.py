"""A purge beside other transactions, and beside tables of a host: what it cannot delete is left, and the rest is deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import IntegrityError

from fine_tuning_store import FineTuningStore, PurgeResult, StoreBusyError, Timeouts
from fine_tuning_store.repositories import retention
from tests.contract.test_retention import LATER, START, ended, ids_of
from tests.support.async_store import run_with_store
from tests.support.databases import Database
from tests.support.factories import stored

pytestmark = pytest.mark.every_driver

BRIEF = Timeouts(lock=0.2)


@contextmanager
def other_transaction(url: str, database: Database) -> Iterator[Connection]:
    """A transaction of another program."""
    engine = create_engine(url, isolation_level=None if database.name == "sqlite" else "READ COMMITTED")
    with engine.connect() as connection:
        yield connection
        connection.rollback()
    engine.dispose()


def test_jobs_that_another_transaction_has_locked_are_left_without_a_wait(store: FineTuningStore, url: str, database: Database) -> None:
    if database.name == "sqlite":  # has one lock for all rows
        return
    jobs = [ended(store, number) for number in range(7)]
    locked = {jobs[0].id, jobs[3].id, jobs[6].id}

    with other_transaction(url, database) as connection:
        for id in locked:
            connection.execute(text("UPDATE fine_tuning_jobs SET seed = 1 WHERE id = :id"), {"id": id})
        started = time.monotonic()
        purged = store.retention.purge(finished_before=LATER, batch_size=3, dry_run=False)
        assert time.monotonic() - started < BRIEF.pool

    assert purged == PurgeResult(jobs=4, locked=3)
    assert ids_of(store) == locked
    assert store.retention.purge(finished_before=LATER, dry_run=False) == PurgeResult(jobs=3)


def test_a_purge_of_one_organization_neither_waits_for_nor_locks_rows_of_another(
    store: FineTuningStore, url: str, database: Database
) -> None:
    if database.name == "sqlite":
        return
    own = [ended(store, number, events=1) for number in range(150)]
    theirs = [ended(store, number, events=1, organization_id="org-other") for number in range(3)]
    scoped = store.for_organization("org-1").retention

    with other_transaction(url, database) as connection:
        for table in ("fine_tuning_jobs", "fine_tuning_job_events", "fine_tuning_job_hyperparameters"):
            id = "id" if table == "fine_tuning_jobs" else "job_id"
            others = "(SELECT id FROM fine_tuning_jobs WHERE organization_id = 'org-other')"
            connection.execute(text(f"SELECT 1 FROM {table} WHERE {id} IN {others} FOR UPDATE")).all()
        started = time.monotonic()
        events = scoped.purge(finished_before=LATER, events_only=True, limit=5, dry_run=False)
        purged = scoped.purge(finished_before=LATER, dry_run=False)
        assert time.monotonic() - started < BRIEF.pool

    assert events == PurgeResult(jobs=5, events=5, has_more=True)
    assert purged == PurgeResult(jobs=len(own), events=len(own) - 5)
    assert ids_of(store) == {job.id for job in theirs}


def test_transactions_become_smaller_while_they_wait_and_larger_afterwards(url: str, driver: str | None, database: Database) -> None:
    """A row of a child table is locked, which the lock of its job does not show."""
    if database.name == "sqlite":
        return

    def purge(store: Any) -> None:
        jobs = [ended(store, number, fine_tuned_model=f"ft:{number}") for number in range(40)]
        store.checkpoint_permissions.create("ft:5", ["proj-1"])
        found: list[PurgeResult] = []
        with other_transaction(url, database) as connection:
            connection.execute(text("UPDATE fine_tuning_checkpoint_permissions SET created_at = 1"))
            purged = store.retention.purge(finished_before=LATER, batch_size=8, dry_run=False, progress=found.append)

        assert purged == PurgeResult(jobs=39, locked=1)
        assert [job.id for job in store.jobs.iterate()] == [jobs[5].id]
        sizes = [one.jobs - other.jobs for other, one in zip([PurgeResult(), *found], found, strict=False)]
        assert min(sizes) == 0
        assert sizes[-1] > 2
        assert max(sizes) == 8

    run_with_store(purge, url, driver, timeouts=BRIEF)


def test_a_purge_that_finds_the_file_locked_again_and_again_gives_up(
    url: str, driver: str | None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.name != "sqlite":
        return
    monkeypatch.setattr(retention, "MAX_BUSY", 3)

    def purge(store: Any) -> None:
        jobs = [ended(store, number) for number in range(9)]
        with other_transaction(url, database) as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(StoreBusyError):
                store.retention.purge(finished_before=LATER, dry_run=False)

        assert store.retention.purge(finished_before=LATER, dry_run=False).jobs == len(jobs)

    run_with_store(purge, url, driver, timeouts=BRIEF)


RULES = {
    "RESTRICT": ("sqlite", "postgresql", "mariadb"),
    "NO ACTION": ("sqlite", "postgresql", "mariadb"),
    "NO ACTION DEFERRABLE INITIALLY DEFERRED": ("sqlite", "postgresql"),  # fails at COMMIT
}


@contextmanager
def a_table_of_the_host(url: str, database: Database, rule: str) -> Iterator[Callable[[list[str]], None]]:
    """A table that refers to jobs. Yields a function that refers to the jobs of some ids."""
    id = {"postgresql": 'VARCHAR(255) COLLATE "C"', "mariadb": "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"}
    with FineTuningStore.from_url(url) as owner:

        def refer(ids: list[str]) -> None:
            with owner.engine.begin() as connection:
                connection.execute(text("INSERT INTO charges (job_id) VALUES (:id)"), [{"id": id} for id in ids])

        with owner.engine.begin() as connection:
            connection.execute(
                text(
                    f"CREATE TABLE charges (job_id {id.get(database.name, 'VARCHAR(255)')} NOT NULL, CONSTRAINT fk_charges "
                    f"FOREIGN KEY (job_id) REFERENCES fine_tuning_jobs (id) ON DELETE {rule})"
                )
            )
        try:
            yield refer
        finally:
            with owner.engine.begin() as connection:
                connection.execute(text("DROP TABLE charges"))


@pytest.mark.parametrize("rule", RULES)
def test_jobs_that_a_row_of_the_host_refers_to_are_left_and_named(store: FineTuningStore, url: str, database: Database, rule: str) -> None:
    if database.name not in RULES[rule]:
        return
    jobs = [ended(store, number, events=1, metadata={"a": "b"}) for number in range(20)]
    referenced = [jobs[number].id for number in (0, 7, 8, 19)]

    with a_table_of_the_host(url, database, rule) as refer:
        refer(referenced)
        purged = store.retention.purge(finished_before=LATER, batch_size=10, dry_run=False)

        assert purged == PurgeResult(jobs=16, events=16, referenced=4, referenced_ids=tuple(referenced))
        assert ids_of(store) == {*referenced}
        assert [len(store.events.tail(id)) for id in referenced] == [1] * 4
        assert store.jobs.get(jobs[7].id) == jobs[7]
        events = store.retention.purge(finished_before=START + 1, events_only=True, dry_run=False)
        assert events == PurgeResult(jobs=1, events=1)


def test_a_commit_that_a_deferred_key_of_the_host_refuses_leaves_nothing_to_later_calls(
    store: FineTuningStore, url: str, database: Database
) -> None:
    if database.name == "mariadb":  # has no deferred keys
        return
    job = ended(store, 0)

    with a_table_of_the_host(url, database, "NO ACTION DEFERRABLE INITIALLY DEFERRED") as refer:
        refer([job.id])
        for _ in range(3):
            with pytest.raises(IntegrityError):
                store.jobs.delete(job.id)
            other = stored(store)

            assert store.jobs.get(job.id) == job
            assert store.jobs.get(other.id) == other


def test_a_purge_on_an_engine_of_the_host_works_alike(store: FineTuningStore, url: str) -> None:
    for number in range(5):
        ended(store, number, events=1)
    kept = stored(store)
    engine = create_engine(make_url(url))

    purged = FineTuningStore(engine).retention.purge(finished_before=LATER, batch_size=2, dry_run=False)

    engine.dispose()
    assert purged == PurgeResult(jobs=5, events=5)
    assert ids_of(store) == {kept.id}

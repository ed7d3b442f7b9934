"""Damaged rows and interrupted calls do not affect other jobs: workers go on, and no write is lost without an error."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from fine_tuning_store import CorruptDataError, FineTuningStore, Hyperparameters, InvalidValueError, JobStatus, StoreBusyError
from fine_tuning_store.reentrancy import ReentrancyGuard
from fine_tuning_store.sql.dialects import sqlite_connections
from tests.support.factories import a_job, created

each = pytest.mark.parametrize


def run(store: FineTuningStore, statement: str, **values: Any) -> None:
    with store.engine.begin() as connection:
        connection.execute(text(statement), values)


def queued(store: FineTuningStore, number: int) -> str:
    id = created(store, id=f"ftjob-{number}").id
    store.jobs.enqueue(id)
    run(store, "UPDATE fine_tuning_jobs SET available_at = :number WHERE id = :id", number=number, id=id)
    return id


def damage(store: FineTuningStore, id: str) -> None:
    run(store, "UPDATE fine_tuning_jobs SET integrations = '5' WHERE id = :id", id=id)


def test_a_damaged_job_at_the_head_of_the_queue_stops_no_worker(store: FineTuningStore) -> None:
    first, second, third = (queued(store, number) for number in (1, 2, 3))
    damage(store, first)

    with pytest.raises(CorruptDataError, match=first):
        store.leases.claim("worker")
    lease = store.leases.claim("worker")

    assert lease is not None
    assert lease.job.id == second
    damage(store, third)
    fourth = queued(store, 4)
    assert [lease.job.id for lease in store.leases.claim_many("worker", limit=3)] == [fourth]
    assert store.jobs.count(status="running") == 4


def test_a_damaged_job_is_rescued_like_the_others_until_it_fails(store: FineTuningStore) -> None:
    first, second = queued(store, 1), queued(store, 2)
    store.leases.claim_many("worker", limit=2)
    damage(store, first)
    run(store, "UPDATE fine_tuning_jobs SET lease_expires_at = 1")

    assert [job.id for job in store.leases.rescue(max_attempts=1)] == [second]
    assert store.jobs.count(status="failed") == 2


@each("name", ["attempt", "lost_leases"])
def test_counters_that_would_overflow_are_not_imported(store: FineTuningStore, name: str) -> None:
    with pytest.raises(InvalidValueError, match=f"{name}: must be from 0 to 2147483647"):
        store.jobs.add(a_job(**{name: 2**63 - 1}))


def test_a_start_fails_if_the_row_of_the_hyperparameters_is_missing(store: FineTuningStore) -> None:
    id = queued(store, 1)
    run(store, "DELETE FROM fine_tuning_job_hyperparameters")

    with pytest.raises(CorruptDataError, match=f"'{id}' of fine_tuning_job_hyperparameters"):
        store.jobs.start(id, hyperparameters=Hyperparameters(batch_size=3))

    assert store.jobs.get(id).status is JobStatus.QUEUED


@each("value", ["[1]", "5", '"a"', "null"])
@each("column", ["jobs.extra", "jobs.method_extra", "jobs.integrations", "job_hyperparameters.extra", "job_events.extra"])
def test_json_of_another_type_is_named_as_damage(store: FineTuningStore, column: str, value: str) -> None:
    job = created(store)
    store.events.append(job.id, "hello")
    table, _, name = column.partition(".")
    run(store, f"UPDATE fine_tuning_{table} SET {name} = :value", value=value)

    with pytest.raises(CorruptDataError, match=f"of fine_tuning_{'job_events' if table == 'job_events' else 'jobs'}"):
        (store.events.list if table == "job_events" else store.jobs.get)(job.id)


@each("database", ["sqlite"], indirect=True)  # the others keep their NOT NULL
def test_a_job_without_a_time_is_no_cursor(altered_url: str) -> None:
    with FineTuningStore.from_url(altered_url) as store:
        for number in range(3):
            created(store, id=f"ftjob-{number}")
        with store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA writable_schema = ON")
            connection.exec_driver_sql("UPDATE sqlite_schema SET sql = replace(sql, 'created_at BIGINT NOT NULL', 'created_at BIGINT')")
            connection.commit()
            connection.invalidate()
        run(store, "UPDATE fine_tuning_jobs SET created_at = NULL WHERE id = 'ftjob-1'")

        with pytest.raises(CorruptDataError, match="ftjob-1"):
            list(store.jobs.iterate(order="asc", page_size=1))


def interrupt(code: CodeType) -> Callable[[FrameType, str, Any], Any]:
    """Return a trace function that raises KeyboardInterrupt when this code returns, once."""

    def on_call(frame: FrameType, _: str, __: Any) -> Any:
        def on_return(_: FrameType, event: str, __: Any) -> Any:
            if event == "return":
                sys.settrace(None)
                raise KeyboardInterrupt
            return on_return

        return on_return if frame.f_code is code else None

    return on_call


@each("method", [ReentrancyGuard.__enter__, ReentrancyGuard.__exit__])
def test_an_interrupted_call_leaves_no_unit_open(store: FineTuningStore, method: Any) -> None:
    store.jobs.count()
    before = sys.gettrace()
    sys.settrace(interrupt(method.__code__))
    try:
        with pytest.raises(KeyboardInterrupt):
            store.jobs.count()
    finally:
        sys.settrace(before)

    assert store.jobs.count() == 0
    with store.begin() as unit:
        assert unit.jobs.count() == 0


class TimeLimitError(Exception):
    """What a task queue raises from a signal handler."""


@each("database", ["mariadb"], indirect=True)
def test_a_time_limit_in_the_middle_of_a_statement_costs_its_connection(store: FineTuningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import pymysql.connections  # type: ignore[import-untyped]

    store.jobs.count()
    write_bytes = pymysql.connections.Connection._write_bytes

    def interrupted(connection: Any, data: bytes) -> None:
        write_bytes(connection, data)
        if b"insert_fine_tuning_jobs" in data:
            monkeypatch.undo()
            raise TimeLimitError

    monkeypatch.setattr(pymysql.connections.Connection, "_write_bytes", interrupted)
    with pytest.raises(TimeLimitError):
        created(store)

    job = created(store)  # reads its own response
    store.events.append(job.id, "hello")
    assert store.jobs.get(job.id) == job


@each("database", ["postgresql", "mariadb"], indirect=True)
def test_a_time_limit_during_a_wait_for_a_lock_leaves_the_store_usable(store: FineTuningStore, url: str) -> None:
    def end(*_: object) -> None:
        raise TimeLimitError

    job, another = created(store), created(store)
    before = signal.signal(signal.SIGALRM, end)
    try:
        with FineTuningStore.from_url(url) as other, other.begin() as unit:
            unit.jobs.update(job.id, trained_tokens=1)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises((TimeLimitError, StoreBusyError, OperationalError)):  # a driver may take it for an error of its own
                store.jobs.cancel(job.id)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert store.jobs.get(another.id) == another
    assert store.jobs.cancel(job.id).status is JobStatus.CANCELLED
    assert store.leases.claim("worker") is None


@each("database", ["sqlite"], indirect=True)
def test_the_log_of_a_sqlite_file_is_cut_after_a_long_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_connections, "MAX_LOG_SIZE", 100_000)
    log = Path(f"{url.removeprefix('sqlite:///')}-wal")
    with FineTuningStore.from_url(url) as store, FineTuningStore.from_url(url, read_only=True) as reader:
        job = created(store)
        with reader.begin() as unit:
            unit.jobs.count()
            store.events.append_many(job.id, [{"message": "m" * 900_000} for _ in range(6)])
            assert log.stat().st_size > 5_000_000
        for _ in range(3):  # the first moves the pages to the database file, the next begins the log anew
            created(store)

        assert log.stat().st_size <= 200_000

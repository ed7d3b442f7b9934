"""No call of a store of its own engine waits for ever: locks, connections and servers that do not answer."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import AsyncFineTuningStore, FineTuningJob, FineTuningStore, InvalidValueError, StoreBusyError, Timeouts
from tests.support.async_store import run_with_store
from tests.support.databases import ASYNC_DRIVERS, SYNC_DRIVERS, Database, with_driver
from tests.support.factories import stored

pytestmark = pytest.mark.timeout(60)

#: MariaDB rounds it up to a whole second.
BRIEF = Timeouts(lock=0.2, pool=0.2, connect=2, network=2)
#: What the test allows beyond a limit, on a busy machine.
PATIENCE = 10


@pytest.fixture
def held(url: str, store: FineTuningStore, database: Database) -> Iterator[FineTuningJob]:
    """A job whose row a transaction has locked that the store does not know of."""
    job = stored(store, status="queued")
    engine = create_engine(url, isolation_level=None if database.name == "sqlite" else "READ COMMITTED")
    with engine.connect() as connection:
        connection.execute(text("UPDATE fine_tuning_jobs SET seed = 1"))
        yield job
    engine.dispose()


def test_a_call_that_needs_a_locked_row_raises_after_the_lock_timeout(url: str, held: FineTuningJob) -> None:
    with FineTuningStore.from_url(url, timeouts=BRIEF) as brief:
        for call in (
            lambda: brief.jobs.cancel(held.id),
            lambda: brief.jobs.update(held.id, metadata={"a": "b"}),
            lambda: brief.events.append(held.id, "It waits."),
            lambda: brief.run_in_transaction(lambda unit: unit.jobs.start(held.id)),
        ):
            started = time.monotonic()
            with pytest.raises(StoreBusyError, match=r"within 0\.2 s") as caught:
                call()
            assert caught.value.waited_for == "lock"
            assert time.monotonic() - started < PATIENCE
        assert brief.jobs.get(held.id) == held  # readers do not wait
        assert brief._transactions.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # a single statement would return the metadata of before
def test_a_transition_that_waits_for_an_update_returns_what_it_has_stored(store: FineTuningStore, url: str) -> None:
    job = stored(store, metadata={"team": "old"})
    waits = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")

    with FineTuningStore.from_url(url) as other, ThreadPoolExecutor(1) as pool:
        with other.begin() as unit:
            unit.jobs.update(job.id, metadata={"team": "new"})
            waiting = pool.submit(store.jobs.enqueue, job.id)
            deadline = time.monotonic() + PATIENCE
            while unit.connection.scalar(waits) == 0:
                assert time.monotonic() < deadline
                unit.connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
        queued = waiting.result()

    assert (queued.status, queued.metadata) == ("queued", {"team": "new"})


def test_a_unit_in_which_a_call_was_busy_writes_nothing_even_if_the_error_is_caught(
    url: str, store: FineTuningStore, held: FineTuningJob, database: Database
) -> None:
    if database.name == "sqlite":  # the unit cannot even begin
        return
    with FineTuningStore.from_url(url, timeouts=BRIEF) as brief:
        with pytest.raises(DBAPIError), brief.begin() as unit:
            unit.jobs.create(organization_id="org-1", model="m", training_file="f")
            with pytest.raises(StoreBusyError):
                unit.jobs.cancel(held.id)
        assert [job.id for job in brief.jobs.iterate()] == [held.id]


def test_an_async_call_that_needs_a_locked_row_raises_after_the_lock_timeout(url: str, held: FineTuningJob, database: Database) -> None:
    async def wait(driver: str) -> None:
        async with AsyncFineTuningStore.from_url(with_driver(url, driver), timeouts=BRIEF) as brief:
            for _ in range(2):
                with pytest.raises(StoreBusyError):
                    await asyncio.wait_for(brief.jobs.cancel(held.id), PATIENCE)
            assert await brief.jobs.get(held.id) == held

    for driver in ASYNC_DRIVERS[database.name]:
        asyncio.run(wait(driver))


def test_a_call_that_finds_no_free_connection_raises_after_the_pool_timeout(url: str, store: FineTuningStore) -> None:
    with FineTuningStore.from_url(url, timeouts=BRIEF) as brief:
        pool = brief._transactions.engine.pool
        used = [brief._transactions.engine.connect() for _ in range(pool.size() + 10)]  # type: ignore[attr-defined]
        for call in (brief.jobs.list, lambda: stored(brief)):
            with pytest.raises(StoreBusyError, match="all connections") as caught:
                call()
            assert (caught.value.waited_for, caught.value.seconds) == ("connection", 0.2)
        for connection in used:
            connection.close()
        assert brief.jobs.list().data == ()


@pytest.mark.parametrize(("database", "driver"), [("sqlite", None), ("sqlite", "aiosqlite")], indirect=True)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_that_cannot_open_its_file_for_a_lock_raises_after_the_lock_timeout(
    empty_url: str, driver: str | None, read_only: bool
) -> None:
    """A new connection switches the file to WAL mode, which waits for no lock by itself."""
    holder = sqlite3.connect(empty_url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("CREATE TABLE of_a_host (id)")
    holder.execute("BEGIN EXCLUSIVE")

    def call(store: Any) -> None:
        for attempt in (store.jobs.list, lambda: stored(store), store.schema.current):
            started = time.monotonic()
            with pytest.raises(StoreBusyError, match=r"within 0\.2 s") as caught:
                attempt()
            assert caught.value.waited_for == "lock"
            assert time.monotonic() - started < PATIENCE
            if read_only:
                break
        assert store.engine.pool.checkedout() == 0

    run_with_store(call, empty_url, driver, timeouts=BRIEF, read_only=read_only)
    holder.close()


def test_an_engine_of_the_host_keeps_its_settings_and_its_errors(url: str, held: FineTuningJob, database: Database) -> None:
    brief = {
        "sqlite": "PRAGMA busy_timeout = 50",
        "postgresql": "SET SESSION lock_timeout = 50",
        "mariadb": "SET SESSION innodb_lock_wait_timeout = 0",
    }[database.name]
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text(brief))
        connection.commit()
    with pytest.raises(DBAPIError):
        FineTuningStore(engine).jobs.cancel(held.id)
    engine.dispose()


@pytest.mark.parametrize("name", ["lock", "pool", "connect", "network"])
@pytest.mark.parametrize("value", [0, -1, True, "5", None, float("nan"), float("inf"), 86_401])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidValueError, match=rf"timeouts\.{name}"):
        Timeouts(**{name: value})  # type: ignore[arg-type]


def test_timeouts_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Timeouts\(lock=2\)"):
        FineTuningStore.from_url("sqlite://", timeouts={"lock": 2})  # type: ignore[arg-type]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose server accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in accepted:
            connection.close()


def test_a_server_that_accepts_a_connection_and_says_nothing_ends_the_call(url: str, silent_port: int, database: Database) -> None:
    if database.name == "sqlite":
        return
    nowhere = make_url(url).set(port=silent_port).render_as_string(hide_password=False)
    for driver in (make_url(url).get_driver_name(), *SYNC_DRIVERS[database.name]):
        with FineTuningStore.from_url(with_driver(nowhere, driver), timeouts=BRIEF) as store:
            started = time.monotonic()
            with pytest.raises(DBAPIError):
                store.jobs.list()
            assert time.monotonic() - started < PATIENCE

    async def call(driver: str) -> None:
        async with AsyncFineTuningStore.from_url(with_driver(nowhere, driver), timeouts=BRIEF) as store:
            with pytest.raises(DBAPIError):
                await asyncio.wait_for(store.jobs.list(), PATIENCE)

    for driver in ASYNC_DRIVERS[database.name]:
        asyncio.run(call(driver))

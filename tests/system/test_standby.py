"""Read-only stores on a streaming standby of PostgreSQL, which accepts no write and cancels reads that keep it from following."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import AsyncFineTuningStore, FineTuningStore, ReadOnlyStoreError, SchemaStatus, SchemaVersionError
from tests.support.async_store import AwaitedStore
from tests.support.databases import with_driver
from tests.support.factories import created
from tests.support.programs import fine_tuning_store
from tests.support.read_only import NEXT_PAGES, READS, WRITES, filled
from tests.support.standby import catch_up, primary_and_standby, scalar

DRIVERS = [None, "asyncpg", "psycopg_async"]


class Pair(NamedTuple):
    """A primary with a job and its standby, which has caught up."""

    primary: URL
    standby: URL
    job_id: str

    def catch_up(self) -> None:
        catch_up(self.primary, self.standby)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with primary_and_standby() as (primary, standby):
        with FineTuningStore.from_url(primary) as store:
            store.schema.upgrade()
            pair = Pair(primary, standby, filled(store))
        pair.catch_up()
        yield pair


def in_reader(url: URL, driver: str | None, test: Callable[[Any], None]) -> None:
    """Run a function with a read-only store, sync or async."""
    shown = url.render_as_string(hide_password=False)
    if driver is None:
        with FineTuningStore.from_url(shown, read_only=True) as reader:
            test(reader)
    else:
        awaited = AwaitedStore(with_driver(shown, driver), read_only=True)
        try:
            awaited.run_test(partial(test, awaited))
        finally:
            awaited.close_all()


@pytest.mark.parametrize("driver", DRIVERS)
def test_everything_can_be_read_on_a_standby(pair: Pair, driver: str | None) -> None:
    calls = [*READS.values(), *NEXT_PAGES.values()]
    with FineTuningStore.from_url(pair.primary) as store:
        expected = [call(store, pair.job_id) for call in calls]

    def test(reader: Any) -> None:
        assert [call(reader, pair.job_id) for call in calls] == expected
        assert [call(reader.for_organization("org-1"), pair.job_id) for call in calls] == expected
        with reader.begin() as unit:
            assert [call(unit, pair.job_id) for call in calls] == expected
            assert unit.connection.scalar(text("SELECT pg_is_in_recovery()"))
        assert reader.run_in_transaction(lambda unit: [call(unit, pair.job_id) for call in calls]) == expected
        reader.schema.require_usable()
        state = reader.schema.state()
        assert (state.status, state.is_read_only, reader.schema.current(), reader.schema.check()) == ("current", True, state.revision, ())

    in_reader(pair.standby, driver, test)


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_write_on_a_standby_is_refused_by_the_store(pair: Pair, driver: str | None) -> None:
    def test(reader: Any) -> None:
        calls: list[Callable[[], object]] = [partial(call, reader, pair.job_id) for call in WRITES.values()]
        calls += [reader.schema.upgrade, partial(reader.schema.downgrade, "base"), reader.schema.adopt]
        for call in calls:
            with pytest.raises(ReadOnlyStoreError):
                call()
        with pytest.raises(DBAPIError, match="read-only transaction"), reader.begin() as unit:
            unit.connection.execute(text("DELETE FROM fine_tuning_jobs"))

    in_reader(pair.standby, driver, test)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_unit_that_the_standby_cancels_is_run_again(pair: Pair, driver: str | None) -> None:
    tries = []

    def read(unit: Any) -> Any:
        job = unit.jobs.get(pair.job_id)
        tries.append(job)
        if len(tries) == 1:  # the standby can follow only if this transaction lets go of the table
            scalar(pair.primary, "DO 'BEGIN LOCK TABLE fine_tuning_jobs IN ACCESS EXCLUSIVE MODE; END'")
            pair.catch_up()
        return unit.jobs.get(pair.job_id)

    def test(reader: Any) -> None:
        assert reader.run_in_transaction(read).id == pair.job_id
        assert len(tries) == 2

    in_reader(pair.standby, driver, test)


@pytest.mark.parametrize("driver", DRIVERS)
def test_reads_go_on_while_the_standby_cancels_and_closes_their_connections(pair: Pair, driver: str | None) -> None:
    """Each round of reads is disturbed once: reads that are always disturbed would end in the error after some attempts."""
    stop, reads_begin = threading.Event(), threading.Event()
    rounds = []

    def disturb() -> None:
        while not stop.is_set():
            if not reads_begin.wait(0.1):
                continue
            reads_begin.clear()
            scalar(pair.primary, "DO 'BEGIN LOCK TABLE fine_tuning_jobs, fine_tuning_job_events IN ACCESS EXCLUSIVE MODE; END'")
            ended = scalar(
                pair.standby,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE query LIKE '%fine_tuning_store%' AND pid <> pg_backend_pid()",
            )
            rounds.append(ended)

    def test(reader: Any) -> None:
        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            while sum(rounds) < 20:
                reads_begin.set()
                assert {job.id for job in reader.jobs.iterate(page_size=1)} >= {pair.job_id}
                assert len(reader.events.tail(pair.job_id)) == 2
        finally:
            stop.set()
            thread.join()

    in_reader(pair.standby, driver, test)


def test_a_hosts_own_engine_reads_on_a_standby_and_finds_nothing_to_migrate(pair: Pair) -> None:
    engine = create_engine(pair.standby)
    store = FineTuningStore(engine)

    assert store.jobs.get(pair.job_id).id == pair.job_id
    assert store.schema.state().is_read_only
    store.schema.upgrade()
    with pytest.raises(DBAPIError, match="read-only transaction"):
        store.jobs.cancel(pair.job_id)
    engine.dispose()


def test_a_store_can_choose_the_standby_among_several_hosts(pair: Pair) -> None:
    hosts = [f"127.0.0.1:{url.port}" for url in (pair.primary, pair.standby)]

    def url(driver: str) -> URL:
        query = {"host": hosts, "target_session_attrs": "prefer-standby"}
        return URL.create(f"postgresql+{driver}", "postgres", database="postgres", query=query)

    async def of_an_async_store(driver: str) -> Any:
        async with AsyncFineTuningStore.from_url(url(driver), read_only=True) as store, store.begin() as unit:
            assert (await unit.jobs.get(pair.job_id)).id == pair.job_id
            return await unit.connection.scalar(text("SELECT pg_is_in_recovery()"))

    with FineTuningStore.from_url(url("psycopg"), read_only=True) as store, store.begin() as unit:
        assert unit.connection.scalar(text("SELECT pg_is_in_recovery()"))
    for driver in ("asyncpg", "psycopg_async"):
        assert asyncio.run(of_an_async_store(driver))


def test_tables_that_a_standby_does_not_have_are_to_be_made_on_its_primary(pair: Pair) -> None:
    scalar(pair.primary, "CREATE DATABASE later")
    pair.catch_up()
    primary, standby = (url.set(database="later") for url in (pair.primary, pair.standby))
    with FineTuningStore.from_url(standby, read_only=True) as reader:
        with pytest.raises(SchemaVersionError, match="on its primary"):
            reader.jobs.list()
        assert reader.schema.state().status == SchemaStatus.EMPTY
        shown = fine_tuning_store("db", "state", url=standby.render_as_string())
        assert (shown.returncode, shown.stdout.splitlines()[-2:]) == (
            1,
            ["read-only: yes", "next, on the primary: fine-tuning-store db upgrade"],
        )

        with FineTuningStore.from_url(primary) as store:
            store.schema.upgrade()
            job = created(store)
        pair.catch_up()
        assert reader.jobs.get(job.id) == job

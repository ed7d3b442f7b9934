"""A thread or task does not wait for a transaction of its own: it gets an error at once, or one that names the likely cause."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from fine_tuning_store import (
    AsyncFineTuningStore,
    FineTuningJobRepository,
    FineTuningStore,
    StoreBusyError,
    Timeouts,
    UnitAlreadyOpenError,
    prepare_sqlite_engine,
)
from tests.support.databases import Database, with_driver
from tests.support.factories import created, stored

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_servers = pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)

#: Long enough that a test which waits for it is noticed.
LONG = Timeouts(lock=60, pool=60)


def assert_refused_at_once(call: Any) -> None:
    started = time.monotonic()
    with pytest.raises(UnitAlreadyOpenError, match="another one on the same SQLite file"):
        call()
    assert time.monotonic() - started < 10


@on_sqlite
@pytest.mark.parametrize("prepared", [True, False])
def test_two_stores_on_one_engine_of_the_host_do_not_wait_for_each_other(url: str, database: Database, prepared: bool) -> None:
    engine = create_engine(url, connect_args={"timeout": 60})
    if prepared:
        prepare_sqlite_engine(engine)
    one, other = FineTuningStore(engine), FineTuningStore(engine).for_organization("org-1")
    assert other.jobs.list().data == ()
    with one.begin() as unit:
        job = created(unit)  # type: ignore[arg-type]
        assert_refused_at_once(lambda: other.jobs.create(model="m", training_file="f"))
        assert_refused_at_once(lambda: other.run_in_transaction(lambda _: None))
        assert_refused_at_once(lambda: other.begin().__enter__())
        assert other.jobs.list().data == ()  # readers wait for no writer
    assert other.jobs.create(model="m", training_file="f")
    assert one.jobs.get(job.id) == job
    engine.dispose()


@on_sqlite
def test_two_stores_on_one_file_do_not_wait_for_each_other(url: str, database: Database, tmp_path: Path) -> None:
    path = Path(url.removeprefix("sqlite:///"))
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for same in (url, f"sqlite:///{link}", f"sqlite:///file:{path}?mode=rw&uri=true"):
        with FineTuningStore.from_url(url, timeouts=LONG) as one, FineTuningStore.from_url(same, timeouts=LONG) as other:
            with one.begin() as unit:
                created(unit)  # type: ignore[arg-type]
                assert_refused_at_once(lambda other=other: created(other))
                assert other.jobs.list().data == ()
            created(other)
        database.clean()


@on_sqlite
def test_a_migration_does_not_wait_for_a_unit_of_its_own_thread(altered_url: str, database: Database) -> None:
    with FineTuningStore.from_url(altered_url) as store:
        with store.begin():
            assert_refused_at_once(lambda: store.schema.downgrade("base"))
            store.schema.upgrade()  # does nothing
        store.schema.downgrade("base")


@on_sqlite
def test_tasks_wait_for_each_other_but_a_task_not_for_itself(url: str, database: Database) -> None:
    async def main() -> None:
        named = with_driver(url, "aiosqlite")
        async with AsyncFineTuningStore.from_url(named) as one, AsyncFineTuningStore.from_url(named) as other:

            async def create(store: AsyncFineTuningStore) -> None:
                await store.jobs.create(organization_id="org-1", model="m", training_file="f")

            async with one.begin():
                waiting = asyncio.create_task(create(other))
                with pytest.raises(UnitAlreadyOpenError):
                    await create(other)
            await waiting
            assert len((await one.jobs.list()).data) == 1

    asyncio.run(main())


@on_sqlite
def test_threads_stores_in_memory_and_files_of_others_are_not_mistaken_for_each_other(url: str, database: Database, tmp_path: Path) -> None:
    stores = [FineTuningStore.from_url(each) for each in (url, "sqlite://", "sqlite://", f"sqlite:///{tmp_path}/other.db")]
    for store in stores[1:]:
        store.schema.upgrade()
    with stores[0].begin() as unit:
        for store in stores[1:]:
            created(store)
        thread = threading.Thread(target=created, args=(FineTuningStore.from_url(url),))
        thread.start()  # waits for the unit
        created(unit)  # type: ignore[arg-type]
    thread.join()
    assert len(stores[0].jobs.list().data) == 2
    for store in stores:
        store.close()


@on_servers
def test_units_of_two_stores_are_open_at_once_on_a_server(url: str, store: FineTuningStore) -> None:
    with FineTuningStore.from_url(url) as other, store.begin() as unit:
        created(unit)  # type: ignore[arg-type]
        created(other)
    assert len(store.jobs.list().data) == 2


def test_a_call_that_waits_for_a_transaction_of_the_host_in_its_own_thread_says_so(url: str, store: FineTuningStore) -> None:
    job = stored(store, status="queued")
    engine = create_engine(url)
    with FineTuningStore.from_url(url, timeouts=Timeouts(lock=0.2)) as brief, engine.connect() as connection:
        connection.execute(text("UPDATE fine_tuning_jobs SET seed = 1"))
        with pytest.raises(StoreBusyError, match=r"If it is one of this thread or task .* end it first, or make the call in it"):
            brief.jobs.cancel(job.id)
    engine.dispose()


@on_sqlite
def test_a_migration_on_a_prepared_engine_does_not_wait_for_a_transaction_of_its_own_thread(empty_url: str, database: Database) -> None:
    engines = [create_engine(empty_url) for _ in range(2)]
    for engine in engines:
        prepare_sqlite_engine(engine)
    with FineTuningStore.from_url(empty_url, timeouts=LONG) as other:
        other.schema.upgrade("fine_tuning_store_0001")
        one, same = FineTuningStore(engines[0]), FineTuningStore(engines[1])
        for migrating in (one, same, other):
            with engines[0].begin():
                assert_refused_at_once(migrating.schema.upgrade)
        other.schema.upgrade()
        with one.begin() as unit:
            created(unit)  # type: ignore[arg-type]
            for migrating in (one, same, other):
                started = time.monotonic()
                migrating.schema.upgrade()  # does nothing
                assert migrating.schema.state().is_usable
                assert migrating.schema.check() == ()
                assert time.monotonic() - started < 10
                assert_refused_at_once(lambda migrating=migrating: migrating.schema.downgrade("base", allow_data_loss=True))
    for engine in engines:
        engine.dispose()


@on_sqlite
def test_a_store_does_not_wait_for_a_session_of_its_own_thread(url: str, database: Database) -> None:
    prepared, plain = (create_engine(url, connect_args={"timeout": 60}) for _ in range(2))
    prepare_sqlite_engine(prepared)
    with FineTuningStore.from_url(url, timeouts=LONG) as other:
        for engine in (prepared, plain):
            store = FineTuningStore(engine)
            with Session(engine) as session:
                FineTuningJobRepository(session).create(organization_id="org-1", model="m", training_file="f")
                for refused in (store, other):
                    assert_refused_at_once(lambda refused=refused: created(refused))
                assert store.jobs.list().data == other.jobs.list().data == ()  # readers wait for no writer
                thread = threading.Thread(target=created, args=(other,))
                thread.start()  # waits for the session
                session.rollback()
                thread.join()
            created(store)
            created(other)
            database.clean()
        with prepared.begin():  # holds the write lock, though it has not written
            assert_refused_at_once(lambda: created(other))
        with prepared.execution_options(sqlite_read_only=True).begin() as connection:
            connection.execute(text("SELECT * FROM fine_tuning_jobs"))
            created(other)
    for engine in (prepared, plain):
        engine.dispose()


@on_sqlite
def test_a_call_of_a_pool_of_threads_is_not_refused_for_what_an_earlier_call_left_open(url: str, database: Database) -> None:
    """A web server runs each call in a context of its own, and may commit the Session of one request in another thread."""
    engine = create_engine(url, connect_args={"check_same_thread": False})
    prepare_sqlite_engine(engine)
    session = Session(engine)
    with ThreadPoolExecutor(1) as pool, FineTuningStore.from_url(url, timeouts=LONG) as other:
        begin = partial(FineTuningJobRepository(session).create, organization_id="org-1", model="m", training_file="f")
        pool.submit(copy_context().run, begin).result()
        call = pool.submit(copy_context().run, created, other)  # waits
        session.commit()
        assert call.result()
    session.close()
    engine.dispose()


@on_sqlite
def test_an_async_store_does_not_wait_for_a_session_of_its_own_task(url: str, database: Database) -> None:
    async def main() -> None:
        engine = create_async_engine(with_driver(url, "aiosqlite"))
        prepare_sqlite_engine(engine)
        store = AsyncFineTuningStore(engine)

        async def create() -> None:
            await store.jobs.create(organization_id="org-1", model="m", training_file="f")

        async with AsyncSession(engine) as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(UnitAlreadyOpenError):
                await create()
            waiting = asyncio.create_task(create())
            await session.rollback()
            await waiting
        await create()
        await engine.dispose()

    asyncio.run(main())

"""Failures specific to async stores: cancelled tasks, a blocked event loop, concurrent tasks on one store."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, TypeVar

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.pool import QueuePool

from fine_tuning_store import (
    AsyncFineTuningJobRepository,
    AsyncFineTuningStore,
    AsyncUnitOfWork,
    FineTuningJob,
    FineTuningStore,
    JobAlreadyExistsError,
    JobNotFoundError,
    JobStatus,
    SchemaLockTimeoutError,
    Timeouts,
    UnitAlreadyOpenError,
    UnsupportedDatabaseError,
)
from fine_tuning_store.schema.dialects import support_for
from tests.support.databases import Database, host_url, with_driver
from tests.support.factories import a_job

pytestmark = pytest.mark.async_drivers

T = TypeVar("T")


def run_on_store(url: str, work: Callable[[AsyncFineTuningStore], Coroutine[Any, Any, T]], **options: Any) -> T:
    """Run a coroutine function on a store and return its result. It may leave no connection checked out and cause no warning."""

    async def main() -> T:
        async with AsyncFineTuningStore.from_url(url, **options) as store:
            result = await work(store)
            assert checked_out(store) == 0
            return result

    result = asyncio.run(main())
    gc.collect()
    return result


def checked_out(store: AsyncFineTuningStore) -> int:
    pool = store.engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout()


async def created(store: AsyncFineTuningStore | AsyncUnitOfWork) -> FineTuningJob:
    return await store.jobs.create(organization_id="org-1", model="m", training_file="f", metadata={"a": "b"})


class CancelledAt:
    """An awaitable that cancels its task when a coroutine suspends for the nth time, as `task.cancel()` from outside would."""

    def __init__(self, work: Coroutine[Any, Any, Any], wait: int) -> None:
        self.work = work
        self.wait = wait
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self.work.__await__()
        resume: Callable[[], Any] = partial(next, inner)
        while True:
            try:
                awaited = resume()
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self.wait:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                result = yield awaited
            except BaseException as error:  # noqa: BLE001 - thrown into the coroutine
                resume = partial(inner.throw, error)
            else:
                resume = partial(inner.send, result)


async def one_unit(store: AsyncFineTuningStore) -> None:
    async with store.begin() as unit:
        job = await created(unit)
        await unit.jobs.start(job.id, message="It starts.")
        await unit.jobs.list(metadata={"a": "b"})
        await unit.jobs.succeed(job.id, fine_tuned_model="ft:m", result_files=["file-1"])


async def single_calls(store: AsyncFineTuningStore) -> None:
    job = await created(store)
    await store.jobs.cancel(job.id)
    async for found in store.jobs.iterate(page_size=1):
        await store.jobs.get(found.id)


@pytest.mark.parametrize("work", [one_unit, single_calls])
def test_a_task_that_is_cancelled_at_any_await_leaves_no_connection_lock_or_partial_write(
    async_url: str, work: Callable[[AsyncFineTuningStore], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without it, psycopg suspends only every few milliseconds in what needs no round trip, such as switching to autocommit.
    monkeypatch.setattr("psycopg.waiting.MAX_BUSY_TIME", 0, raising=False)

    async def cancel_everywhere(store: AsyncFineTuningStore) -> int:
        await store.jobs.list()
        wait = 0
        while True:
            wait += 1
            attempt = CancelledAt(work(store), wait)
            task = asyncio.ensure_future(_awaited(attempt))
            await asyncio.wait([task])
            assert checked_out(store) == 0
            for job in (await store.jobs.list()).data:
                assert job.metadata == {"a": "b"}
                if work is one_unit:
                    assert (job.status, job.result_files) == (JobStatus.SUCCEEDED, ("file-1",))
                    assert [event.message for event in (await store.events.list(job.id)).data] == ["It starts."]
            async with asyncio.timeout(5):  # a lock that a cancelled task had left would block for much longer
                await created(store)
                for job in (await store.jobs.list()).data:
                    if not job.status.is_ended:
                        await store.jobs.cancel(job.id)
                    await store.jobs.delete(job.id)
            if not task.cancelled():
                await task
                return wait

    assert run_on_store(async_url, cancel_everywhere) > 8


async def _awaited(attempt: Awaitable[Any]) -> Any:
    return await attempt


def test_a_block_whose_task_is_cancelled_rolls_back(async_url: str) -> None:
    async def cancel(store: AsyncFineTuningStore) -> None:
        inside = asyncio.Event()

        async def work() -> None:
            async with store.begin() as unit:
                await created(unit)
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await store.jobs.list()).data == ()

    run_on_store(async_url, cancel)


@pytest.mark.parametrize("in_block", [False, True])
def test_a_task_that_is_cancelled_during_its_commit_is_stored(async_url: str, caplog: pytest.LogCaptureFixture, *, in_block: bool) -> None:
    async def cancel(store: AsyncFineTuningStore) -> None:
        await store.jobs.list()

        async def work() -> None:
            if in_block:
                async with store.begin() as unit:
                    await created(unit)
            else:
                await created(store)

        engine = store._sync._transactions.engine
        task = asyncio.create_task(work())
        commits = in_block or engine.dialect.name != "postgresql"  # which creates a job by a single statement
        event.listen(engine, "commit" if commits else "before_cursor_execute", lambda *_: task.cancel())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len((await store.jobs.list()).data) == 1

    run_on_store(async_url, cancel)
    assert not caplog.records


def test_other_tasks_may_use_the_store_while_a_unit_is_open(async_url: str) -> None:
    async def work(store: AsyncFineTuningStore) -> None:
        job = await created(store)
        async with store.begin() as unit:
            await unit.jobs.start(job.id)
            (read,) = await asyncio.gather(store.jobs.get(job.id))  # gather() runs it as another task
            assert read.status is JobStatus.VALIDATING_FILES
            with pytest.raises(UnitAlreadyOpenError):
                await store.jobs.get(job.id)
        assert [read.status for read in await asyncio.gather(*[store.jobs.get(job.id) for _ in range(20)])] == [JobStatus.RUNNING] * 20

    run_on_store(async_url, work)


def test_a_function_is_awaited_again_when_its_transaction_loses_a_conflict(async_url: str, database: Database) -> None:
    async def run_crosswise(store: AsyncFineTuningStore) -> None:
        first, second = await created(store), await created(store)
        runs: list[str] = []
        both_updated = asyncio.Barrier(2)

        async def crosswise(name: str, one: str, other: str) -> None:
            async def work(unit: AsyncUnitOfWork) -> None:
                runs.append(name)
                await unit.jobs.update(one, trained_tokens=len(runs))
                if runs.count(name) == 1 and database.name != "sqlite":  # SQLite allows one writer at a time
                    await both_updated.wait()
                await unit.jobs.update(other, metadata={"by": name})

            await store.run_in_transaction(work)

        await asyncio.gather(crosswise("a", first.id, second.id), crosswise("b", second.id, first.id))
        assert len(runs) >= (2 if database.name == "sqlite" else 3)
        assert {job.metadata["by"] async for job in store.jobs.iterate() if job.metadata} == {"a", "b"}

    run_on_store(async_url, run_crosswise, timeouts=Timeouts(lock=20))  # the machine may stall between the updates


def test_concurrent_upgrades_of_two_stores_all_succeed(empty_url: str, driver: str) -> None:
    url = with_driver(empty_url, driver)

    async def migrate(store: AsyncFineTuningStore) -> None:
        async with AsyncFineTuningStore.from_url(url) as other:
            await asyncio.gather(store.schema.upgrade(), other.schema.upgrade(), store.schema.upgrade())
            assert await other.schema.check() == ()
            assert await store.schema.current() == await store.schema.head()
            await store.schema.downgrade("base")

    run_on_store(url, migrate)


def test_waiting_for_the_migration_lock_leaves_the_event_loop_free(empty_url: str, driver: str) -> None:
    async def wait(store: AsyncFineTuningStore) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        lock = support_for(store.engine.dialect).migration_lock
        with FineTuningStore.from_url(empty_url) as other:
            with other._transactions.engine.connect() as connection, lock(connection, 1):
                with pytest.raises(SchemaLockTimeoutError):
                    await store.schema.upgrade(lock_timeout=0.5)
        ticking.cancel()
        assert ticks > 20
        await store.schema.upgrade()

    run_on_store(with_driver(empty_url, driver), wait)


def test_the_hosts_session_and_connection_commit_and_roll_back_the_stores_rows(async_url: str) -> None:
    async def use_repositories() -> None:
        engine = create_async_engine(host_url(async_url))
        job = a_job()
        async with AsyncSession(engine) as session:
            jobs = AsyncFineTuningJobRepository(session)
            await jobs.add(job)
            with pytest.raises(JobAlreadyExistsError):
                await jobs.add(job)
            await session.commit()
            await jobs.start(job.id)
            await session.rollback()
        async with engine.connect() as connection:
            jobs = AsyncFineTuningJobRepository(connection, organization_id=job.organization_id)
            assert (await jobs.get(job.id)).status is JobStatus.VALIDATING_FILES
            await jobs.start(job.id)
            assert [job.id async for job in jobs.iterate()] == [job.id]
            with pytest.raises(JobNotFoundError):
                await AsyncFineTuningJobRepository(connection, organization_id="org-other").get(job.id)
            await connection.commit()
        store = AsyncFineTuningStore(engine)
        assert (await store.jobs.get(job.id)).status is JobStatus.RUNNING
        assert store.engine.sync_engine is engine.sync_engine
        await store.close()
        assert checked_out(store) == 0
        assert (await store.jobs.get(job.id)).status is JobStatus.RUNNING  # the host's engine is still open
        await engine.dispose()

    asyncio.run(use_repositories())


def test_the_error_for_an_async_engine_in_a_sync_store_or_the_reverse_names_the_right_class(async_url: str, url: str) -> None:
    engine, sync_engine = create_async_engine(host_url(async_url)), create_engine(url)

    for call, right_class in (
        (lambda: FineTuningStore(untyped(engine)), "AsyncFineTuningStore"),
        (lambda: AsyncFineTuningStore(untyped(sync_engine)), "FineTuningStore"),
    ):
        with pytest.raises(TypeError, match=right_class):
            call()
    with pytest.raises(UnsupportedDatabaseError, match="AsyncFineTuningStore"):
        FineTuningStore(engine.sync_engine)
    for source in (sync_engine, engine, AsyncConnection(engine), None):
        with pytest.raises(TypeError, match="Async"):
            AsyncFineTuningJobRepository(untyped(source))


def untyped(value: object) -> Any:
    return value


def on_five_connections(url: str, work: Callable[[AsyncFineTuningStore], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on a store whose pool is limited to five connections, and return its result."""

    async def main() -> T:
        async with AsyncFineTuningStore.from_url(url) as store:
            store.engine.pool._max_overflow = 0  # type: ignore[attr-defined]
            return await work(store)

    result = asyncio.run(main())
    gc.collect()
    return result

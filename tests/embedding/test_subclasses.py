"""Stores that an application derives from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fine_tuning_store import (
    AsyncFineTuningStore,
    FineTuningStore,
    JobNotFoundError,
    ReadOnlyStoreError,
    Timeouts,
    UnitAlreadyOpenError,
    prepare_sqlite_engine,
)


class TracedStore(FineTuningStore):
    """A store with an attribute, a slot and a required argument of its own."""

    __slots__ = ("spans",)

    def __init__(self, engine: Engine, *, tracer: object, **options: Any) -> None:
        super().__init__(engine, **options)
        self.tracer = tracer
        self.spans: list[str] = []


class AsyncTracedStore(AsyncFineTuningStore):
    """The same, awaited."""

    __slots__ = ("spans",)

    def __init__(self, engine: AsyncEngine, *, tracer: object, **options: Any) -> None:
        super().__init__(engine, **options)
        self.tracer = tracer
        self.spans: list[str] = []


def test_a_store_of_one_organization_has_what_the_constructor_of_a_subclass_has_set(tmp_path: Path) -> None:
    engine, tracer = create_engine(f"sqlite:///{tmp_path}/jobs.db"), object()
    store = TracedStore(engine, tracer=tracer, clock=lambda: 1_800_000_000)
    store.schema.upgrade()

    scoped = store.for_organization("org-1")

    assert type(scoped) is TracedStore
    assert (scoped.tracer, scoped.organization_id, store.organization_id) == (tracer, "org-1", None)
    assert scoped.spans is store.spans
    job = scoped.jobs.create(model="m", training_file="f")
    assert (job.organization_id, job.created_at) == ("org-1", 1_800_000_000)
    with pytest.raises(JobNotFoundError):
        store.for_organization("org-2").jobs.get(job.id)
    assert store.jobs.get(job.id) == job
    engine.dispose()


def test_an_async_store_of_one_organization_has_what_the_constructor_of_a_subclass_has_set(tmp_path: Path) -> None:
    async def run() -> None:
        engine, tracer = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/jobs.db"), object()
        prepare_sqlite_engine(engine)
        store = AsyncTracedStore(engine, tracer=tracer)
        await store.schema.upgrade()

        scoped = store.for_organization("org-1")

        assert type(scoped) is AsyncTracedStore
        assert (scoped.tracer, scoped.organization_id, store.organization_id) == (tracer, "org-1", None)
        assert scoped.spans is store.spans
        job = await scoped.jobs.create(model="m", training_file="f")
        assert job.organization_id == "org-1"
        with pytest.raises(JobNotFoundError):
            await store.for_organization("org-2").jobs.get(job.id)
        await engine.dispose()

    asyncio.run(run())


class CountingStore(FineTuningStore):
    """A store whose constructor uses what that of FineTuningStore has set, and keeps the engine for transactions of its own."""

    def __init__(self, engine: Engine, *, tag: str = "default", **options: Any) -> None:
        super().__init__(engine, **options)
        self.tag = tag
        self.count = self.jobs.count
        self.own_engine = engine


class AsyncCountingStore(AsyncFineTuningStore):
    """The same, awaited."""

    def __init__(self, engine: AsyncEngine, *, tag: str = "default", **options: Any) -> None:
        super().__init__(engine, **options)
        self.tag = tag
        self.count = self.jobs.count
        self.own_engine = engine


def test_a_subclass_that_is_opened_by_a_url_runs_its_constructor_and_still_owns_its_engine(url: str) -> None:
    with CountingStore.from_url(url, clock=lambda: 1_800_000_000, timeouts=Timeouts(pool=0.1), engine_options={"pool_size": 1}) as store:
        job = store.for_organization("org-1").jobs.create(model="m", training_file="f")
        assert (store.tag, store.for_organization("org-1").tag, store.count(), job.created_at) == ("default", "default", 1, 1_800_000_000)
        with store.own_engine.connect() as connection:
            connection.execute(text("UPDATE fine_tuning_jobs SET seed = 1"))
            connection.rollback()
        assert store.jobs.get(job.id) == job
        with pytest.raises(UnitAlreadyOpenError), store.begin():
            store.count()
        pool = store.own_engine.pool
    assert store.own_engine.pool is not pool  # closed with the store

    with CountingStore.from_url(url, read_only=True) as reader:
        assert reader.count() == 1
        with pytest.raises(ReadOnlyStoreError):
            reader.jobs.cancel(job.id)

    with FineTuningStore.from_url(url) as owner:
        pool = owner.engine.pool
        FineTuningStore(owner.engine).close()  # on the engine of another store, which it does not own
        assert owner.engine.pool is pool


def test_an_async_subclass_that_is_opened_by_a_url_runs_its_constructor_and_still_owns_its_engine(tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncCountingStore.from_url(f"sqlite:///{tmp_path}/jobs.db") as store:
            await store.schema.upgrade()
            job = await store.for_organization("org-1").jobs.create(model="m", training_file="f")
            async with store.own_engine.connect() as connection:
                await connection.execute(text("UPDATE fine_tuning_jobs SET seed = 1"))
                await connection.rollback()
            assert (store.tag, await store.count(), await store.jobs.get(job.id)) == ("default", 1, job)
            pool = store.own_engine.pool
        assert store.own_engine.pool is not pool
        async with AsyncCountingStore.from_url(f"sqlite:///{tmp_path}/jobs.db", read_only=True) as reader:
            with pytest.raises(ReadOnlyStoreError):
                await reader.jobs.create(organization_id="org-1", model="m", training_file="f")

    asyncio.run(run())


@pytest.mark.parametrize("kind", [TracedStore, AsyncTracedStore])
def test_a_subclass_whose_constructor_needs_more_is_refused_by_from_url_with_what_to_do(kind: Any) -> None:
    with pytest.raises(TypeError, match=rf"from_url calls {kind.__name__}\(engine, .*'tracer'.*give arguments of its own a default"):
        kind.from_url("sqlite://")

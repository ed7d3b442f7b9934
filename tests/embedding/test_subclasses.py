"""Stores that an application derives from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fine_tuning_store import AsyncFineTuningStore, FineTuningStore, JobNotFoundError, prepare_sqlite_engine


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

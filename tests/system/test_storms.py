"""Many processes start at once, on an empty database or one of an earlier release: one migrates, and all of them work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from fine_tuning_store import AsyncFineTuningStore, FineTuningStore
from fine_tuning_store.sql.models import VERSION_TABLE
from tests.support.databases import ASYNC_DRIVERS, Database, with_driver
from tests.support.parallel import at_once

PROCESSES = 8
#: Inserts only the columns that 0001 requires.
JOB = text(
    "INSERT INTO fine_tuning_jobs (id, organization_id, created_at, status, model, training_file) "
    "VALUES ('ftjob-old', 'org-1', 1700000000, 'running', 'm', 'f')"
)
NEW: dict[str, Any] = {"organization_id": "org-1", "model": "m", "training_file": "f"}


def start(wait: Callable[[], object], url: str, *pooled: bool) -> str | None:
    """Start a service: migrate and create a job."""
    with FineTuningStore.from_url(url, transaction_pooler=any(pooled)) as store:
        wait()
        store.schema.upgrade()
        store.jobs.create(**NEW)
        return store.schema.current()


def start_async(wait: Callable[[], object], url: str, *pooled: bool) -> str | None:
    """Start an async service: migrate and create a job."""

    async def run() -> str | None:
        async with AsyncFineTuningStore.from_url(url, transaction_pooler=any(pooled)) as store:
            wait()
            await store.schema.upgrade()
            await store.jobs.create(**NEW)
            return await store.schema.current()

    return asyncio.run(run())


def from_nothing(store: FineTuningStore) -> None:
    """Start from an empty database."""


def from_the_first_release(store: FineTuningStore) -> None:
    """Start from a database of the first release with a stored job."""
    store.schema.upgrade("fine_tuning_store_0001")
    with store.engine.begin() as connection:
        connection.execute(JOB)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_processes_that_start_at_once_all_work(database: Database, rounds: int, kind: str) -> None:
    for number in range(rounds):
        before = (from_nothing, from_the_first_release)[number % 2]
        with database.empty() as url, FineTuningStore.from_url(url) as store:
            before(store)
            drivers = ASYNC_DRIVERS[database.name]
            calls = [
                (start, (url,)) if kind == "sync" else (start_async, (with_driver(url, drivers[process % len(drivers)]),))
                for process in range(PROCESSES)
            ]

            assert at_once(*calls) == [(store.schema.head(), None)] * PROCESSES

            ids = {job.id for job in store.jobs.iterate()}
            assert len(ids - {"ftjob-old"}) == PROCESSES
            assert ("ftjob-old" in ids) == (before is from_the_first_release)
            assert store.schema.check() == ()
            with store.engine.connect() as connection:
                assert connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")).all() == [store.schema.head()]

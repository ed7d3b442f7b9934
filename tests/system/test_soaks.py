"""Many tasks use one store for a while, and are cancelled at random."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from fine_tuning_store import AsyncFineTuningStore, JobStatus
from tests.contract.test_async import checked_out, created, on_five_connections

pytestmark = pytest.mark.async_drivers


def test_tasks_that_are_cancelled_at_random_lose_nothing(async_url: str, soak_seconds: float) -> None:
    """Create, transition and list jobs in 200 tasks on 5 connections.

    Each job is stored completely or not at all, and no status that a call returned is lost.
    """

    async def soak(store: AsyncFineTuningStore) -> int:
        returned: dict[str, JobStatus] = {}
        deadline = asyncio.get_running_loop().time() + soak_seconds
        loops = cancelled = 0

        async def work() -> None:
            nonlocal loops
            while asyncio.get_running_loop().time() < deadline:
                job = await created(store)
                returned[job.id] = job.status
                await asyncio.sleep(0)
                async with store.begin() as unit:
                    started = await unit.jobs.start(job.id, message="It starts.")
                    await unit.events.append(job.id, "Step 1")
                returned[job.id] = started.status
                await store.jobs.list(limit=5, status="running")
                returned[job.id] = (await store.jobs.cancel(job.id)).status
                loops += 1

        async def worker() -> None:
            nonlocal cancelled
            while asyncio.get_running_loop().time() < deadline:
                task = asyncio.create_task(work())
                await asyncio.wait([task], timeout=random.expovariate(1))
                task.cancel()
                await asyncio.wait([task])
                if task.cancelled():
                    cancelled += 1
                else:
                    task.result()

        await asyncio.gather(*(worker() for _ in range(200)))
        assert checked_out(store) == 0
        stored_jobs = {job.id: job async for job in store.jobs.iterate(page_size=1000)}
        order = [JobStatus.VALIDATING_FILES, JobStatus.RUNNING, JobStatus.CANCELLED]
        for id, status in returned.items():
            assert order.index(stored_jobs[id].status) >= order.index(status)
        for job in stored_jobs.values():
            assert job.metadata == {"a": "b"}
            events = [event.message for event in (await store.events.list(job.id)).data]
            assert events == ([] if not events else ["Step 1", "It starts."])
            assert bool(events) or job.status is not JobStatus.RUNNING
        logging.getLogger(__name__).info("%d jobs, %d complete runs, %d tasks cancelled", len(stored_jobs), loops, cancelled)
        return min(loops, cancelled)

    assert on_five_connections(async_url, soak) > 0

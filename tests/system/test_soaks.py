"""Many tasks work on one store for a while, and are cancelled at random."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from fine_tuning_store import AsyncFineTuningStore, JobStatus
from tests.contract.test_async import checked_out, created, on_five_connections

pytestmark = pytest.mark.async_drivers


def test_tasks_that_are_cancelled_at_random_lose_nothing(async_url: str, soak_seconds: float) -> None:
    """200 tasks on 5 connections create, move and list jobs. A job is stored whole or not at all, and every answer came true."""

    async def soak(store: AsyncFineTuningStore) -> int:
        answered: dict[str, JobStatus] = {}
        ends = asyncio.get_running_loop().time() + soak_seconds
        loops = cancelled = 0

        async def work() -> None:
            nonlocal loops
            while asyncio.get_running_loop().time() < ends:
                job = await created(store)
                answered[job.id] = job.status
                await asyncio.sleep(0)
                async with store.begin() as unit:
                    started = await unit.jobs.start(job.id, message="It starts.")
                    await unit.events.append(job.id, "Step 1")
                answered[job.id] = started.status
                await store.jobs.list(limit=5, status="running")
                answered[job.id] = (await store.jobs.cancel(job.id)).status
                loops += 1

        async def worker() -> None:
            nonlocal cancelled
            while asyncio.get_running_loop().time() < ends:
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
        kept = {job.id: job async for job in store.jobs.iterate(page_size=1000)}
        order = [JobStatus.VALIDATING_FILES, JobStatus.RUNNING, JobStatus.CANCELLED]
        for id, status in answered.items():
            assert order.index(kept[id].status) >= order.index(status)
        for job in kept.values():
            assert job.metadata == {"a": "b"}
            events = [event.message for event in (await store.events.list(job.id)).data]
            assert events == ([] if not events else ["Step 1", "It starts."])
            assert bool(events) or job.status is not JobStatus.RUNNING
        logging.getLogger(__name__).info("%d jobs, %d whole lives, %d tasks cancelled", len(kept), loops, cancelled)
        return min(loops, cancelled)

    assert on_five_connections(async_url, soak) > 0

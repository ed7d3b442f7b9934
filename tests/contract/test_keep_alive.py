"""Heartbeats in the background, from a thread and from a task."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

import pytest

from fine_tuning_store import AsyncFineTuningStore, FineTuningStore, JobStatus, Timeouts
from tests.contract.test_leases import claimed, expire, queued

SECONDS = 20


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lease_outlives_its_seconds_and_tells_of_a_cancel(store: FineTuningStore) -> None:
    queued(store)
    lease = claimed(store, seconds=1)
    first = lease.expires_at

    with lease.keep_alive() as alive:
        assert alive is lease
        wait_until(lambda: lease.expires_at > first)
        assert lease.append_event("still here").position == 1
        store.jobs.cancel(lease.job.id)
        wait_until(lambda: lease.status is JobStatus.CANCELLED)

    assert not [thread for thread in threading.enumerate() if "call_until_stopped" in thread.name]


def test_a_lost_lease_has_no_status(store: FineTuningStore) -> None:
    queued(store)
    lease = claimed(store, seconds=1)

    with lease.keep_alive():
        expire(store, lease)
        wait_until(lambda: lease.status is None)

    assert store.jobs.get(lease.job.id).lease_expires_at == 1


def test_a_heartbeat_that_fails_is_logged_and_followed_by_the_next(
    store: FineTuningStore, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    queued(store)
    with FineTuningStore.from_url(url, timeouts=Timeouts(lock=0.1)) as impatient:
        lease = claimed(impatient, seconds=3)
        with lease.keep_alive(), caplog.at_level(logging.WARNING, "fine_tuning_store"):
            with store.begin() as unit:
                unit.jobs.update(lease.job.id, trained_tokens=1)
                wait_until(lambda: caplog.records)
            failed = lease.expires_at
            wait_until(lambda: lease.expires_at > failed)

    assert "a heartbeat" in caplog.text


def test_a_bound_lease_sends_no_heartbeats_in_the_background(store: FineTuningStore) -> None:
    queued(store)
    lease = claimed(store)

    with store.begin() as unit, pytest.raises(TypeError, match="transactions of their own"), unit.leases.bind(lease).keep_alive():
        pass


@pytest.mark.async_drivers
def test_a_task_keeps_the_lease_and_tells_of_a_pause(async_url: str) -> None:
    async def main() -> None:
        async with AsyncFineTuningStore.from_url(async_url) as store:
            job = await store.jobs.create(organization_id="org-1", model="m", training_file="f")
            await store.jobs.enqueue(job.id)
            assert await store.leases.wait(5)
            lease = await store.leases.claim("worker-1", seconds=1)
            assert lease is not None
            assert (lease.job.id, lease.attempt, lease.worker_id, lease.seconds) == (job.id, 1, "worker-1", 1)
            assert repr(lease).startswith("AsyncLease(job_id=")
            first = lease.expires_at
            async with lease.keep_alive() as alive:
                assert alive is lease
                await asyncio.to_thread(wait_until, lambda: lease.expires_at > first)
                await store.jobs.pause(job.id)
                await asyncio.to_thread(wait_until, lambda: lease.status is JobStatus.PAUSED)
            async with store.begin() as unit:
                bound = unit.leases.bind(lease)
                await bound.append_event("paused")
                with pytest.raises(TypeError, match="transactions of their own"):
                    async with bound.keep_alive():
                        pass
                with pytest.raises(TypeError, match="AsyncLease"):
                    unit.leases.bind(lease._sync)  # type: ignore[arg-type]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())

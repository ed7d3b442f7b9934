"""The worker of worker.py in asyncio: it trains several jobs at the same time.

python async_worker.py sqlite+aiosqlite:///fine_tuning_service.db
python async_worker.py postgresql+asyncpg://user@host/name
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys

from sqlalchemy.exc import SQLAlchemyError

from fine_tuning_store import (
    AsyncFineTuningStore,
    AsyncLease,
    FineTuningStoreError,
    Hyperparameters,
    JobError,
    JobStatus,
    StaleLeaseError,
)

logger = logging.getLogger("worker")

JOBS, STEPS, STEP_SECONDS = 4, 10, 0.2
LEASE_SECONDS = 30  # after so long without a heartbeat another worker may have the job


async def work(store: AsyncFineTuningStore, worker_id: str, stop: asyncio.Event) -> None:
    """Train one job after the other until `stop` is set."""
    while not stop.is_set():
        try:
            await store.leases.rescue()
            lease = await store.leases.claim(worker_id, seconds=LEASE_SECONDS)
            if lease is not None:
                await train_and_record(lease, stop)
            else:
                await store.leases.wait(1)
        except (FineTuningStoreError, SQLAlchemyError):  # the lease of a job that it had expires, and the job returns to the queue
            logger.exception("the store failed: trying again")
            await is_set_within(stop, 1)


async def train_and_record(lease: AsyncLease, stop: asyncio.Event) -> None:
    """Train a job, and record how it ended."""
    try:
        async with lease.keep_alive():  # heartbeats, from a task: a training that blocks belongs in a thread
            await train(lease, stop)
    except StaleLeaseError as error:  # its user has paused or cancelled it, or the lease expired: it is another worker's now
        logger.info("%s", error)
    except (FineTuningStoreError, SQLAlchemyError):
        raise
    except Exception as error:  # noqa: BLE001 - of the training
        await lease.fail(JobError.from_exception(error), message="The training failed.")


async def train(lease: AsyncLease, stop: asyncio.Event) -> None:
    """Pretend to train: put your training here."""
    job = lease.job
    if job.hyperparameters.n_epochs == "auto":
        await lease.update(hyperparameters=Hyperparameters(n_epochs=3))
    for step in range(1, STEPS + 1):
        if lease.status is not JobStatus.RUNNING:
            return  # the last heartbeat found it paused, cancelled or lost
        if await is_set_within(stop, STEP_SECONDS):
            await lease.requeue(message="The worker stops. The job returns to the queue.")
            return
        metrics = {"step": step, "train_loss": round(2 / step, 3)}
        await lease.append_event(f"Step {step}/{STEPS}: training loss={metrics['train_loss']}", type="metrics", data=metrics)
        if step % 5 == 0:
            await lease.add_checkpoint(step_number=step, fine_tuned_model_checkpoint=f"ft:{job.id}:step-{step}", metrics=metrics)
    await lease.succeed(fine_tuned_model=f"ft:{job.model}::{job.id[-8:]}", trained_tokens=1000, message="The job has succeeded.")


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, for at most so many seconds, and return whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


async def main(url: str) -> None:
    stop = asyncio.Event()
    for end in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(end, stop.set)
    async with AsyncFineTuningStore.from_url(url) as store:
        await store.schema.upgrade()
        async with asyncio.TaskGroup() as group:
            for number in range(JOBS):
                group.create_task(work(store, f"{socket.gethostname()}-{os.getpid()}-{number}", stop))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    if len(sys.argv) != 2:
        sys.exit("usage: async_worker.py URL, the database of the jobs")
    asyncio.run(main(sys.argv[1]))

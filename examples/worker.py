"""A worker: claims queued jobs and pretends to train them. Start any number of processes of it.

python worker.py sqlite:///fine_tuning_service.db
python worker.py postgresql://user@host/name

SIGTERM and Ctrl+C return its job to the queue. If it is killed, another worker returns the job once its lease has expired.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading

from sqlalchemy.exc import SQLAlchemyError

from fine_tuning_store import FineTuningStore, FineTuningStoreError, Hyperparameters, JobError, JobStatus, Lease, StaleLeaseError

logger = logging.getLogger("worker")

STEPS, STEP_SECONDS = 10, 0.2
LEASE_SECONDS = 30  # after so long without a heartbeat another worker may have the job


def work(store: FineTuningStore, worker_id: str, stop: threading.Event) -> None:
    """Train one job after the other until `stop` is set."""
    while not stop.is_set():
        try:
            store.leases.rescue()
            lease = store.leases.claim(worker_id, seconds=LEASE_SECONDS)
            if lease is not None:
                train_and_record(lease, stop)
            else:
                store.leases.wait(1)
        except (FineTuningStoreError, SQLAlchemyError):  # the lease of a job that it had expires, and the job returns to the queue
            logger.exception("the store failed: trying again")
            stop.wait(1)


def train_and_record(lease: Lease, stop: threading.Event) -> None:
    """Train a job, and record how it ended."""
    try:
        with lease.keep_alive():  # heartbeats, from a thread
            train(lease, stop)
    except StaleLeaseError as error:  # its user has paused or cancelled it, or the lease expired: it is another worker's now
        logger.info("%s", error)
    except (FineTuningStoreError, SQLAlchemyError):
        raise
    except Exception as error:  # noqa: BLE001 - of the training
        lease.fail(JobError.from_exception(error), message="The training failed.")


def train(lease: Lease, stop: threading.Event) -> None:
    """Pretend to train: put your training here."""
    job = lease.job
    if job.hyperparameters.n_epochs == "auto":
        lease.update(hyperparameters=Hyperparameters(n_epochs=3))
    for step in range(1, STEPS + 1):
        if lease.status is not JobStatus.RUNNING:
            return  # the last heartbeat found it paused, cancelled or lost
        if stop.wait(STEP_SECONDS):
            lease.requeue(message="The worker stops. The job returns to the queue.")
            return
        metrics = {"step": step, "train_loss": round(2 / step, 3)}
        lease.append_event(f"Step {step}/{STEPS}: training loss={metrics['train_loss']}", type="metrics", data=metrics)
        if step % 5 == 0:
            lease.add_checkpoint(step_number=step, fine_tuned_model_checkpoint=f"ft:{job.id}:step-{step}", metrics=metrics)
    lease.succeed(fine_tuned_model=f"ft:{job.model}::{job.id[-8:]}", trained_tokens=1000, message="The job has succeeded.")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    if len(sys.argv) != 2:
        sys.exit("usage: worker.py URL, the database of the jobs")
    with FineTuningStore.from_url(sys.argv[1]) as jobs:
        jobs.schema.upgrade()
        work(jobs, f"{socket.gethostname()}-{os.getpid()}", stopped)

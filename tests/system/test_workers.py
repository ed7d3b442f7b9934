"""Many workers that are killed at random, while users cancel, pause and resume: each job ends once, and no two workers have it."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from fine_tuning_store import (
    FineTuningStore,
    IllegalTransitionError,
    JobStatus,
    JobTransition,
    StaleLeaseError,
    StoreBusyError,
)
from tests.support.factories import created

JOBS = int(os.environ.get("FINE_TUNING_STORE_TEST_JOBS", "400"))
WORKERS = 8
LEASE_SECONDS = 2
KILL_SECONDS = 0.5

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.conftest", "psycopg", "pymysql"])


def work(url: str, errors: Any) -> None:
    """Claim and finish jobs until the queue is empty, and stays so. Only the errors that a worker has to expect are caught."""
    worker_id = f"worker-{os.getpid()}-{time.monotonic_ns()}"
    try:
        with FineTuningStore.from_url(url) as store:
            while True:
                with suppress(StaleLeaseError, StoreBusyError):
                    step(store, worker_id)
    except BaseException as error:
        errors.put(f"{worker_id}: {error!r}")
        raise


def step(store: FineTuningStore, worker_id: str) -> None:
    lease = store.leases.claim(worker_id, seconds=LEASE_SECONDS)
    if lease is None:
        store.leases.rescue(max_attempts=5)
        store.leases.wait(0.5)
        return
    data = {"worker": worker_id, "attempt": lease.attempt}
    lease.append_event("training", data=data)
    time.sleep(random.uniform(0, 0.05))  # the training
    if lease.heartbeat() is JobStatus.RUNNING:
        lease.add_checkpoint(step_number=lease.attempt, fine_tuned_model_checkpoint=worker_id)
        lease.append_event("trained", data=data)
        lease.succeed(fine_tuned_model=worker_id)


def disturb(url: str, ids: list[str], errors: Any) -> None:
    """Cancel, pause and resume jobs at random."""
    try:
        with FineTuningStore.from_url(url) as store:
            while True:
                verb = random.choice([store.jobs.cancel, *[store.jobs.pause] * 8, *[store.jobs.resume] * 30])
                with suppress(IllegalTransitionError, StoreBusyError):
                    verb(random.choice(ids))
                time.sleep(0.005)
    except BaseException as error:
        errors.put(f"the disturber: {error!r}")
        raise


def run_workers(url: str, store: FineTuningStore, ids: list[str], interrupt: Callable[[float], None] = lambda _: None) -> dict[str, float]:
    """Run workers on the jobs, kill one after the other and replace it, until all jobs have ended. Returns figures."""
    errors = _context.Queue()
    started = time.monotonic()
    workers = [_context.Process(target=work, args=(url, errors)) for _ in range(WORKERS)]
    user = _context.Process(target=disturb, args=(url, ids, errors))
    killed = 0
    try:
        for process in (*workers, user):
            process.start()
        while (left := store.jobs.count(status=[status for status in JobStatus if not status.is_ended])) > 0:
            assert time.monotonic() - started < 60 + JOBS, f"{left} jobs have not ended"
            assert errors.empty(), errors.get()
            time.sleep(KILL_SECONDS)
            interrupt(left)
            if left < len(ids) / 10 and user.is_alive():
                user.kill()
                user.join()
                for job in store.jobs.iterate(status="paused"):
                    store.jobs.resume(job.id)
            victim = random.randrange(WORKERS)
            os.kill(workers[victim].pid or 0, signal.SIGKILL)
            workers[victim].join()
            killed += 1
            workers[victim] = _context.Process(target=work, args=(url, errors))
            workers[victim].start()
    finally:
        for process in (*workers, user):
            process.kill()
            process.join()
    assert errors.empty(), errors.get()
    return {"seconds": time.monotonic() - started, "killed": killed}


def assert_each_attempt_had_one_worker(store: FineTuningStore, id: str) -> list[JobTransition]:
    """Check the log of a job, and its events: they are of the worker of each attempt, in the order of the attempts."""
    log = list(store.transitions.list(id, limit=1000).data)
    assert [entry.from_status for entry in log[1:]] == [entry.to_status for entry in log[:-1]]
    assert [entry.to_status.is_ended for entry in log] == [False] * (len(log) - 1) + [True]
    starts = [entry for entry in log if entry.transition == "start"]
    assert [entry.attempt for entry in starts] == list(range(1, len(starts) + 1))
    assert all(entry.from_status is JobStatus.QUEUED for entry in starts)
    worker_of = {entry.attempt: entry.actor for entry in starts}
    events = [event.data for event in store.events.tail(id, limit=1000) if event.data]
    assert all(data["worker"] == worker_of[data["attempt"]] for data in events)
    assert [data["attempt"] for data in events] == sorted(data["attempt"] for data in events)
    job, last = store.jobs.get(id), log[-1]
    if job.status is JobStatus.SUCCEEDED:
        assert job.fine_tuned_model == last.actor == worker_of[job.attempt]
        assert store.checkpoints.list(id).data[0].fine_tuned_model_checkpoint == job.fine_tuned_model
    assert (job.worker_id, job.lease_expires_at) == (None, None)
    return log


@pytest.mark.timeout(60 + 3 * JOBS)
def test_killed_workers_lose_no_job_and_no_job_has_two(url: str) -> None:
    with FineTuningStore.from_url(url) as store:
        ids = [store.jobs.enqueue(created(store).id).id for _ in range(JOBS)]

        figures = run_workers(url, store, ids)

        logs = [assert_each_attempt_had_one_worker(store, id) for id in ids]
        ends = Counter(log[-1].to_status.value for log in logs)
        verbs = Counter(entry.transition for log in logs for entry in log)
        rescued = sum(entry.actor == "rescue" for log in logs for entry in log)
        print(  # noqa: T201 - figures of a run by hand, with -s
            f"{JOBS} jobs in {figures['seconds']:.0f} s, {figures['killed']} workers killed: {dict(ends)}, {dict(verbs)}, rescued {rescued}"
        )
        assert ends["succeeded"] > JOBS / 2

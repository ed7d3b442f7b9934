"""Many workers that are killed at random, while users cancel, pause and resume: each job ends once, and no two workers have it."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from sqlalchemy.exc import OperationalError

from fine_tuning_store import (
    FineTuningStore,
    IllegalTransitionError,
    JobStatus,
    JobTransition,
    OutcomeUnknownError,
    StaleLeaseError,
    StoreBusyError,
)
from tests.support.factories import created
from tests.support.own_mariadb import own_mariadb
from tests.support.own_postgresql import own_postgresql
from tests.support.standby import scalar

JOBS = int(os.environ.get("FINE_TUNING_STORE_TEST_JOBS", "400"))
WORKERS = 8
LEASE_SECONDS = 2
KILL_SECONDS = 0.5

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.conftest", "psycopg", "pymysql"])


#: What a worker has to expect: it lost its job, or has to try again. The last two only while the server is away.
EXPECTED = (StaleLeaseError, StoreBusyError, OutcomeUnknownError, OperationalError)


def work(url: str, folder: Path, errors: Any) -> None:
    """Claim and finish jobs for ever. Each one that was finished for sure is a line of a file of the folder."""
    worker_id = f"worker-{os.getpid()}-{time.monotonic_ns()}"
    try:
        with FineTuningStore.from_url(url) as store, (folder / worker_id).open("a") as finished:
            while True:
                try:
                    step(store, worker_id, finished)
                except EXPECTED[:2]:
                    pass
                except EXPECTED as error:
                    if not (folder / "server_was_away").exists():
                        raise
                    (folder / "errors").open("a").write(f"{type(error).__name__}\n")
                    time.sleep(0.1)
    except BaseException as error:
        errors.put(f"{worker_id}: {error!r}")
        raise


def step(store: FineTuningStore, worker_id: str, finished: IO[str]) -> None:
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
        finished.write(f"{lease.job.id}\n")
        finished.flush()


def disturb(url: str, ids: list[str], folder: Path, errors: Any) -> None:
    """Cancel, pause and resume jobs at random."""
    try:
        with FineTuningStore.from_url(url) as store:
            while True:
                verb = random.choice([store.jobs.cancel, *[store.jobs.pause] * 8, *[store.jobs.resume] * 30])
                try:
                    verb(random.choice(ids))
                except IllegalTransitionError:
                    pass
                except EXPECTED[1:]:
                    if not (folder / "server_was_away").exists():
                        raise
                time.sleep(0.005)
    except BaseException as error:
        errors.put(f"the disturber: {error!r}")
        raise


def run_workers(
    url: str, store: FineTuningStore, ids: list[str], folder: Path, interrupt: Callable[[int], None] = lambda _: None
) -> dict[str, float]:
    """Run workers on the jobs, kill one after the other and replace it, until all jobs have ended. Returns figures.

    `interrupt` is called every half second with the number of jobs that are left.
    """
    errors = _context.Queue()
    started = time.monotonic()
    workers = [_context.Process(target=work, args=(url, folder, errors)) for _ in range(WORKERS)]
    user = _context.Process(target=disturb, args=(url, ids, folder, errors))
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
            workers[victim] = _context.Process(target=work, args=(url, folder, errors))
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


def assert_finished_jobs_are_stored(store: FineTuningStore, folder: Path) -> None:
    """Each job that a worker has finished is stored as finished."""
    for path in folder.glob("worker-*"):
        for line in path.read_text().splitlines():
            job = store.jobs.get(line)
            assert (job.status, job.fine_tuned_model) == (JobStatus.SUCCEEDED, path.name)


@pytest.mark.timeout(60 + 3 * JOBS)
def test_killed_workers_lose_no_job_and_no_job_has_two(url: str, tmp_path: Path) -> None:
    with FineTuningStore.from_url(url) as store:
        ids = [store.jobs.enqueue(created(store).id).id for _ in range(JOBS)]

        figures = run_workers(url, store, ids, tmp_path)

        assert_finished_jobs_are_stored(store, tmp_path)
        logs = [assert_each_attempt_had_one_worker(store, id) for id in ids]
        ends = Counter(log[-1].to_status.value for log in logs)
        verbs = Counter(entry.transition for log in logs for entry in log)
        rescued = sum(entry.actor == "rescue" for log in logs for entry in log)
        print(  # noqa: T201 - figures of a run by hand, with -s
            f"{JOBS} jobs in {figures['seconds']:.0f} s, {figures['killed']} workers killed: {dict(ends)}, {dict(verbs)}, rescued {rescued}"
        )
        assert ends["succeeded"] > JOBS / 2


@pytest.mark.timeout(120 + 3 * JOBS)
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_a_server_that_is_killed_loses_nothing_and_workers_go_on_by_themselves(name: str, tmp_path: Path) -> None:
    with own_postgresql() if name == "postgresql" else own_mariadb() as server:
        scalar(server.url, "CREATE DATABASE jobs")
        url = server.url.set(database="jobs").render_as_string(hide_password=False)
        with FineTuningStore.from_url(url) as store:
            store.schema.upgrade()
            ids = [store.jobs.enqueue(created(store).id).id for _ in range(JOBS)]
            restarts = [JOBS // 5, JOBS // 2, JOBS * 4 // 5]  # when so many jobs are left

            def restart(left: int) -> None:
                if restarts and left <= restarts[-1]:
                    restarts.pop()
                    (tmp_path / "server_was_away").touch()
                    server.kill()
                    server.start()

            figures = run_workers(url, store, ids, tmp_path, restart)

            assert restarts == []
            assert_finished_jobs_are_stored(store, tmp_path)
            ends = Counter(assert_each_attempt_had_one_worker(store, id)[-1].to_status.value for id in ids)
            errors = Counter((tmp_path / "errors").read_text().splitlines()) if (tmp_path / "errors").exists() else {}
            print(f"{name}: {JOBS} jobs in {figures['seconds']:.0f} s, {dict(ends)}, errors of workers: {dict(errors)}")  # noqa: T201
            assert ends["succeeded"] > JOBS / 2

"""Claims of queued jobs: their time with a short and a long queue, and how many workers get done in a second.

python -m benchmarks claims --url sqlite:////tmp/claims.db
python -m benchmarks claims --url postgresql://postgres@127.0.0.1:5432/claims
python -m benchmarks claims --url mariadb://root@127.0.0.1:3306/claims

The database must exist (a SQLite file is created) and hold no jobs. The bare driver is measured on SQLite and PostgreSQL.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import make_url

from benchmarks.bare import open_bare
from benchmarks.jobs import job
from benchmarks.timing import median_of
from fine_tuning_store import FineTuningStore, JobStatus

QUEUES = (1_000, 100_000)
LAST_MODEL = "the model of the last job"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="an empty database")
    parser.add_argument("--workers", type=int, default=8, help="the number of processes (default: 8)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long they claim jobs (default: 5)")
    parser.add_argument("--queue", type=int, nargs="*", default=QUEUES, help="the numbers of queued jobs (default: 1000 100000)")


def main(options: argparse.Namespace) -> None:
    has_bare = make_url(options.url).get_backend_name() in ("sqlite", "postgresql")
    print("| queued jobs | claim, ms | bare driver | restricted to the last job, ms | claims a second | bare driver |")
    print("|--:|--:|--:|--:|--:|--:|", flush=True)
    with FineTuningStore.from_url(options.url) as store:
        store.schema.upgrade()
        queued = 0
        for size in options.queue:
            queued = fill(store, queued, size)
            figures = [median_of(lambda: store.leases.claim("worker"), seconds=2.0)]
            bare_figures: list[float | None] = [None, None]
            if has_bare:
                with open_bare(options.url) as bare:
                    bare_figures[0] = median_of(lambda: bare.claim("worker", 60), seconds=2.0)
            restricted = median_of(lambda: store.leases.wait(0, models=[LAST_MODEL]), seconds=2.0)
            rate = claims_per_second(claim_by_store, options)
            if has_bare:
                bare_figures[1] = claims_per_second(claim_by_bare, options)
            shown = ["-" if figure is None else f"{figure:.2f}" for figure in bare_figures]
            print(f"| {size:,} | {figures[0]:.2f} | {shown[0]} | {restricted:.2f} | {rate:.0f} | {shown[1]} |", flush=True)


def fill(store: FineTuningStore, first: int, size: int) -> int:
    """Queue jobs until there are so many, and one of a model of its own at the end."""
    for job_of in store.jobs.iterate(model=LAST_MODEL, status="queued"):
        store.jobs.cancel(job_of.id)
    missing = max(size - store.jobs.count(status="queued"), 0)
    for start in range(first, first + missing, 1000):
        numbers = range(start, min(start + 1000, first + missing))
        store.jobs.add_many(job(number, JobStatus.QUEUED) for number in numbers)
    last = store.jobs.create(organization_id="org-1", model=LAST_MODEL, training_file="file")
    store.jobs.enqueue(last.id)
    return first + missing


def claims_per_second(claim: Callable[..., None], options: argparse.Namespace) -> float:
    """Return how many jobs the workers claim in a second, all together."""
    context = multiprocessing.get_context("spawn")
    barrier, counts = context.Barrier(options.workers), context.Queue()
    arguments = (options.url, options.seconds, barrier, counts)
    workers = [context.Process(target=claim, args=arguments) for _ in range(options.workers)]
    for worker in workers:
        worker.start()
    rates: list[float] = [counts.get(timeout=60 + options.seconds) for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def claim_by_store(url: str, seconds: float, barrier: Any, counts: Any) -> None:
    with FineTuningStore.from_url(url) as store:
        store.jobs.count(limit=1)
        barrier.wait()
        counts.put(_repeated(lambda: store.leases.claim("worker"), seconds))


def claim_by_bare(url: str, seconds: float, barrier: Any, counts: Any) -> None:
    with open_bare(url) as bare:
        barrier.wait()
        counts.put(_repeated(lambda: bare.claim("worker", 60), seconds))


def _repeated(call: Callable[[], object], seconds: float) -> float:
    """Return how many calls were made in a second, until the queue was empty."""
    start, count = time.monotonic(), 0
    while time.monotonic() < start + seconds and call() is not None:
        count += 1
    return count / (time.monotonic() - start)

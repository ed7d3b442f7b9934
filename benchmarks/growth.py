"""How the time of a page grows with the number of jobs: every filter and order, in a small and in a large database.

python -m benchmarks growth --database postgresql
python -m benchmarks growth --database postgresql --url10k postgresql://...growth_10k --url1m postgresql://...growth_1m
python -m benchmarks growth --database postgresql --jobs 10000 100000 --never-analyzed

Databases that are not named are created, filled by `benchmarks.populate` and dropped. Each page is read through `store.jobs.list` with the
driver's defaults, and timed after its statement is prepared and planned for good; both databases take turns. A goal that is missed is
measured again, up to three times. A later page begins in the middle of the time that the list covers. Pages have 20 jobs, or as many as
both databases have. Residual filters have no goal: where no job matches, the last but one column says what it costs to find out.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.databases import DATABASES, new_database
from benchmarks.lists import List, lists, resolved, sample_job
from benchmarks.populate import populate
from benchmarks.timing import medians
from fine_tuning_store import FineTuningJob, FineTuningStore

PAGE_SIZE = 20
MAX_RATIO, MAX_MORE = 1.3, 1.0  #: the goal: either at most this ratio, or at most so many milliseconds more


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two databases."""

    store: FineTuningStore
    jobs: int
    sample: FineTuningJob

    def page(self, list: List, limit: int, **more: Any) -> tuple[FineTuningJob, ...]:
        """Return a page of a list."""
        filters = resolved(list.filters, self.sample)
        return self.store.jobs.list(limit=limit, **{**list.arguments, **filters, **more}).data

    def middle(self, list: List) -> str | None:
        """Return the id of the job in the middle of the time that a list covers, None if it has no jobs."""
        ends = [job for order in ("desc", "asc") for job in self.page(list, 1, order=order)]
        if not ends:
            return None
        time = sum(getattr(job, list.order_by) for job in ends) // 2
        until = f"{list.order_by.removesuffix('_at')}_until"
        return self.page(list, 1, order="desc", **{until: time + 1})[0].id


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", choices=DATABASES, required=True)
    parser.add_argument("--server", help="the URL of the server on which databases are created")
    parser.add_argument("--url10k", help="a database that populate has filled, instead of a new small one")
    parser.add_argument("--url1m", help="the same, instead of a new large one")
    parser.add_argument("--jobs", type=int, nargs=2, default=(10_000, 1_000_000), help="jobs of new databases (default: 10000 1000000)")
    parser.add_argument("--analyzed", action="store_true", default=True, help="new databases have the planner's statistics (default)")
    parser.add_argument("--never-analyzed", dest="analyzed", action="store_false", help="new databases have none")
    parser.add_argument("--only", default="", help="only lists whose name contains this, such as 'pair'")
    parser.add_argument("--seconds", type=float, default=1.0, help="the rounds of a page end after so long (default: 1)")


def main(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        small, large = (_open(stack, options, url, jobs) for url, jobs in zip((options.url10k, options.url1m), options.jobs, strict=True))
        planned = list(lists(options.only))
        print(f"| list | order | page | rows | {_number(small.jobs)} ms | {_number(large.jobs)} ms | ratio | ms per 100,000 rows | goal |")
        print("|---|---|---|--:|--:|--:|--:|--:|---|", flush=True)
        missed = sum(_report(small, large, each, options.seconds) for each in planned)
        print(f"\n{missed} goals missed")


def _open(stack: ExitStack, options: argparse.Namespace, url: str | None, jobs: int) -> Side:
    if url is None:
        url = stack.enter_context(new_database(options.database, options.server))
        populate(url, jobs, analyze=options.analyzed)
    store = stack.enter_context(FineTuningStore.from_url(url))
    with store.engine.connect() as connection:
        jobs = connection.exec_driver_sql("SELECT count(*) FROM fine_tuning_jobs").scalar_one()
    return Side(store, jobs, sample_job(store))


def _report(small: Side, large: Side, list: List, seconds: float) -> int:
    """Measure the first and a later page of a list, print a line for each, and return the number of goals missed."""
    missed = 0
    for page in ("first", "later"):
        cursors = [{"after": side.middle(list)} if page == "later" else {} for side in (small, large)]
        rows = min(len(side.page(list, PAGE_SIZE, **cursor)) for side, cursor in zip((small, large), cursors, strict=True))
        if not rows and (page == "later" or list.has_goal):
            continue

        def read(side: Side, cursor: dict[str, Any], limit: int = max(rows, 1)) -> object:
            return side.page(list, limit, **cursor)

        before, after = medians(
            partial(read, small, cursors[0]),
            partial(read, large, cursors[1]),
            seconds=seconds,
            meets_goal=lambda before, after: not list.has_goal or _meets_goal(before, after),
        )
        is_missed = list.has_goal and not _meets_goal(before, after)
        missed += is_missed
        goal = "" if not list.has_goal else "missed" if is_missed else "met"
        per_row = "" if rows else f"{after / large.jobs * 100_000:.1f}"
        times = f"{before:.2f} | {after:.2f} | {after / before:.2f}"
        print(f"| {list.name} | {list.order_by} {list.order} | {page} | {rows} | {times} | {per_row} | {goal} |", flush=True)
    return missed


def _meets_goal(before: float, after: float) -> bool:
    return after <= max(before * MAX_RATIO, before + MAX_MORE)


def _number(jobs: int) -> str:
    return f"{jobs // 1_000_000}M" if jobs % 1_000_000 == 0 else f"{jobs // 1000}k" if jobs % 1000 == 0 else str(jobs)

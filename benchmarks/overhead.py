"""The overhead of this library: each operation measured against the bare driver with hand-written SQL.

python -m benchmarks overhead --database sqlite --jobs 10000
python -m benchmarks overhead --database postgresql --jobs 10000 --url postgresql://postgres@127.0.0.1:5432/postgres
python -m benchmarks overhead --database postgresql --jobs 10000 --driver asyncpg    # an async store against the sync one

Both sides use the same database in one run and take turns in random order, so that other load on the machine affects both.
Times vary from run to run; the ratio of the medians is the result.
"""

from __future__ import annotations

import argparse
import asyncio
import gc

from sqlalchemy import make_url

from benchmarks.bare import open_bare
from benchmarks.databases import new_database
from benchmarks.jobs import fill
from benchmarks.measure import GOALS, bare_calls, calls, measure_medians
from fine_tuning_store import AsyncFineTuningStore, FineTuningStore

WARM_UP = 30  #: rounds before the timed ones: statements are compiled, prepared and planned by then


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", choices=("sqlite", "postgresql"), required=True)
    parser.add_argument("--jobs", type=int, required=True, help="the number of jobs in the database")
    parser.add_argument("--rounds", type=int, default=500, help="timed calls of each operation on each side (default: 500)")
    parser.add_argument("--url", help="the PostgreSQL server on which a database is created (default: a local one)")
    parser.add_argument("--driver", choices=[name for name in GOALS if name not in ("sqlite", "postgresql")], help="an async driver")


def main(options: argparse.Namespace) -> None:
    with new_database(options.database, options.url) as url, FineTuningStore.from_url(url) as store, open_bare(url) as bare:
        store.schema.upgrade()
        transition_ids = fill(store, options.jobs, transitions=2 * (WARM_UP + options.rounds))
        bare.settle()
        gc.freeze()
        sync_calls = calls(store, options.jobs, transition_ids)

        async def measure() -> dict[str, tuple[float, float]]:
            if options.driver is None:
                sides = sync_calls, bare_calls(bare, options.jobs, transition_ids)
                await measure_medians(*sides, WARM_UP)
                return await measure_medians(*sides, options.rounds)
            async with AsyncFineTuningStore.from_url(make_url(url).set(drivername=f"{options.database}+{options.driver}")) as async_store:
                sides = calls(async_store, options.jobs, transition_ids), sync_calls
                await measure_medians(*sides, WARM_UP)
                return await measure_medians(*sides, options.rounds)

        report(options.driver or options.database, "sync" if options.driver else "bare", options.jobs, asyncio.run(measure()))
        gc.unfreeze()


def report(what: str, baseline: str, jobs: int, medians: dict[str, tuple[float, float]]) -> None:
    """Print one line per operation, times in microseconds."""
    print(f"{what}, {jobs:,} jobs; medians in microseconds")
    print(f"{'operation':<12}{'store':>9}{baseline:>9}{'ratio':>8}{'goal':>7}")
    for name, (measured, base) in medians.items():
        ratio, goal = measured / base, GOALS[what][name]
        print(f"{name:<12}{measured:>9.0f}{base:>9.0f}{ratio:>8.2f}{goal:>7.2f}{'' if ratio <= goal else '  missed'}")

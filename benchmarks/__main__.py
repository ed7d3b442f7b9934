"""How much this library adds to its database: each operation beside the bare driver with SQL written by hand.

python -m benchmarks --database sqlite --jobs 10000
python -m benchmarks --database postgresql --jobs 10000 --url postgresql://postgres@127.0.0.1:5432/postgres
python -m benchmarks --database postgresql --jobs 10000 --driver asyncpg    # an async store beside the sync one

Both sides use the same database in one run and take turns in random order, so that what disturbs the machine disturbs both.
Times drift from run to run; the ratio of the medians is the result.
"""

from __future__ import annotations

import argparse
import asyncio
import gc

from sqlalchemy import make_url

from benchmarks.bare import open_bare
from benchmarks.databases import SERVER, new_database
from benchmarks.jobs import fill
from benchmarks.measure import GOALS, bare_calls, calls, measured
from fine_tuning_store import AsyncFineTuningStore, FineTuningStore

WARM_UP = 30  #: rounds before the timed ones: statements are compiled, prepared and planned by then


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the store beside the bare driver.")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), required=True)
    parser.add_argument("--jobs", type=int, required=True, help="how many jobs the database holds")
    parser.add_argument("--rounds", type=int, default=500, help="how often each operation is timed on each side (default: 500)")
    parser.add_argument("--url", default=SERVER, help=f"the PostgreSQL server on which to make a database (default: {SERVER})")
    parser.add_argument("--driver", choices=[name for name in GOALS if name not in ("sqlite", "postgresql")], help="an async driver")
    options = parser.parse_args()
    with new_database(options.database, options.url) as url, FineTuningStore.from_url(url) as store, open_bare(url) as bare:
        store.schema.upgrade()
        moving = fill(store, options.jobs, to_be_moved=2 * (WARM_UP + options.rounds))
        bare.settle()
        gc.freeze()
        ours = calls(store, options.jobs, moving)

        async def measure() -> dict[str, tuple[float, float]]:
            if options.driver is None:
                sides = ours, bare_calls(bare, options.jobs, moving)
                await measured(*sides, WARM_UP)
                return await measured(*sides, options.rounds)
            async with AsyncFineTuningStore.from_url(make_url(url).set(drivername=f"{options.database}+{options.driver}")) as awaited:
                sides = calls(awaited, options.jobs, moving), ours
                await measured(*sides, WARM_UP)
                return await measured(*sides, options.rounds)

        report(options.driver or options.database, "sync" if options.driver else "bare", options.jobs, asyncio.run(measure()))


def report(what: str, beside: str, jobs: int, medians: dict[str, tuple[float, float]]) -> None:
    """Print one line an operation, times in microseconds."""
    print(f"{what}, {jobs:,} jobs; medians in microseconds")
    print(f"{'operation':<12}{'ours':>9}{beside:>9}{'ratio':>8}{'goal':>7}")
    for name, (ours, theirs) in medians.items():
        ratio, goal = ours / theirs, GOALS[what][name]
        print(f"{name:<12}{ours:>9.0f}{theirs:>9.0f}{ratio:>8.2f}{goal:>7.1f}{'' if ratio <= goal else '  missed'}")


if __name__ == "__main__":
    main()

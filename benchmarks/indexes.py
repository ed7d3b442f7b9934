"""What the indexes of jobs and metadata are for: the size of each, and a page that it serves, with it and without it.

python -m benchmarks indexes --url postgresql://postgres@127.0.0.1:5432/growth_1m
python -m benchmarks indexes --url sqlite:////tmp/growth.db

The database is one that `benchmarks.populate` has filled, on SQLite or PostgreSQL. Each index is dropped in a transaction that is rolled
back. Pages have 20 jobs, and are timed after their statements are prepared and planned for good.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from benchmarks.lists import NO_SUCH, OF_A_JOB, ORGANIZATION, resolved, sample_job
from benchmarks.sizes import sizes
from benchmarks.synthetic import PAIR_OF_5_PERCENT, RARE_PAIR
from benchmarks.timing import median_of
from fine_tuning_store import FineTuningJobRepository, FineTuningStore

#: A page that each index serves, as arguments of `store.jobs.list`, by the name of the index without its prefix. Where a page of common
#: values fills without the index, the value is one that hardly any job has.
PAGES: Final[Mapping[str, Mapping[str, Any]]] = {
    "jobs_created_at": {},
    "jobs_status": {"status": "paused"},
    "jobs_model": {"model": NO_SUCH},
    "jobs_method_type": {"method": "reinforcement"},
    "jobs_fine_tuned_model": {"fine_tuned_model": OF_A_JOB},
    "jobs_training_file": {"training_file": OF_A_JOB},
    "jobs_status_finished_at": {"status": "failed", "order_by": "finished_at"},
    "jobs_organization_finished_at": {"organization_id": ORGANIZATION, "order_by": "finished_at"},
    "jobs_organization": {"organization_id": ORGANIZATION},
    "jobs_organization_status": {"organization_id": ORGANIZATION, "status": "paused"},
    "jobs_organization_model": {"organization_id": ORGANIZATION, "model": NO_SUCH},
    "jobs_organization_method_type": {"organization_id": ORGANIZATION, "method": "reinforcement"},
    "job_metadata_pair": {"metadata": dict([RARE_PAIR])},
    "job_metadata_organization_pair": {"organization_id": ORGANIZATION, "metadata": dict([PAIR_OF_5_PERCENT])},
}
PREFIX: Final = "ix_fine_tuning_"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="a database that populate has filled")
    parser.add_argument("--seconds", type=float, default=1.0, help="the rounds of a page end after so long (default: 1)")


def main(options: argparse.Namespace) -> None:
    bytes_of = {size.index_name: size.bytes for size in sizes(options.url)}
    print("| index | MB | page of | ms | ms without the index |")
    print("|---|--:|---|--:|--:|", flush=True)
    with FineTuningStore.from_url(options.url) as store:
        sample = sample_job(store)
        for name, page in sorted((f"{PREFIX}{name}", page) for name, page in PAGES.items()):
            with store.engine.connect() as connection:
                read = partial(FineTuningJobRepository(connection).list, **resolved(page, sample))
                before = median_of(read, seconds=options.seconds)
                connection.exec_driver_sql(f"DROP INDEX {name}")
                after = median_of(read, seconds=options.seconds)
                connection.rollback()
            print(f"| `{name}` | {bytes_of.get(name, 0) / 1e6:.0f} | {_shown(page)} | {before:.1f} | {after:.1f} |", flush=True)


def _shown(page: Mapping[str, Any]) -> str:
    filters = [name.removesuffix("_id").replace("_", " ") for name in page if name != "order_by"]
    return f"{' and '.join(filters) or 'all jobs'}, {page.get('order_by', 'created_at')}"

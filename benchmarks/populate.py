"""Fill a database with synthetic jobs.

python -m benchmarks.populate --url postgresql://postgres@127.0.0.1:5432/growth_1m --jobs 1000000
python -m benchmarks.populate --url sqlite:////tmp/growth.db --jobs 10000 --no-analyze

The database must exist (a SQLite file is created). Its schema is upgraded, and it must hold no jobs.
"""

from __future__ import annotations

import argparse
from collections import Counter
from contextlib import closing
from time import perf_counter
from typing import Any

from sqlalchemy import Dialect, Table, create_engine, func, make_url, select

from benchmarks.sizes import print_sizes
from benchmarks.synthetic import batches
from benchmarks.synthetic_rows import KINDS
from fine_tuning_store import FineTuningStore
from fine_tuning_store.sql import models

#: Statements before the rows are written, and after them, by the name of the database.
PREPARE = {
    "sqlite": ("PRAGMA journal_mode=MEMORY", "PRAGMA synchronous=OFF", "PRAGMA cache_size=-1000000"),
    "mariadb": ("SET foreign_key_checks = 0", "SET unique_checks = 0"),
}
ANALYZE = {"sqlite": "ANALYZE", "postgresql": "VACUUM ANALYZE {}", "mariadb": "ANALYZE TABLE {}"}


def populate(url: str, jobs: int, *, seed: int = 1, analyze: bool = True) -> Counter[str]:
    """Store synthetic jobs in a database without any, and return the number of rows of each table.

    Args:
        url: The URL of a store.
        jobs: The number of jobs.
        seed: The same seed gives the same rows.
        analyze: Collect the planner's statistics at the end. Otherwise PostgreSQL's autovacuum is kept from doing so.
    """
    with FineTuningStore.from_url(url) as store:
        store.schema.upgrade()
        dialect = make_url(url).get_backend_name().replace("mysql", "mariadb")
        with store.engine.connect() as connection:
            if connection.execute(select(func.count()).select_from(select(models.jobs.c.id).limit(1).subquery())).scalar_one():
                raise SystemExit("the database holds jobs already: name an empty one")
        engine = create_engine(store.engine.url)
    counts: Counter[str] = Counter()
    with closing(engine.raw_connection()) as driver, closing(driver.cursor()) as cursor:
        for statement in PREPARE.get(dialect, ()):
            cursor.execute(statement)
        if dialect == "postgresql" and not analyze:
            for table in KINDS:
                cursor.execute(f"ALTER TABLE {table.name} SET (autovacuum_enabled = off)")
        for batch in batches(jobs, seed):
            for table, rows in batch.items():
                if rows:
                    _write(cursor, table, rows, engine.dialect)
                    counts[table.name] += len(rows)
        driver.commit()
    if analyze:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in {ANALYZE[dialect].format(table.name): None for table in KINDS}:
                connection.exec_driver_sql(statement)
    engine.dispose()
    return counts


def _write(cursor: Any, table: Table, rows: list[Any], dialect: Dialect) -> None:
    names = KINDS[table]._fields
    columns = ", ".join(dialect.identifier_preparer.quote(name) for name in names)
    if dialect.driver == "psycopg":
        with cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    else:
        placeholders = ", ".join(["?" if dialect.paramstyle == "qmark" else "%s"] * len(names))
        cursor.executemany(f"INSERT INTO {table.name} ({columns}) VALUES ({placeholders})", rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.populate", description="Fill a database with synthetic jobs.")
    parser.add_argument("--url", required=True, help="the URL of the database")
    parser.add_argument("--jobs", type=int, default=1_000_000, help="the number of jobs (default: 1,000,000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same rows (default: 1)")
    parser.add_argument("--analyze", action=argparse.BooleanOptionalAction, default=True, help="collect the planner's statistics")
    options = parser.parse_args()
    start = perf_counter()
    counts = populate(options.url, options.jobs, seed=options.seed, analyze=options.analyze)
    seconds = perf_counter() - start
    for table, rows in counts.items():
        print(f"{table:<36}{rows:>12,}")
    print(f"{sum(counts.values()):,} rows in {seconds:.0f} s\n")
    print_sizes(options.url)


if __name__ == "__main__":
    main()

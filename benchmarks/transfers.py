"""Export and import of the whole history, beside the bare driver that does the same.

python -m benchmarks.populate --url sqlite:////tmp/history.db --jobs 100000
python -m benchmarks transfers --url sqlite:////tmp/history.db
python -m benchmarks transfers --url postgresql://postgres@127.0.0.1:5432/history

The export reads all jobs and what belongs to them, and writes JSON lines. The bare driver selects the rows of each table in the order of
the jobs, a thousand jobs at a time, and dumps them by name. The import stores such a file in a new database. The bare driver inserts the
same rows by executemany, a thousand lines in a transaction.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import Engine, Table, create_engine, make_url

from benchmarks.databases import new_database
from fine_tuning_store import FineTuningStore
from fine_tuning_store.sql.models import JOB_CHILDREN, jobs
from fine_tuning_store.sql.types import Json
from fine_tuning_store.transfer import export_jobs, import_jobs

PAGE = 1000
TABLES = (jobs, *JOB_CHILDREN)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="a database that populate has filled")


def main(options: argparse.Namespace) -> None:
    backend = make_url(options.url).get_backend_name()
    with tempfile.TemporaryDirectory() as folder, FineTuningStore.from_url(options.url) as store:
        exported, bare = Path(folder, "store.jsonl"), Path(folder, "bare.jsonl")
        engine = create_engine(store.engine.url)
        print("| | store, s | bare driver, s | ratio |\n|---|--:|--:|--:|", flush=True)
        _report("export", _seconds(lambda: export_jobs(store, exported)), _seconds(lambda: bare_export(engine, bare)))
        with new_database(backend, None) as url, FineTuningStore.from_url(url) as target:
            target.schema.upgrade()
            imported = _seconds(lambda: import_jobs(target, exported))
        with new_database(backend, None) as url, FineTuningStore.from_url(url) as target:
            target.schema.upgrade()
            _report("import", imported, _seconds(lambda: bare_import(create_engine(target.engine.url), bare)))
        size = exported.stat().st_size / 1e6
        print(f"\n{store.jobs.count():,} jobs, {size:,.0f} MB")


def _report(name: str, store: float, bare: float) -> None:
    print(f"| {name} | {store:.1f} | {bare:.1f} | {store / bare:.2f} |", flush=True)


def _seconds(call: Any) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def bare_export(engine: Engine, path: Path) -> None:
    with closing(engine.raw_connection()) as driver, path.open("w", encoding="utf-8") as file:
        for page in _pages(driver, engine):
            for line in page:
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


def _pages(driver: Any, engine: Engine) -> Iterator[list[dict[str, Any]]]:
    mark = "?" if engine.dialect.paramstyle == "qmark" else "%s"
    cursor = driver.cursor()
    names = [column.name for column in jobs.columns]
    after: tuple[Any, ...] = (-1, "")
    while True:
        cursor.execute(
            f"SELECT {_columns(jobs)} FROM {jobs.name} WHERE (created_at, id) > ({mark}, {mark}) ORDER BY created_at, id LIMIT {PAGE}",
            after,
        )
        rows = [dict(zip(names, _decoded(jobs, row), strict=True)) for row in cursor.fetchall()]
        if not rows:
            return
        ids = [row["id"] for row in rows]
        children: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for table in JOB_CHILDREN:
            order = ", ".join(column.name for column in table.primary_key)
            cursor.execute(
                f"SELECT {_columns(table)} FROM {table.name} WHERE job_id IN ({', '.join([mark] * len(ids))}) ORDER BY {order}", ids
            )
            found: dict[str, list[dict[str, Any]]] = defaultdict(list)
            child_names = [column.name for column in table.columns]
            for row in cursor.fetchall():
                child = dict(zip(child_names, _decoded(table, row), strict=True))
                found[child["job_id"]].append(child)
            children[table.name] = found
        yield [{jobs.name: [row], **{name: found.get(row["id"], []) for name, found in children.items()}} for row in rows]
        after = (rows[-1]["created_at"], rows[-1]["id"])


def bare_import(engine: Engine, path: Path) -> None:
    mark = "?" if engine.dialect.paramstyle == "qmark" else "%s"
    with closing(engine.raw_connection()) as driver, path.open("rb") as lines:
        cursor = driver.cursor()
        while batch := list(islice(lines, PAGE)):
            parsed = [json.loads(line) for line in batch]
            for table in TABLES:
                rows = [_encoded(table, row) for line in parsed for row in line[table.name]]
                if rows:
                    marks = ", ".join([mark] * len(table.columns))
                    names = ", ".join(engine.dialect.identifier_preparer.quote(column.name) for column in table.columns)
                    cursor.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", rows)
            driver.commit()


def _columns(table: Table) -> str:
    return ", ".join(f'CAST("{column.name}" AS TEXT)' if isinstance(column.type, Json) else f'"{column.name}"' for column in table.columns)


def _decoded(table: Table, row: Any) -> list[Any]:
    places = _json_places(table)
    values = list(row)
    for place in places:
        if values[place] is not None:
            values[place] = json.loads(values[place])
    return values


def _encoded(table: Table, row: dict[str, Any]) -> list[Any]:
    values = [row[column.name] for column in table.columns]
    for place in _json_places(table):
        if values[place] is not None:
            values[place] = json.dumps(values[place])
    return values


def _json_places(table: Table) -> list[int]:
    found = _places.get(table.name)
    if found is None:
        found = _places[table.name] = [place for place, column in enumerate(table.columns) if isinstance(column.type, Json)]
    return found


_places: dict[str, list[int]] = {}

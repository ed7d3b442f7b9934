"""Query plans of each list on large tables: an index in the order of the page, without a sort or a full scan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

from fine_tuning_store import FineTuningJobRepository, FineTuningStore, JobStatus, Method
from fine_tuning_store.repositories.job_filters import job_query
from fine_tuning_store.sql.queries.job_pages import page
from fine_tuning_store.sql.queries.leases import lock_next
from fine_tuning_store.sql.queries.retention import keys
from tests.support.databases import Database
from tests.support.factories import a_job

JOBS = 10_000
STATUSES = list(JobStatus)
METHODS = ("supervised", "supervised", "supervised", "dpo", "reinforcement")


@pytest.fixture(scope="module")
def filled(database: Database) -> Iterator[FineTuningStore]:
    """A store with ten thousand jobs in fifty organizations and current statistics."""
    with database.empty() as url, FineTuningStore.from_url(url) as store:
        store.schema.upgrade()
        store.jobs.add_many(
            a_job(
                created_at=1_700_000_000 + number // 3,
                organization_id=f"org-{number % 50}",
                status=STATUSES[number % 7],
                model=f"model-{number % 30}" if number % 2 else "common-model",
                fine_tuned_model=f"ft:{number}",
                training_file=f"file-{number // 4}",
                method=Method(type=METHODS[number % 5]),
                metadata={"team": f"team-{number % 100}", "run": str(number)} if number % 2 else None,
            )
            for number in range(JOBS)
        )
        with store.engine.connect() as connection:
            if database.name == "mariadb":
                connection.execute(text("ANALYZE TABLE fine_tuning_jobs, fine_tuning_job_metadata"))
            else:
                connection.execute(text("ANALYZE"))
            connection.commit()
        yield store


#: The lists that one index serves. What the others read is counted in test_rows_read.py.
LISTS: dict[str, dict[str, Any]] = {
    "all": {},
    "since": {"created_since": 1_700_001_000, "created_until": 1_700_002_000},
    "status": {"status": "failed"},
    "model": {"model": "model-7"},
    "method": {"method": "dpo"},
    "fine-tuned model": {"fine_tuned_model": "ft:77"},
    "training file": {"training_file": "file-77"},
    "without metadata": {"has_metadata": False},
    "organization": {"organization_id": "org-7"},
    "organization and status": {"organization_id": "org-7", "status": "failed"},
    "organization and model": {"organization_id": "org-7", "model": "model-7"},
    "organization and method": {"organization_id": "org-7", "method": "dpo"},
}


@pytest.mark.parametrize("after", [False, True], ids=["first page", "later page"])
@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize("name", LISTS)
def test_a_page_is_read_from_an_index_in_its_order(filled: FineTuningStore, name: str, order: str, after: bool) -> None:
    query, parameters = job_query(LISTS[name], order, LISTS[name].get("organization_id"))  # type: ignore[arg-type]
    if after:
        query = query._replace(after=True)
        parameters |= {"after_time": 1_700_001_500, "after_id": "ftjob-5"}
    statement = page(query).params(row_limit=21, **parameters)

    with filled.engine.connect() as connection:
        sql = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
        slow_steps = SLOW_STEPS[connection.dialect.name](connection, sql)

    assert slow_steps == []


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_later_page_of_a_common_model_begins_at_its_cursor_although_the_index_holds_the_beginning_of_a_name_alone(
    filled: FineTuningStore,
) -> None:
    after = filled.jobs.list(limit=1, model="common-model", created_until=1_700_001_500).last_id
    with filled.engine.connect() as connection:
        before = rows_read_backwards(connection)
        assert FineTuningJobRepository(connection).list(after=after, model="common-model", limit=20).has_more
        assert rows_read_backwards(connection) - before <= 21


def rows_read_backwards(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read_prev'").one()[1])


#: Lists that read jobs in the order of the page; no index narrows them down.
FULL_INDEX_SCANS = {"all", "since", "without metadata"}


@pytest.mark.parametrize("name", sorted(LISTS.keys() - FULL_INDEX_SCANS))
def test_a_filter_searches_its_index(filled: FineTuningStore, name: str) -> None:
    """SQLite reports SEARCH or SCAN; the indexes are the same on all databases."""
    query, parameters = job_query(LISTS[name], "desc", LISTS[name].get("organization_id"))  # type: ignore[arg-type]
    statement = page(query).params(row_limit=21, **parameters)
    with filled.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            sql = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
            lines = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
            assert not [line for line in lines if line.startswith("SCAN fine_tuning")], lines


@pytest.mark.parametrize("filters", [{}, {"models": ["model-7"]}, {"organization_ids": ["org-7"], "methods": ["dpo"]}], ids=" ".join)
def test_the_next_job_is_the_first_of_an_index(filled: FineTuningStore, filters: dict[str, Any]) -> None:
    with filled.engine.connect() as connection:
        statement = lock_next(frozenset(filters)).params(**filters)
        sql = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
        slow_steps = SLOW_STEPS[connection.dialect.name](connection, sql)
        plan = str(connection.exec_driver_sql(f"{EXPLAIN[connection.dialect.name]} {sql}".replace("%", "%%")).all())
        connection.rollback()

    assert slow_steps == []
    assert "ix_fine_tuning_jobs_queued" in plan


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("has_end", [False, True])
@pytest.mark.parametrize("status", [JobStatus.FAILED, None])
def test_a_purge_finds_its_next_jobs_in_an_index(filled: FineTuningStore, status: JobStatus | None, has_end: bool, after: bool) -> None:
    values = {"before": 1_700_000_500, "after_time": 1_700_000_100, "after_id": "f", "organization_id": "org-1", "row_limit": 20}
    with filled.engine.connect() as connection:
        statement = keys(status, has_end=has_end, after=after)
        statement = statement.params({name: values[name] for name in statement.compile().params if name in values})
        sql = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
        slow_steps = SLOW_STEPS[connection.dialect.name](connection, sql)
        plan = str(connection.exec_driver_sql(f"{EXPLAIN[connection.dialect.name]} {sql}".replace("%", "%%")).all())
        connection.rollback()

    assert slow_steps == [] or (not has_end and connection.dialect.name == "mariadb")  # sorts, see the statement
    assert f"ix_fine_tuning_jobs_{'organization' if status is None else 'status'}_finished_at" in plan


EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN", "mariadb": "EXPLAIN"}


def sqlite_slow_steps(connection: Connection, sql: str) -> list[str]:
    lines = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
    return [line for line in lines if line.startswith(("SCAN fine_tuning", "USE TEMP B-TREE")) and " USING INDEX " not in line]


def postgresql_slow_steps(connection: Connection, sql: str) -> list[str]:
    slow: list[str] = []

    def visit(node: dict[str, Any]) -> None:
        # sorting a few rows may be cheaper
        if ("Sort" in node["Node Type"] or node["Node Type"] == "Seq Scan") and node["Plan Rows"] > 100:
            slow.append(f"{node['Node Type']} {node.get('Relation Name', node.get('Sort Key'))}")
        for child in node.get("Plans", []):
            visit(child)

    plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sql}".replace("%", "%%")).scalar_one()
    visit((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return slow


def mariadb_slow_steps(connection: Connection, sql: str) -> list[str]:
    rows = connection.exec_driver_sql(f"EXPLAIN {sql}".replace("%", "%%")).mappings().all()
    slow = (row for row in rows if row["type"] == "ALL" or any(word in (row["Extra"] or "") for word in ("filesort", "temporary")))
    return [str(dict(row)) for row in slow if int(row["rows"]) > 100]  # sorting a few rows may be cheaper


SLOW_STEPS = {"sqlite": sqlite_slow_steps, "postgresql": postgresql_slow_steps, "mariadb": mariadb_slow_steps}

"""How many jobs the lists fetch from large tables of PostgreSQL before the first ANALYZE, when the statements are planned for good."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from benchmarks.lists import lists, resolved, sample_job
from benchmarks.populate import populate
from fine_tuning_store import FineTuningJobRepository, FineTuningStore
from tests.support.databases import Database

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")]

JOBS = 100_000
#: Jobs that a page of 20 may fetch: those that are counted and those of a rare condition. The organization of the lists has 5,633.
MAX_FETCHED = 2700
#: psycopg prepares the sixth execution, and PostgreSQL may plan the eleventh without the values of its parameters.
EXECUTIONS = 12


@pytest.fixture(scope="module")
def filled(database: Database) -> Iterator[FineTuningStore]:
    """A store with many jobs and no statistics."""
    with database.empty() as url:
        populate(url, JOBS, analyze=False)
        with FineTuningStore.from_url(url) as store:
            yield store


def test_a_page_fetches_few_jobs(filled: FineTuningStore) -> None:
    sample = sample_job(filled)
    fetched: dict[str, int] = {}
    for each in lists():
        if each.has_goal:
            options = {**each.arguments, **resolved(each.filters, sample)}
            middle = filled.jobs.list(limit=100, **options).last_id
            for page, after in (("first", None), ("later", middle)):
                with filled.engine.connect() as connection:
                    jobs = FineTuningJobRepository(connection)
                    for _ in range(EXECUTIONS):
                        before = jobs_fetched(connection)
                        jobs.list(after=after, **options)
                        fetched[f"{each.name}, {each.order_by} {each.order}, {page}"] = jobs_fetched(connection) - before

    assert len(fetched) > 100
    assert {name: jobs for name, jobs in fetched.items() if jobs > MAX_FETCHED} == {}


def jobs_fetched(connection: Connection) -> int:
    """Return how many rows of the table of jobs the transaction has fetched."""
    fetched = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'fine_tuning_jobs'"
    return int(connection.exec_driver_sql(fetched).scalar_one())

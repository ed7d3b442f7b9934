"""How much the lists read on large tables, before and after the first ANALYZE: SQLite counts its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from fine_tuning_store import FineTuningStore, Hyperparameters, JobStatus, Method
from fine_tuning_store.repositories.job_filters import JobFilters
from fine_tuning_store.sql.queries import job_pages
from tests.support.databases import Database
from tests.support.factories import a_job

JOBS = 10_000
#: Hundreds of steps of SQLite's virtual machine that a page of 20 jobs may take. A walk through all jobs takes 3,000 and more.
MAX_STEPS = 1200
STATUSES = list(JobStatus)
METHODS = ("supervised", "supervised", "supervised", "dpo", "reinforcement")


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def filled(find_database: Callable[[str], Database], request: pytest.FixtureRequest) -> Iterator[FineTuningStore]:
    """A store with ten thousand jobs in fifty organizations."""
    with find_database("sqlite").empty() as url, FineTuningStore.from_url(url) as store:
        store.schema.upgrade()
        store.jobs.add_many(
            a_job(
                created_at=1_700_000_000 + number // 3,
                finished_at=1_700_100_000 + number // 3 if STATUSES[number % 7].is_ended else None,
                organization_id=f"org-{number % 50}",
                status=STATUSES[number % 7],
                model=f"model-{number % 3}",
                fine_tuned_model=f"ft:{number}",
                training_file=f"file-{number // 4}",
                method=Method(type=METHODS[number % 5]),
                metadata={"team": f"team-{number % 2}", "run": str(number), "kind": f"kind-{number % 20}"} if number % 10 else None,
            )
            for number in range(JOBS)
        )
        if request.param == "analyzed":
            with store.engine.begin() as connection:
                connection.execute(text("ANALYZE"))
        yield store


PAIR = {"team": "team-1"}
LISTS: dict[str, dict[str, Any]] = {
    "all": {},
    "since": {"created_since": 1_700_001_000, "created_until": 1_700_002_000},
    "status": {"status": "failed"},
    "two statuses": {"status": ["failed", "queued"]},
    "model": {"model": "model-1"},
    "method": {"method": "dpo"},
    "fine-tuned model": {"fine_tuned_model": "ft:77"},
    "training file": {"training_file": "file-77"},
    "pair": {"metadata": PAIR},
    "rare pair": {"metadata": {"run": "77"}},
    "common pair and pair": {"metadata": {**PAIR, "kind": "kind-3"}},
    "common pair and rare pair": {"metadata": {**PAIR, "run": "77"}},
    "pair and status": {"metadata": PAIR, "status": "failed"},
    "pair and two statuses": {"metadata": PAIR, "status": ["failed", "queued"]},
    "without metadata": {"has_metadata": False},
    "organization": {"organization_id": "org-7"},
    "organization and status": {"organization_id": "org-7", "status": "failed"},
    "organization and two statuses": {"organization_id": "org-7", "status": ["failed", "queued"]},
    "organization and model": {"organization_id": "org-7", "model": "model-1"},
    "organization and method": {"organization_id": "org-7", "method": "dpo"},
    "organization and training file": {"organization_id": "org-19", "training_file": "file-17"},
    "organization and pair": {"organization_id": "org-7", "metadata": PAIR},
    "finished": {"order_by": "finished_at"},
    "status, finished": {"status": "failed", "order_by": "finished_at"},
    "two statuses, finished": {"status": ["failed", "succeeded"], "order_by": "finished_at"},
    "organization, finished": {"organization_id": "org-7", "order_by": "finished_at"},
    "model, finished": {"model": "model-1", "order_by": "finished_at"},
    "status and model, finished": {"status": "failed", "model": "model-1", "order_by": "finished_at"},
    "pair, finished": {"metadata": PAIR, "order_by": "finished_at"},
    "finished since": {"finished_since": 1_700_100_900, "order_by": "finished_at"},
    "finished until": {"finished_until": 1_700_100_900, "order_by": "finished_at"},
}
#: Filters that look at the jobs which the other conditions leave, newest first.
RESIDUAL: dict[str, Any] = {
    "validation_file": "file-1",
    "result_file": "file-1",
    "suffix": "s",
    "error_code": "c",
    "hyperparameters_at_least": Hyperparameters(n_epochs=1),
    "hyperparameters_at_most": Hyperparameters(n_epochs=1),
    "attempt": 7,
    "updated_since": 1,
    "updated_until": 1,
}


def test_every_filter_is_covered_here() -> None:
    covered = {name for filters in LISTS.values() for name in filters} - {"order_by"}

    assert covered | RESIDUAL.keys() == set(JobFilters.__annotations__), "add each filter to LISTS, or to RESIDUAL if no index serves it"


@pytest.mark.parametrize("is_later", [False, True], ids=["first page", "later page"])
@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize("name", LISTS)
def test_a_page_takes_few_steps(filled: FineTuningStore, name: str, order: Any, is_later: bool) -> None:
    options = {**LISTS[name], "order": order}
    after = None
    if is_later:
        page = filled.jobs.list(limit=60, **options)
        after = page.last_id
    with captured(filled._transactions.engine) as sent:
        filled.jobs.list(after=after, **options)

    with filled.engine.connect() as connection:
        steps = [steps_of(connection, *statement) for statement in sent]
    assert sum(steps) <= MAX_STEPS, (steps, sent)


@pytest.mark.parametrize("filters", [{"organization_id": "org-7", "status": "failed"}, {"organization_id": "org-7", "model": "model-1"}])
def test_a_page_in_the_order_of_the_ends_sorts_nothing_although_another_index_serves_more_conditions(
    filled: FineTuningStore, filters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "RARE", 2)
    with captured(filled._transactions.engine) as sent:
        assert filled.jobs.list(limit=5, order_by="finished_at", **filters).has_more

    with filled.engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sent[0][0]}", sent[0][1])]
    assert plan[0] == "CO-ROUTINE keys"
    assert "ix_fine_tuning_jobs_organization_finished_at" in plan[1]
    assert "SCAN keys" in plan[2], "there is no sort before"


@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize("pairs", [{"team": "team-1", "kind": "kind-3"}, {"kind": "kind-3", "team": "team-1"}], ids=" ".join)
def test_of_two_common_pairs_the_rarer_one_leads(filled: FineTuningStore, pairs: dict[str, str], order: Any) -> None:
    with captured(filled._transactions.engine) as sent:
        assert filled.jobs.list(metadata=pairs, order=order).has_more

    assert len(sent) == 3, "the reaches, one batch of keys, and the jobs"


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_a_later_page_takes_as_few_steps_among_many_jobs_of_one_time(sqlite_store: FineTuningStore, order: Any) -> None:
    sqlite_store.jobs.add_many(a_job(created_at=5, status="failed", finished_at=9, metadata=PAIR) for _ in range(2000))
    middle = sqlite_store.jobs.list(limit=1000).last_id
    limited = {"created_since": 1, "created_until": 10}

    for filters in ({}, limited, {"status": "failed"}, {"metadata": PAIR, **limited}, {"status": "failed", "order_by": "finished_at"}):
        steps = []
        for after in (None, middle):
            with captured(sqlite_store._transactions.engine) as sent:
                assert sqlite_store.jobs.list(after=after, order=order, **filters).has_more
            with sqlite_store.engine.connect() as connection:
                steps.append(sum(steps_of(connection, *statement) for statement in sent))
        assert steps[1] <= steps[0] + 5, (filters, steps)


@contextmanager
def captured(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that are sent in the block, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def collect(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", collect)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", collect)


def steps_of(connection: Connection, statement: str, parameters: Any) -> int:
    """Return the steps that a statement takes, in hundreds."""
    driver: Any = connection.connection.driver_connection
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    driver.set_progress_handler(count, 100)
    try:
        connection.exec_driver_sql(statement, parameters).all()
    finally:
        driver.set_progress_handler(None, 0)
    return steps

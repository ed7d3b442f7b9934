"""Random filters, orders and pages of random jobs find what plain Python finds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import literal_column, text

from fine_tuning_store import FineTuningJob, FineTuningStore, Hyperparameters, JobError, JobStatus, Method
from fine_tuning_store.repositories import job_pages as fetching
from fine_tuning_store.sql.queries import job_pages
from tests.support.factories import a_job

pytestmark = pytest.mark.every_driver

JOBS = 60
STATUSES = list(JobStatus)


def some_job(number: int) -> FineTuningJob:
    """A job whose members repeat in cycles of different lengths, so that every combination is common or rare."""
    status = STATUSES[number % len(STATUSES)]
    finished_at = 1000 + number // 4 if status.is_ended and number % 11 else None
    pairs = {"team": "nlp" if number % 2 else "vision", **({"run": str(number % 5)} if number % 3 else {})}
    return a_job(
        id=f"ftjob-{number * 37 % JOBS:04}",
        created_at=100 + number // 3,
        finished_at=finished_at,
        organization_id=f"org-{number % 2}",
        status=status,
        model=f"m{number % 3}",
        training_file=f"file-{number % 13}",
        method=Method(type=("supervised", "dpo")[number % 7 == 0]),
        metadata=pairs if number % 10 else None,
        attempt=number % 2,
        hyperparameters=Hyperparameters(n_epochs="auto" if number % 5 == 0 else number % 4 + 1),
        error=JobError(code=f"code-{number % 2}") if status is JobStatus.FAILED else None,
    )


def matches(job: FineTuningJob, filters: dict[str, Any]) -> bool:
    """Whether a job meets the filters, in plain Python."""
    n_epochs = job.hyperparameters.n_epochs
    tests: dict[str, Any] = {
        "organization_id": lambda value: job.organization_id == value,
        "status": lambda value: job.status in value,
        "model": lambda value: job.model == value,
        "training_file": lambda value: job.training_file == value,
        "method": lambda value: job.method is not None and job.method.type == value,
        "metadata": lambda value: value.items() <= (job.metadata or {}).items(),
        "has_metadata": lambda value: bool(job.metadata) == value,
        "attempt": lambda value: job.attempt == value,
        "error_code": lambda value: job.error is not None and job.error.code == value,
        "created_since": lambda value: job.created_at >= value,
        "finished_until": lambda value: job.finished_at is not None and job.finished_at < value,
        "hyperparameters_at_least": lambda value: isinstance(n_epochs, int) and n_epochs >= value.n_epochs,
    }
    return all(tests[name](value) for name, value in filters.items())


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "organization_id": st.sampled_from(["org-0", "org-1"]),
        "status": st.lists(st.sampled_from(STATUSES), min_size=1, max_size=3),
        "model": st.sampled_from(["m0", "m1"]),
        "training_file": st.sampled_from(["file-0", "file-1"]),
        "method": st.sampled_from(["supervised", "dpo"]),
        "metadata": st.sampled_from([{"team": "nlp"}, {"run": "1"}, {"team": "nlp", "run": "2"}, {"team": "vision", "run": "4"}]),
        "has_metadata": st.booleans(),
        "attempt": st.sampled_from([0, 1]),
        "error_code": st.sampled_from(["code-0", "code-1"]),
        "created_since": st.integers(95, 125),
        "finished_until": st.integers(995, 1020),
        "hyperparameters_at_least": st.sampled_from([Hyperparameters(n_epochs=2), Hyperparameters(n_epochs=4)]),
    },
)


@pytest.fixture(params=[2, 15, 1000])
def rare(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The number below which a condition is rare. With it and small batches, few jobs are enough for each kind of page."""
    cached = (job_pages.count_leads, job_pages.keys_of_rare, job_pages.reaches)
    monkeypatch.setattr(fetching, "FIRST_BATCH", 1)
    monkeypatch.setattr(fetching, "GROWTH", 1)
    monkeypatch.setattr(job_pages, "RARE", request.param)
    monkeypatch.setattr(job_pages, "_RARE_LIMIT", literal_column(str(request.param)))
    monkeypatch.setattr(job_pages, "_NEXT_LIMIT", literal_column("3"))
    for statement in cached:
        statement.cache_clear()
    yield request.param
    for statement in cached:
        statement.cache_clear()


def test_random_pages_are_those_of_plain_python(store: FineTuningStore, rare: int) -> None:
    jobs = [some_job(number) for number in range(JOBS)]
    store.jobs.add_many(jobs)

    @settings(max_examples=20, deadline=None, suppress_health_check=[*HealthCheck])
    @given(FILTERS, st.sampled_from(["created_at", "finished_at"]), st.sampled_from(["asc", "desc"]), st.integers(1, 30))
    def compare(filters: dict[str, Any], order_by: Any, order: Any, limit: int) -> None:
        expected = [job for job in jobs if matches(job, filters) and getattr(job, order_by) is not None]
        expected.sort(key=lambda job: (getattr(job, order_by), job.id), reverse=order == "desc")
        options = {"order_by": order_by, "order": order, **filters}

        assert list(store.jobs.iterate(page_size=limit, **options)) == expected
        first = store.jobs.list(limit=limit, **options)
        assert (list(first), first.has_more) == (expected[:limit], len(expected) > limit)
        if first.has_more:
            second = store.jobs.list(limit=limit, after=first.last_id, **options)
            assert (list(second), second.has_more) == (expected[limit : 2 * limit], len(expected) > 2 * limit)
        matching = sum(matches(job, filters) for job in jobs)
        assert store.jobs.count(**filters) == matching
        assert store.jobs.count(limit=5, **filters) == min(5, matching)

    compare()


CHANGES = st.lists(st.tuples(st.sampled_from(["insert", "delete"]), st.integers(0, 5), st.integers(0, 40)), max_size=4)


def test_an_iteration_yields_each_job_once_while_others_are_inserted_and_deleted(store: FineTuningStore) -> None:
    """The times of the jobs are equal in groups, and changes are made between any two pages, the job of the cursor included."""
    ids = (f"ftjob-{number}" for number in itertools.count())

    @settings(max_examples=15, deadline=None, suppress_health_check=[*HealthCheck])
    @given(
        times=st.lists(st.integers(0, 5), max_size=30),
        changes=st.lists(CHANGES, min_size=1, max_size=12),
        order_by=st.sampled_from(["created_at", "finished_at"]),
        order=st.sampled_from(["asc", "desc"]),
        page_size=st.integers(1, 8),
        filters=st.sampled_from([{}, {"status": ["failed", "cancelled"]}, {"metadata": {"a": "b"}}]),
    )
    def check(  # noqa: PLR0917 - Hypothesis passes them by name
        times: list[int], changes: list[list[tuple[str, int, int]]], order_by: Any, order: Any, page_size: int, filters: dict[str, Any]
    ) -> None:
        with store.engine.begin() as connection:
            connection.execute(text("DELETE FROM fine_tuning_jobs"))

        def new(time: int) -> FineTuningJob:
            return a_job(id=next(ids), status="failed", created_at=time, finished_at=time, metadata={"a": "b"})

        present = {job.id: job for job in store.jobs.add_many([new(time) for time in times])}
        throughout, ever = set(present), dict(present)
        found = []
        for number, job in enumerate(store.jobs.iterate(page_size=page_size, order_by=order_by, order=order, **filters)):
            found.append(job)
            if (number + 1) % page_size == 0 and changes:
                for change, time, place in changes.pop():
                    if change == "insert":
                        added = store.jobs.add(new(time))
                        present[added.id] = ever[added.id] = added
                    elif present:
                        id = sorted(present)[place % len(present)]
                        store.jobs.delete(id)
                        del present[id]
                        throughout.discard(id)

        assert found == sorted(found, key=lambda job: (job.created_at, job.id), reverse=order == "desc")
        assert len({job.id for job in found}) == len(found)
        assert throughout <= {job.id for job in found}
        assert all(ever[job.id] == job for job in found)

    check()

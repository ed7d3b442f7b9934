"""Units of work: blocks, functions that are retried, and calls that would wait for their own transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import (
    FineTuningJob,
    FineTuningStore,
    IllegalTransitionError,
    JobNotFoundError,
    JobStatus,
    UnitAlreadyOpenError,
    UnitEndedError,
    UnitOfWork,
)
from fine_tuning_store.retries import MAX_ATTEMPTS
from tests.support.factories import a_job, created, stored

pytestmark = pytest.mark.every_driver


def test_a_block_commits_at_its_end(store: FineTuningStore) -> None:
    with store.begin() as unit:
        job = create_job(unit)
        started = unit.jobs.start(job.id)
        assert unit.jobs.get(job.id) == started

    assert store.jobs.get(job.id) == started


def create_job(unit: UnitOfWork) -> FineTuningJob:
    return unit.jobs.create(organization_id="org-1", model="m", training_file="f")


def test_an_exception_rolls_a_block_back(store: FineTuningStore) -> None:
    before = stored(store)

    with pytest.raises(ZeroDivisionError), store.begin() as unit:
        create_job(unit)
        unit.jobs.start(before.id)
        raise ZeroDivisionError

    assert store.jobs.list().data == (before,)


def test_an_error_of_the_store_that_is_caught_leaves_the_block_usable(store: FineTuningStore) -> None:
    ended = stored(store, status="failed")

    with store.begin() as unit:
        first = create_job(unit)
        with pytest.raises(IllegalTransitionError):
            unit.jobs.start(ended.id)
        second = create_job(unit)

    assert {job.id for job in store.jobs.iterate()} == {ended.id, first.id, second.id}


def test_statements_of_the_host_on_the_units_connection_commit_with_it(store: FineTuningStore) -> None:
    with store.begin() as unit:
        job = create_job(unit)
        unit.connection.execute(text("UPDATE fine_tuning_jobs SET suffix = 'host'"))

    assert store.jobs.get(job.id).suffix == "host"


def test_a_call_on_the_store_inside_its_own_unit_raises_at_once(store: FineTuningStore) -> None:
    job = stored(store)
    scoped = store.for_organization("org-1")

    with store.begin() as unit:
        for call in (
            lambda: store.jobs.get(job.id),
            lambda: store.jobs.start(job.id),
            lambda: scoped.jobs.get(job.id),
            lambda: store.run_in_transaction(lambda inner: inner.jobs.get(job.id)),
            lambda: store.begin().__enter__(),
        ):
            with pytest.raises(UnitAlreadyOpenError, match=r"unit\.jobs"):
                call()
        unit.jobs.start(job.id)

    assert store.jobs.get(job.id).status is JobStatus.RUNNING


def test_a_function_whose_transaction_always_conflicts_raises_the_databases_error(store: FineTuningStore) -> None:
    runs = []

    def work(unit: UnitOfWork) -> None:
        runs.append(create_job(unit))
        raise retryable_error()

    with pytest.raises(DBAPIError):
        store.run_in_transaction(work)

    assert len(runs) == MAX_ATTEMPTS
    assert store.jobs.list().data == ()


def retryable_error() -> DBAPIError:
    """Return an error that every database's `is_retryable` accepts, to simulate a transaction that always loses."""
    original: Any = Exception(1213, "Deadlock found")
    original.sqlstate = "40P01"
    original.sqlite_errorname = "SQLITE_BUSY_SNAPSHOT"
    return DBAPIError("UPDATE", {}, original)


def test_a_function_is_not_retried_on_any_other_error(store: FineTuningStore) -> None:
    runs = []

    def work(unit: UnitOfWork) -> None:
        runs.append(1)
        unit.connection.execute(text("SELECT nonsense"))

    with pytest.raises(DBAPIError):
        store.run_in_transaction(work)

    assert runs == [1]


def test_a_function_returns_its_value(store: FineTuningStore) -> None:
    job = stored(store)

    assert store.run_in_transaction(lambda unit: unit.jobs.start(job.id)).status is JobStatus.RUNNING


def test_a_unit_of_an_organization_is_restricted_to_it(store: FineTuningStore) -> None:
    with store.for_organization("org-9").begin() as unit:
        assert unit.jobs.create(model="m", training_file="f").organization_id == "org-9"


@pytest.mark.parametrize("attribute", ["organization_id", "_organization_id", "_source", "transaction"])
def test_a_unit_of_work_cannot_be_given_other_attributes(store: FineTuningStore, attribute: str) -> None:
    other = stored(store, organization_id="org-other")
    with store.for_organization("org-9").begin() as unit:
        with pytest.raises(AttributeError):
            setattr(getattr(unit, "target", unit), attribute, None)  # `target` is the wrapped async unit of work
        with pytest.raises(JobNotFoundError):
            unit.jobs.get(other.id)


def test_a_unit_is_refused_after_its_block(store: FineTuningStore) -> None:
    job = stored(store)
    with store.begin() as unit:
        iterator = unit.jobs.iterate()
    calls: list[Callable[[], object]] = [
        lambda: unit.jobs.get(job.id),
        lambda: unit.jobs.cancel(job.id),
        lambda: unit.events.append(job.id, "late"),
        lambda: next(iterator),
    ]
    for call in calls:
        with pytest.raises(UnitEndedError, match="has ended"):
            call()

    assert store.jobs.get(job.id) == job


def test_no_connection_stays_checked_out_after_errors(store: FineTuningStore) -> None:
    stored(store)
    iterator = store.jobs.iterate(page_size=1)
    next(iterator)
    calls: list[Callable[[], object]] = [
        lambda: store.jobs.get("none"),
        lambda: created(store, model=""),
        lambda: store.jobs.add(a_job(id="")),
    ]
    for call in calls:
        with pytest.raises(Exception):  # noqa: B017, PT011 - the type does not matter
            call()

    assert store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]

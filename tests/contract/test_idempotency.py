"""Create requests with an idempotency key: however often one is sent, it makes one job."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import func, select

from fine_tuning_store import (
    FineTuningJob,
    FineTuningStore,
    Hyperparameters,
    IdempotencyConflictError,
    InvalidValueError,
    JobAlreadyExistsError,
    Method,
    error_to_wire,
)
from fine_tuning_store.models import IdempotencyKeyRow
from tests.support.factories import created

REQUEST: dict[str, Any] = {
    "model": "m",
    "training_file": "f",
    "metadata": {"a": "b"},
    "hyperparameters": Hyperparameters(n_epochs=3),
    "method": Method(type="supervised"),
}


def create(store: Any, key: str | None = "key-1", organization_id: str | None = "org-1", **members: Any) -> FineTuningJob:
    job: FineTuningJob = store.jobs.create(organization_id=organization_id, idempotency_key=key, **{**REQUEST, **members})
    return job


def keys(store: Any) -> int:
    with store.engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(IdempotencyKeyRow)))


@pytest.mark.every_driver
def test_a_repeated_request_returns_the_first_job_as_it_is_now(store: FineTuningStore) -> None:
    first = create(store)
    assert create(store) == first
    cancelled = store.jobs.cancel(first.id)

    assert create(store) == cancelled
    assert create(store, metadata={"a": "b"}) == cancelled
    assert store.jobs.count() == 1
    assert create(store, key="key-2").id != first.id
    assert create(store, key=None).id != first.id
    assert create(store, organization_id="org-2").id != first.id
    assert store.jobs.count() == 4


@pytest.mark.every_driver
def test_another_request_with_the_same_key_is_refused(store: FineTuningStore) -> None:
    first = create(store, seed=0)
    others: list[dict[str, Any]] = [
        {"model": "other"},
        {"seed": None},
        {"seed": 1},
        {"seed": 0, "metadata": None},
        {"seed": 0, "metadata": {"a": "c"}},
        {"seed": 0, "hyperparameters": Hyperparameters(n_epochs=4)},
        {"seed": 0, "suffix": "s"},
        {"seed": 0, "id": "ftjob-own"},
    ]
    for other in others:
        with pytest.raises(IdempotencyConflictError, match="use a new key") as refused:
            create(store, **other)
        assert (refused.value.key, refused.value.job_id) == ("key-1", first.id)
    assert store.jobs.count() == 1
    assert create(store, seed=0) == first
    status, body = error_to_wire(refused.value)
    assert (status, body["error"]["code"]) == (400, "idempotency_conflict")


@pytest.mark.every_driver
def test_the_key_of_a_deleted_job_is_refused_until_it_expires(store: FineTuningStore) -> None:
    first = create(store)
    store.jobs.cancel(first.id)
    store.jobs.delete(first.id)

    with pytest.raises(IdempotencyConflictError, match="deleted"):
        create(store)


@pytest.mark.every_driver
def test_a_unit_that_rolls_back_leaves_no_key(store: FineTuningStore) -> None:
    with pytest.raises(RuntimeError, match="undone"), store.begin() as unit:
        create(unit)
        raise RuntimeError("undone")
    assert (keys(store), store.jobs.count()) == (0, 0)

    with store.begin() as unit:
        job = create(unit)
        assert create(unit) == job
    assert create(store) == job


def test_an_expired_key_is_taken_over(url: str) -> None:
    now = [1_800_000_000]
    with FineTuningStore.from_url(url, clock=lambda: now[0]) as store:
        first, lasting = create(store), create(store, key="key-2", idempotency_seconds=100_000)
        now[0] += 86_399
        assert create(store) == first
        now[0] += 1
        assert store.for_organization("org-2").jobs.delete_expired_idempotency_keys() == 0
        second = create(store, model="other")

        assert second.id != first.id
        assert create(store, model="other") == second
        assert create(store, key="key-2") == lasting
        assert (keys(store), store.jobs.delete_expired_idempotency_keys()) == (2, 0)
        now[0] += 10**6
        assert store.jobs.delete_expired_idempotency_keys(limit=1) == 1
        assert store.for_organization("org-1").jobs.delete_expired_idempotency_keys() == 1
        assert keys(store) == 0


@pytest.mark.every_driver
def test_a_job_may_bring_its_own_id(store: FineTuningStore) -> None:
    assert create(store, key=None, id="ftjob-own").id == "ftjob-own"
    assert create(store, id="ftjob-own-2").id == create(store, id="ftjob-own-2").id == "ftjob-own-2"
    for key in (None, "key-2"):
        for organization in ("org-1", "org-2"):
            with pytest.raises(JobAlreadyExistsError):
                create(store, key=key, id="ftjob-own", organization_id=organization)
            with pytest.raises(JobAlreadyExistsError):
                create(store.for_organization(organization), key=key, id="ftjob-own", organization_id=None)
    assert keys(store) == 1
    assert create(store, key="key-2", id="ftjob-own-3").id == "ftjob-own-3"


def test_an_organization_neither_sees_nor_blocks_the_keys_of_another(store: FineTuningStore) -> None:
    first = create(store)
    other = create(store.for_organization("org-2"), organization_id=None)

    assert other.id != first.id
    assert create(store.for_organization("org-1"), organization_id=None) == first


def test_concurrent_requests_with_one_key_make_one_job(url: str) -> None:
    requests = 50
    barrier = threading.Barrier(requests, timeout=60)
    results: list[str] = []
    with FineTuningStore.from_url(url, engine_options=None if url.startswith("sqlite") else {"pool_size": 10, "max_overflow": 40}) as store:
        created(store)

        def send() -> None:
            barrier.wait()
            results.append(create(store).id)

        threads = [threading.Thread(target=send) for _ in range(requests)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(results) == requests
        assert len(set(results)) == 1
        assert store.jobs.count() == 2


@pytest.mark.parametrize(
    ("field", "members"),
    [
        ("idempotency_key", {"key": ""}),
        ("idempotency_key", {"key": "k" * 256}),
        ("idempotency_key", {"key": 5}),
        ("idempotency_seconds", {"idempotency_seconds": 0}),
        ("idempotency_seconds", {"idempotency_seconds": 10**9}),
        ("id", {"id": ""}),
        ("id", {"id": "i" * 256}),
    ],
)
def test_a_wrong_key_is_refused_by_name(store: FineTuningStore, field: str, members: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError) as refused:
        create(store, **members)

    assert refused.value.field == field
    assert (keys(store), store.jobs.count()) == (0, 0)

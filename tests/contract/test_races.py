"""Processes that change the same jobs concurrently: the outcome is that of some serial order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from fine_tuning_store import FineTuningStore, IllegalTransitionError, JobAlreadyExistsError, JobError, JobNotFoundError, JobStatus
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from tests.support.factories import a_job, stored, transition
from tests.support.parallel import at_once

JOBS_PER_ROUND = 20

pytestmark = pytest.mark.slow


def apply_to_all(wait: Callable[[], object], url: str, verb: str, name: str, ids: list[str]) -> list[str]:
    """Apply a transition to each job and return the outcomes."""
    outcomes = []
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        for id in ids:
            try:
                outcomes.append(transition(store.jobs, verb, id, name).status.value)
            except IllegalTransitionError as error:
                outcomes.append(f"illegal from {error.status}")
    return outcomes


@pytest.mark.parametrize("verb", TRANSITIONS)
def test_of_two_equal_transitions_exactly_one_succeeds(store: FineTuningStore, url: str, verb: str, rounds: int) -> None:
    target = TRANSITIONS[verb].target
    jobs = [stored(store, status=TRANSITIONS[verb].sources[-1]) for _ in range(JOBS_PER_ROUND * rounds)]
    ids = [job.id for job in jobs]

    (a, failed_a), (b, failed_b) = at_once((apply_to_all, (url, verb, "a", ids)), (apply_to_all, (url, verb, "b", ids)))

    assert (failed_a, failed_b) == (None, None)
    for one, other, id in zip(a, b, ids, strict=True):
        expected = [target, target] if verb == "cancel" else [target, f"illegal from {target}"]
        assert sorted([one, other]) == sorted(expected)
        winner = "a" if one == target else "b"
        job = store.jobs.get(id)
        assert job.status is target
        if verb == "fail":
            assert job.error == JobError(code=winner, message="It broke.")
        if verb == "succeed":
            assert (job.fine_tuned_model, job.result_files) == (f"ft:{winner}", (f"file-{winner}",))


def test_a_success_and_a_cancellation_that_race_leave_the_job_in_one_consistent_state(
    store: FineTuningStore, url: str, rounds: int
) -> None:
    ids = [stored(store, status="running").id for _ in range(JOBS_PER_ROUND * rounds)]

    (succeeded, failed_a), (cancelled, failed_b) = at_once(
        (apply_to_all, (url, "succeed", "a", ids)), (apply_to_all, (url, "cancel", "b", ids))
    )

    assert (failed_a, failed_b) == (None, None)
    for one, other, id in zip(succeeded, cancelled, ids, strict=True):
        job = store.jobs.get(id)
        if job.status is JobStatus.SUCCEEDED:
            assert (one, other, job.result_files) == ("succeeded", "illegal from succeeded", ("file-a",))
        else:
            assert (one, other, job.result_files, job.fine_tuned_model) == ("illegal from cancelled", "cancelled", (), None)


def add_all(wait: Callable[[], object], url: str, name: str, ids: list[str], in_one_call: bool) -> int:
    """Add jobs one by one or in one call, and return how many were added."""
    jobs = [a_job(id=id, model=name, metadata={"by": name}) for id in ids]
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        if in_one_call:
            try:
                return len(store.jobs.add_many(jobs))
            except JobAlreadyExistsError:
                return 0
        added = 0
        for job in jobs:
            try:
                store.jobs.add(job)
                added += 1
            except JobAlreadyExistsError:
                pass
        return added


def test_of_two_jobs_with_the_same_id_one_is_stored_completely(store: FineTuningStore, url: str, rounds: int) -> None:
    ids = [f"ftjob-{number}" for number in range(JOBS_PER_ROUND * rounds)]

    (a, failed_a), (b, failed_b) = at_once((add_all, (url, "a", ids, False)), (add_all, (url, "b", ids, False)))

    assert (failed_a, failed_b) == (None, None)
    assert a + b == len(ids)
    by = Counter(job.model for job in store.jobs.iterate() if job.metadata == {"by": job.model})
    assert (by["a"], by["b"]) == (a, b)


def test_of_two_imports_that_share_ids_one_is_stored_completely_and_the_other_not_at_all(store: FineTuningStore, url: str) -> None:
    ids = [f"ftjob-{number:04}" for number in range(1500)]

    results = at_once((add_all, (url, "a", ids, True)), (add_all, (url, "b", ids[::-1], True)))

    assert sorted(added for added, _ in results) == [0, 1500], results
    assert len({job.model for job in store.jobs.iterate(page_size=1000)}) == 1
    assert len(list(store.jobs.iterate(metadata={"by": "a"}))) in (0, 1500)


def replace_all(wait: Callable[[], object], url: str, name: str, ids: list[str], in_one_call: bool) -> None:
    """Replace jobs, of which only some are stored."""
    jobs = [a_job(id=id, model=name, metadata={"by": name}, result_files=(name, name)) for id in ids]
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        if in_one_call:
            store.jobs.replace_many(jobs)
        else:
            for job in jobs:
                store.jobs.replace(job)


@pytest.mark.parametrize("in_one_call", [False, True])
def test_of_several_replacements_of_the_same_jobs_each_succeeds_and_the_last_one_remains_completely(
    store: FineTuningStore, url: str, rounds: int, in_one_call: bool
) -> None:
    ids = [f"ftjob-{number:03}" for number in range(JOBS_PER_ROUND * rounds)]
    store.jobs.add_many([a_job(id=id, metadata={"by": "none"}) for id in ids[::2]])

    results = at_once(*[(replace_all, (url, name, order, in_one_call)) for name, order in (("a", ids), ("b", ids[::-1]), ("c", ids))])

    assert [error for _, error in results] == [None] * 3
    jobs = list(store.jobs.iterate())
    assert sorted(job.id for job in jobs) == ids
    assert [job for job in jobs if (job.metadata, job.result_files) != ({"by": job.model}, (job.model, job.model))] == []
    assert not in_one_call or len({job.model for job in jobs}) == 1


def start_all(wait: Callable[[], object], url: str, ids: list[str]) -> None:
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        for id in ids:
            store.jobs.start(id)


def replace_each(wait: Callable[[], object], url: str, ids: list[str]) -> list[str]:
    """Replace each job, and return those that were not refused."""
    replaced = []
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        for id in ids:
            with suppress(IllegalTransitionError):
                replaced.append(store.jobs.replace(a_job(id=id, status="queued", model="newer")).id)
    return replaced


def test_a_job_that_is_started_while_it_is_replaced_stays_started(store: FineTuningStore, url: str, rounds: int) -> None:
    ids = [stored(store, status="queued", model="older").id for _ in range(JOBS_PER_ROUND * rounds)]

    (_, failed_a), (replaced, failed_b) = at_once((start_all, (url, ids)), (replace_each, (url, ids)))

    assert (failed_a, failed_b) == (None, None)
    jobs = {job.id: job for job in store.jobs.iterate()}
    assert {job.status for job in jobs.values()} == {JobStatus.RUNNING}
    assert sorted(id for id, job in jobs.items() if job.model == "newer") == sorted(replaced)


def update_all(wait: Callable[[], object], url: str, name: str, ids: list[str]) -> None:
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        for number, id in enumerate(ids):
            store.jobs.update(id, metadata={name: str(number), "both": name})


def test_concurrent_metadata_updates_are_not_mixed(store: FineTuningStore, url: str, rounds: int) -> None:
    ids = [stored(store, metadata={"old": "yes"}).id for _ in range(JOBS_PER_ROUND * rounds)]

    results = at_once((update_all, (url, "a", ids)), (update_all, (url, "b", ids)))

    assert [error for _, error in results] == [None, None]
    for number, id in enumerate(ids):
        pairs = store.jobs.get(id).metadata
        assert pairs in ({"a": str(number), "both": "a"}, {"b": str(number), "both": "b"})


def delete_all(wait: Callable[[], object], url: str, ids: list[str]) -> int:
    deleted = 0
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        for id in ids:
            try:
                store.jobs.delete(id)
                deleted += 1
            except JobNotFoundError:
                pass
    return deleted


def test_a_job_is_deleted_once(store: FineTuningStore, url: str, rounds: int) -> None:
    ids = [stored(store, status="failed", metadata={"a": "b"}).id for _ in range(JOBS_PER_ROUND * rounds)]

    results = at_once((delete_all, (url, ids)), (delete_all, (url, ids)))

    assert [error for _, error in results] == [None, None]
    assert sum(deleted for deleted, _ in results) == len(ids)
    assert store.jobs.list().data == ()


def count_up(wait: Callable[[], object], url: str, id: str, times: int) -> None:
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        for _ in range(times):
            with store.begin() as unit:
                job = unit.jobs.update(id)  # locks the row on databases with row locks
                unit.jobs.update(id, trained_tokens=(job.trained_tokens or 0) + 1)


def test_a_read_and_a_write_in_one_unit_lose_no_update(store: FineTuningStore, url: str) -> None:
    job = stored(store)

    results = at_once(*[(count_up, (url, job.id, 50))] * 4)

    assert [error for _, error in results] == [None] * 4
    assert store.jobs.get(job.id).trained_tokens == 200


def insert_and_delete(wait: Callable[[], object], url: str, name: str) -> None:
    """Store jobs among the others, and delete them again."""
    with FineTuningStore.from_url(url) as store:
        wait()
        for number in range(300):
            time = number % 10
            job = a_job(id=f"{name}-{number}", status="failed", created_at=time, finished_at=time, metadata={"kept": "yes"})
            store.jobs.add(job)
            store.jobs.delete(job.id)


def read_all(wait: Callable[[], object], url: str, order_by: Any, order: Any) -> list[list[str]]:
    """Return the ids of the kept jobs as several iterations find them."""
    with FineTuningStore.from_url(url) as store:
        wait()
        return [
            [
                job.id
                for job in store.jobs.iterate(page_size=7, order_by=order_by, order=order, metadata={"kept": "yes"})
                if job.id.startswith("kept")
            ]
            for _ in range(15)
        ]


def test_every_iteration_finds_the_kept_jobs_once_while_others_come_and_go(store: FineTuningStore, url: str) -> None:
    """A job may be deleted between two statements of one page, too."""
    kept = [
        a_job(id=f"kept-{number:02}", status="failed", created_at=number // 9, finished_at=number // 9, metadata={"kept": "yes"})
        for number in range(90)
    ]
    store.jobs.add_many(kept)
    ids = [job.id for job in kept]

    results = at_once(
        (insert_and_delete, (url, "a")),
        (insert_and_delete, (url, "z")),
        (read_all, (url, "created_at", "asc")),
        (read_all, (url, "finished_at", "desc")),
    )

    assert [error for _, error in results] == [None] * 4
    assert results[2][0] == [ids] * 15
    assert results[3][0] == [ids[::-1]] * 15

"""Processes that change the same jobs at the same moment, by leases and without: the outcome is that of some serial order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

from fine_tuning_store import FineTuningStore, JobStatus, StaleLeaseError
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from tests.contract.test_leases import expire, queued
from tests.contract.test_races import apply_to_all
from tests.support.factories import stored
from tests.support.parallel import at_once

JOBS = 20

pytestmark = pytest.mark.slow

#: Each two transitions that some status allows both, and that status.
PAIRS = [
    (one, other, status)
    for one, other in combinations(TRANSITIONS, 2)
    for status in JobStatus
    if status in TRANSITIONS[one].sources and status in TRANSITIONS[other].sources
]


def allow_all(wait: Callable[[], object], url: str, verb: str, ids: list[str]) -> list[bool]:
    """Apply a transition to each job, and return whether it was allowed."""
    return [not outcome.startswith("illegal") for outcome in apply_to_all(wait, url, verb, verb, ids)]


def assert_serial(store: FineTuningStore, id: str, allowed: dict[str, bool]) -> None:
    """The log of a job has the transitions that were allowed, each from the status before it, and the job is where they lead."""
    job, log = store.jobs.get(id), store.transitions.list(id).data
    assert sorted(entry.transition for entry in log) == sorted(verb for verb, was_allowed in allowed.items() if was_allowed)
    assert [entry.from_status for entry in log[1:]] == [entry.to_status for entry in log[:-1]]
    assert all(entry.from_status in TRANSITIONS[entry.transition].sources for entry in log)
    assert job.status is log[-1].to_status
    assert job.attempt == sum(entry.transition == "start" for entry in log)


@pytest.mark.parametrize(("one", "other", "status"), PAIRS)
def test_two_transitions_that_race_happen_one_after_the_other(
    store: FineTuningStore, url: str, one: str, other: str, status: JobStatus
) -> None:
    ids = [stored(store, status=status).id for _ in range(JOBS)]

    (first, failed_a), (second, failed_b) = at_once((allow_all, (url, one, ids)), (allow_all, (url, other, ids)))

    assert (failed_a, failed_b) == (None, None)
    for id, one_allowed, other_allowed in zip(ids, first, second, strict=True):
        assert one_allowed or other_allowed
        assert_serial(store, id, {one: one_allowed, other: other_allowed})


def claim_all(wait: Callable[[], object], url: str, worker_id: str) -> list[str]:
    """Claim jobs until there is none, and return their ids."""
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        claimed = []
        while (lease := store.leases.claim(worker_id)) is not None:
            claimed.append(lease.job.id)
        return claimed


def test_no_job_is_claimed_twice(store: FineTuningStore, url: str) -> None:
    ids = [queued(store).id for _ in range(5 * JOBS)]

    results = at_once(*((claim_all, (url, f"worker-{number}")) for number in range(4)))

    assert [failure for _, failure in results] == [None] * 4
    assert sorted(id for claimed, _ in results for id in claimed) == ids


@pytest.mark.parametrize("verb", ["cancel", "pause", "fail"])
def test_a_claim_and_a_user_that_race_happen_one_after_the_other(store: FineTuningStore, url: str, verb: str) -> None:
    ids = [queued(store).id for _ in range(JOBS)]

    (claimed, failed_a), (allowed, failed_b) = at_once((claim_all, (url, "worker-1")), (allow_all, (url, verb, ids)))

    assert (failed_a, failed_b) == (None, None)
    assert all(allowed)
    for id in ids:
        log = store.transitions.list(id).data[1:]
        assert [entry.transition for entry in log] == (["start", verb] if id in claimed else [verb])


def work_on(wait: Callable[[], object], url: str, ids: list[str], call: str) -> list[bool]:
    """Claim the jobs, then call a method of each lease, or of the store with its id. Returns whether it was allowed."""
    outcomes = []
    with FineTuningStore.from_url(url) as store:
        leases = {lease.job.id: lease for lease in store.leases.claim_many("worker-1", limit=len(ids))}
        wait()
        for id in ids:
            try:
                if call == "succeed":
                    leases[id].succeed(fine_tuned_model="ft:1", result_files=["f"])
                else:
                    leases[id].append_event("m")
                outcomes.append(True)
            except StaleLeaseError:
                outcomes.append(False)
    return outcomes


@pytest.mark.parametrize("call", ["succeed", "append_event"])
def test_a_worker_and_its_user_that_race_happen_one_after_the_other(store: FineTuningStore, url: str, call: str) -> None:
    ids = [queued(store).id for _ in range(JOBS)]

    (worked, failed_a), (cancelled, failed_b) = at_once((work_on, (url, ids, call)), (allow_all, (url, "cancel", ids)))

    assert (failed_a, failed_b) == (None, None)
    for id, written, was_cancelled in zip(ids, worked, cancelled, strict=True):
        job = store.jobs.get(id)
        if call == "succeed":
            assert written != was_cancelled
            assert (job.status, job.result_files) == (("succeeded", ("f",)) if written else ("cancelled", ()))
        else:
            assert job.status == "cancelled"
            assert len(store.events.list(id).data) == written


def rescue_all(wait: Callable[[], object], url: str) -> list[str]:
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        return [job.id for job in store.leases.rescue()]


def test_each_lost_job_is_rescued_once(store: FineTuningStore, url: str) -> None:
    for _ in range(JOBS):
        queued(store)
    leases: tuple[Any, ...] = store.leases.claim_many("worker-1", limit=JOBS)
    for lease in leases:
        expire(store, lease)

    results = at_once(*((rescue_all, (url,)) for _ in range(4)))
    rescued = [*(id for found, _ in results for id in found), *(job.id for job in store.leases.rescue())]

    assert [failure for _, failure in results] == [None] * 4
    assert sorted(rescued) == sorted(lease.job.id for lease in leases)
    assert {job.lost_leases for job in store.jobs.iterate()} == {1}

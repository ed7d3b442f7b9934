"""The transitions of jobs: every verb from every status, and what each transition writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fine_tuning_store import FineTuningStore, Hyperparameters, IllegalTransitionError, JobError, JobStatus, job_from_wire, job_to_wire
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from tests.support.factories import created, in_status, stored, transition
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

NOW = 1_800_000_000


@each("verb", TRANSITIONS)
@each("status", list(JobStatus))
def test_a_transition_is_allowed_only_from_its_sources(store: FineTuningStore, verb: str, status: JobStatus) -> None:
    job = in_status(store, status)
    expected = TRANSITIONS[verb]

    if status in expected.sources:
        updated = transition(store.jobs, verb, job.id)
        assert updated.status is expected.target
        assert (updated.finished_at is not None) == expected.target.is_ended
        assert store.jobs.get(job.id) == updated
    elif verb == "cancel" and status is JobStatus.CANCELLED:
        assert store.jobs.cancel(job.id) == job
    else:
        with pytest.raises(IllegalTransitionError) as caught:
            transition(store.jobs, verb, job.id)
        assert (caught.value.job_id, caught.value.transition, caught.value.status) == (job.id, verb, status)
        assert str(status) in str(caught.value)
        assert all(source in str(caught.value) for source in expected.sources)
        assert store.jobs.get(job.id) == job


@each("verb", TRANSITIONS)
def test_every_transition_clears_the_word_of_another_server(store: FineTuningStore, verb: str) -> None:
    for source in TRANSITIONS[verb].sources:
        payload = job_to_wire(stored(store, status=source)) | {"id": f"{verb}-{source}", "status": "a word of its own"}
        job = store.jobs.add(job_from_wire(payload, statuses={"a word of its own": source}))
        assert job_to_wire(store.jobs.get(job.id))["status"] == "a word of its own"

        updated = transition(store.jobs, verb, job.id)

        assert updated.wire_status is None
        assert job_to_wire(updated)["status"] == updated.status


def test_a_failure_replaces_the_end_and_the_error_that_an_open_job_was_imported_with(url: str) -> None:
    with FineTuningStore.from_url(url, clock=lambda: NOW) as store:
        payload = job_to_wire(stored(store, status="paused")) | {
            "id": "ftjob-azure",
            "status": "resuming",
            "finished_at": 5,
            "error": "slow",
        }
        job = store.jobs.add(job_from_wire(payload))
        assert job_to_wire(store.jobs.get(job.id)) == payload

        failed = store.jobs.fail(job.id, JobError(code="c"))

        error = {"code": "c", "message": None, "param": None}
        assert job_to_wire(failed) == {**payload, "status": "failed", "finished_at": NOW, "error": error}


def test_a_job_from_creation_to_success(url: str) -> None:
    with FineTuningStore.from_url(url, clock=lambda: NOW) as store:
        job = created(store, hyperparameters=Hyperparameters(n_epochs=3))
        assert store.jobs.enqueue(job.id).status is JobStatus.QUEUED
        started = store.jobs.start(job.id, hyperparameters=Hyperparameters(batch_size=8, learning_rate_multiplier=0.5))
        assert started.hyperparameters == Hyperparameters(n_epochs=3, batch_size=8, learning_rate_multiplier=0.5)
        assert store.jobs.pause(job.id).status is JobStatus.PAUSED
        assert store.jobs.resume(job.id).status is JobStatus.QUEUED
        assert store.jobs.start(job.id).hyperparameters == started.hyperparameters
        assert store.jobs.requeue(job.id).status is JobStatus.QUEUED
        store.jobs.start(job.id)

        done = store.jobs.succeed(job.id, fine_tuned_model="ft:gpt", trained_tokens=77, result_files=["file-b", "file-a"])

        assert done == store.jobs.get(job.id)
        assert done == replace(
            started,
            status=JobStatus.SUCCEEDED,
            finished_at=NOW,
            fine_tuned_model="ft:gpt",
            trained_tokens=77,
            result_files=("file-b", "file-a"),
            attempt=3,
            queued_at=NOW,
            updated_at=NOW,
            available_at=done.available_at,  # of the database's clock
        )


def test_a_repeated_start_by_the_same_worker_is_recognised(store: FineTuningStore) -> None:
    job = stored(store, status="queued")
    started = store.jobs.start(job.id, actor="worker-1", hyperparameters=Hyperparameters(n_epochs=3), message="started")

    assert store.jobs.start(job.id, actor="worker-1", hyperparameters=Hyperparameters(n_epochs=3), message="started") == started
    assert len(store.events.list(job.id)) == len(store.transitions.list(job.id)) == 1
    for actor in ("worker-2", None):
        with pytest.raises(IllegalTransitionError):
            store.jobs.start(job.id, actor=actor)
    store.jobs.requeue(job.id, actor="worker-1")
    assert store.jobs.start(job.id, actor="worker-1").attempt == 2


def test_a_failed_job_has_its_error(store: FineTuningStore) -> None:
    job = stored(store, status="running", error=JobError(code="old"))

    failed = store.jobs.fail(job.id, JobError(code="new", message="It broke.", param="training_file"))

    assert failed.error == JobError(code="new", message="It broke.", param="training_file")
    assert store.jobs.get(job.id) == failed


def test_result_files_of_a_success_replace_imported_ones(store: FineTuningStore) -> None:
    job = stored(store, status="running", result_files=("file-old-1", "file-old-2"))

    assert store.jobs.succeed(job.id, fine_tuned_model="m", result_files=["file-new"]).result_files == ("file-new",)


def test_a_job_never_finishes_before_it_was_created(url: str) -> None:
    with FineTuningStore.from_url(url, clock=lambda: NOW) as store:
        early, late = stored(store, created_at=NOW - 5), stored(store, created_at=NOW + 5)

        assert store.jobs.cancel(early.id).finished_at == NOW
        assert store.jobs.cancel(late.id).finished_at == NOW + 5


def test_a_second_cancel_returns_the_job_as_the_first_left_it(url: str) -> None:
    times = iter([1.0, 2.0, 3.0])
    with FineTuningStore.from_url(url, clock=lambda: next(times)) as store:
        job = stored(store, created_at=0)

        first = store.jobs.cancel(job.id)
        second = store.jobs.cancel(job.id)

    assert first == second
    assert first.finished_at == 1


def test_a_refused_start_does_not_change_the_hyperparameters(store: FineTuningStore) -> None:
    job = stored(store, status="succeeded", hyperparameters=Hyperparameters(n_epochs=1))

    with pytest.raises(IllegalTransitionError):
        store.jobs.start(job.id, hyperparameters=Hyperparameters(n_epochs=9))

    assert store.jobs.get(job.id).hyperparameters.n_epochs == 1

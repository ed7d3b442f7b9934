"""Creating, reading, updating and deleting jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fine_tuning_store import (
    FineTuningJob,
    FineTuningStore,
    Hyperparameters,
    IllegalTransitionError,
    InvalidValueError,
    JobAlreadyExistsError,
    JobError,
    JobNotFoundError,
    JobStatus,
    Method,
)
from tests.support.factories import ORGANIZATION, a_job, created, in_status, stored
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

EVERYTHING = FineTuningJob(
    id="ftjob-everything",
    created_at=1_700_000_000,
    finished_at=1_700_000_900,
    error=JobError(code="unsafe", message="It's over – 😀\n\ttoo much", param=None, extra={"hint": [1, 2.5, None]}),
    fine_tuned_model="ft:gpt-4o:acme::abc",
    hyperparameters=Hyperparameters(
        n_epochs=3,
        batch_size="auto",
        learning_rate_multiplier=1.8,
        beta=0.1,
        compute_multiplier="auto",
        eval_interval=5,
        eval_samples=7,
        reasoning_effort="low",
        extra={"warmup": 0.1},
    ),
    model="gpt-4o-2024-08-06",
    organization_id="org-everything",
    result_files=("file-2", "file-1", "file-2"),
    status=JobStatus.FAILED,
    trained_tokens=2**53 + 1,
    training_file="file-abc",
    validation_file="file-def",
    seed=2**31 - 1,
    integrations=({"type": "wandb", "wandb": {"project": "p", "tags": ["a", "b"], "run_id": "ftjob-everything"}},),
    metadata={"team": "nlp", "empty": "", 'quote"\\': "'; DROP TABLE x; --"},
    method=Method(
        type="reinforcement", grader={"type": "python", "source": "x\n"}, response_format={"type": "json_schema"}, extra={"v": 2}
    ),
    suffix="mine",
    estimated_finish=1_700_000_800,
    usage_metrics={"graders": [{"tokens": 12, "share": 1e-308}]},
    shared_with_openai=True,
    eval_id="eval_1",
    extra={"trainingType": "global", "nothing": None, "deep": {"a": [{"b": "é"}]}},
)


def test_every_member_of_an_added_job_comes_back(store: FineTuningStore) -> None:
    assert store.jobs.add(EVERYTHING) == EVERYTHING

    read = store.jobs.get(EVERYTHING.id)

    assert read == EVERYTHING
    assert read.metadata == EVERYTHING.metadata
    assert read.extra == EVERYTHING.extra
    assert isinstance(read.status, JobStatus)


def test_a_job_without_any_optional_member_comes_back(store: FineTuningStore) -> None:
    job = stored(store)

    assert store.jobs.get(job.id) == job
    assert (job.error, job.metadata, job.method, job.result_files, job.seed) == (None, None, None, (), None)


def test_a_created_job_is_validating_its_files_and_has_the_defaults_of_its_method(store: FineTuningStore) -> None:
    job = created(store, method=Method(type="dpo"), hyperparameters=Hyperparameters(beta=0.2), metadata={"team": "nlp"}, suffix="mine")

    assert store.jobs.get(job.id) == job
    assert job.status is JobStatus.VALIDATING_FILES
    assert job.hyperparameters == Hyperparameters(n_epochs="auto", batch_size="auto", learning_rate_multiplier="auto", beta=0.2)
    assert job.seed is not None
    assert 0 <= job.seed < 2**31
    assert (job.finished_at, job.error, job.fine_tuned_model, job.trained_tokens) == (None, None, None, None)


def test_a_reinforcement_job_keeps_its_grader_and_its_effort(store: FineTuningStore) -> None:
    grader = {"type": "multi", "graders": {"a": {"type": "python", "name": "a", "source": "x"}}, "calculate_output": "a"}

    job = created(store, method=Method(type="reinforcement", grader=grader), hyperparameters=Hyperparameters(reasoning_effort="high"))

    read = store.jobs.get(job.id)
    assert read.method is not None
    assert read.method.grader == grader
    assert read.hyperparameters.reasoning_effort == "high"
    assert read.hyperparameters.compute_multiplier == "auto"


def test_ids_increase_even_within_one_second_and_if_the_clock_stops_or_goes_back(url: str) -> None:
    times = [1_700_000_000.5] * 50 + [1_699_999_000.25] * 50
    clock = iter(times)
    with FineTuningStore.from_url(url, clock=lambda: next(clock)) as store:
        jobs = [created(store) for _ in times]

    ids = [job.id for job in jobs]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {job.created_at for job in jobs} == {1_700_000_000, 1_699_999_000}
    assert {len(id) for id in ids} == {len("ftjob-") + 32}


def test_an_existing_id_is_refused_and_the_stored_job_is_unchanged(store: FineTuningStore) -> None:
    job = stored(store, result_files=("file-1",), metadata={"a": "b"})

    with pytest.raises(JobAlreadyExistsError, match=job.id):
        store.jobs.add(replace(job, model="other", metadata={"c": "d"}))

    assert store.jobs.get(job.id) == job


def test_many_jobs_are_added_in_their_order_and_read_back(store: FineTuningStore) -> None:
    jobs = [a_job(metadata={"n": str(number)}, result_files=(f"file-{number}",)) for number in range(1203)]

    assert store.jobs.add_many(iter(jobs)) == tuple(jobs)

    assert list(store.jobs.iterate(order="asc", page_size=1000)) == jobs


@each("position", [0, 600, 1202])
def test_when_one_of_many_ids_exists_no_job_is_added_even_in_a_unit_that_commits(store: FineTuningStore, position: int) -> None:
    jobs = [a_job() for _ in range(1203)]
    existing = store.jobs.add(replace(jobs[position], model="first"))

    with store.begin() as unit, pytest.raises(JobAlreadyExistsError, match=existing.id):
        unit.jobs.add_many(jobs)

    assert list(store.jobs.iterate()) == [existing]


def test_a_duplicate_id_in_one_import_is_refused(store: FineTuningStore) -> None:
    job = a_job()

    with pytest.raises(JobAlreadyExistsError):
        store.jobs.add_many([job, a_job(), job])

    assert store.jobs.list().data == ()


def test_add_many_accepts_no_jobs(store: FineTuningStore) -> None:
    assert store.jobs.add_many([]) == ()


def test_an_unknown_id_is_not_found_by_any_method(store: FineTuningStore) -> None:
    stored(store)
    jobs = store.jobs

    for call in (
        lambda: jobs.get("ftjob-none"),
        lambda: jobs.enqueue("ftjob-none"),
        lambda: jobs.start("ftjob-none", hyperparameters=Hyperparameters(n_epochs=2)),
        lambda: jobs.requeue("ftjob-none"),
        lambda: jobs.pause("ftjob-none"),
        lambda: jobs.resume("ftjob-none"),
        lambda: jobs.succeed("ftjob-none", fine_tuned_model="m", result_files=["file-1"]),
        lambda: jobs.fail("ftjob-none", JobError(code="c")),
        lambda: jobs.cancel("ftjob-none"),
        lambda: jobs.update("ftjob-none", trained_tokens=1),
        lambda: jobs.update("ftjob-none", metadata={"a": "b"}),
        lambda: jobs.update("ftjob-none"),
        lambda: jobs.delete("ftjob-none"),
    ):
        with pytest.raises(JobNotFoundError) as caught:
            call()
        assert caught.value.job_id == "ftjob-none"


def test_ids_are_compared_bytewise_and_without_padding(store: FineTuningStore) -> None:
    job = stored(store, id="ftjob-aBc")
    padded = stored(store, id="ftjob-aBc ")

    for other in ("FTJOB-ABC", "ftjob-abc", "ftjob-aBć", "ftjob-aBc  "):
        with pytest.raises(JobNotFoundError):
            store.jobs.get(other)

    assert store.jobs.get("ftjob-aBc") == job
    assert store.jobs.get("ftjob-aBc ") == padded


def test_get_many_returns_jobs_in_the_order_of_the_ids(store: FineTuningStore) -> None:
    first, second, third = (stored(store) for _ in range(3))

    assert store.jobs.get_many([third.id, first.id, third.id]) == (third, first, third)
    assert store.jobs.get_many([]) == ()
    with pytest.raises(JobNotFoundError, match="ftjob-none"):
        store.jobs.get_many([second.id, "ftjob-none"])


def test_an_update_changes_only_the_given_members(store: FineTuningStore) -> None:
    job = stored(store, trained_tokens=5, estimated_finish=7, eval_id="eval-1", metadata={"a": "1", "b": "2"}, usage_metrics={"x": 1})

    changed = store.jobs.update(job.id, trained_tokens=6, usage_metrics={"y": [2]}, metadata={"c": "3"})

    assert changed == replace(job, trained_tokens=6, usage_metrics={"y": [2]}, metadata={"c": "3"}, updated_at=changed.updated_at)
    assert store.jobs.get(job.id) == changed
    assert store.jobs.list(metadata={"a": "1"}).data == ()


def test_none_clears_a_member_in_an_update(store: FineTuningStore) -> None:
    job = stored(store, trained_tokens=5, estimated_finish=7, eval_id="eval-1", metadata={"a": "1"}, usage_metrics={"x": 1})

    cleared = store.jobs.update(job.id, trained_tokens=None, estimated_finish=None, eval_id=None, metadata=None, usage_metrics=None)

    assert cleared == store.jobs.get(job.id)
    cleared_members: dict[str, Any] = dict.fromkeys(("trained_tokens", "estimated_finish", "eval_id", "metadata", "usage_metrics"))
    assert cleared == replace(job, updated_at=cleared.updated_at, **cleared_members)


def test_an_update_of_nothing_returns_the_job(store: FineTuningStore) -> None:
    job = stored(store)

    assert store.jobs.update(job.id) == job


@each("status", [status for status in JobStatus if status.is_ended])
def test_only_the_metadata_of_an_ended_job_can_be_updated(store: FineTuningStore, status: JobStatus) -> None:
    job = in_status(store, status)

    updated = store.jobs.update(job.id, metadata={"new": "yes"})
    assert updated == replace(job, metadata={"new": "yes"}, updated_at=updated.updated_at)
    with pytest.raises(IllegalTransitionError) as caught:
        store.jobs.update(job.id, trained_tokens=1, metadata={"new": "no"})

    assert (caught.value.transition, caught.value.status) == ("update", status)
    assert store.jobs.get(job.id) == updated


@each("status", list(JobStatus))
def test_only_an_ended_job_is_deleted_and_only_once(store: FineTuningStore, status: JobStatus) -> None:
    job, other = in_status(store, status), stored(store, metadata={"a": "b"}, result_files=("file-1",))

    if not status.is_ended:
        with pytest.raises(IllegalTransitionError):
            store.jobs.delete(job.id)
        assert store.jobs.get(job.id) == job
        return
    store.jobs.delete(job.id)
    with pytest.raises(JobNotFoundError):
        store.jobs.delete(job.id)

    assert store.jobs.list().data == (other,)


def test_a_deleted_job_leaves_no_rows_and_its_id_can_be_reused(store: FineTuningStore) -> None:
    store.jobs.add(EVERYTHING)

    store.jobs.delete(EVERYTHING.id)

    bare = FineTuningJob(id=EVERYTHING.id, created_at=1, organization_id=ORGANIZATION, model="m", training_file="f")
    store.jobs.add(bare)
    assert store.jobs.get(EVERYTHING.id) == bare


def test_equal_jobs_have_equal_hashes_and_a_job_can_be_copied_and_replaced(store: FineTuningStore) -> None:
    import copy
    import pickle

    store.jobs.add(EVERYTHING)
    read = store.jobs.get(EVERYTHING.id)

    assert hash(read) == hash(EVERYTHING)
    assert pickle.loads(pickle.dumps(read)) == read == copy.deepcopy(read)
    assert replace(read, model="other").model == "other"
    with pytest.raises(AttributeError):
        read.model = "changed"  # type: ignore[misc]


def test_a_generator_of_jobs_that_fails_adds_nothing(store: FineTuningStore) -> None:
    def jobs() -> Iterator[FineTuningJob]:
        yield a_job()
        yield a_job(model="")

    with pytest.raises(InvalidValueError, match="model"):
        store.jobs.add_many(jobs())

    assert store.jobs.list().data == ()

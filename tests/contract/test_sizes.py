"""Values at the limits of their sizes, alone and in batches: every database stores them, and larger ones are refused by their fields."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from fine_tuning_store import (
    FineTuningJob,
    FineTuningJobCheckpoint,
    FineTuningJobEvent,
    FineTuningStore,
    Hyperparameters,
    InvalidValueError,
    JobAlreadyExistsError,
    JobError,
    JobNotFoundError,
    Method,
)
from fine_tuning_store.domain.job_validation import MAX_RESULT_FILES, MAX_STORED_METADATA_PAIRS
from fine_tuning_store.domain.validation import JSON_ELEMENT_SIZE, MAX_JSON_SIZE, MAX_TEXT_BYTES
from fine_tuning_store.sql.batches import MAX_BYTES, batches
from fine_tuning_store.sql.models import events
from fine_tuning_store.sql.queries.events import event_row
from tests.support.factories import a_job, stored
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

#: The largest strings that are a JSON value, and that are the only member of an object. SQL escapes each of their bytes in JSON.
LONGEST: Final = '"' * ((MAX_JSON_SIZE - JSON_ELEMENT_SIZE - len('""')) // 2)
MEMBER: Final = '"' * ((MAX_JSON_SIZE - 2 * JSON_ELEMENT_SIZE - len('"a"""')) // 2)
OBJECT: Final = {"a": MEMBER}
QUOTES, BACKSLASHES, EMOJI = "'" * MAX_TEXT_BYTES, "\\" * MAX_TEXT_BYTES, "😀" * (MAX_TEXT_BYTES // 4)


def largest_job(**members: Any) -> FineTuningJob:
    """Return a job with the largest value of each member, of characters that take the most space in SQL or in the JSON of an aggregate."""
    return a_job(
        model="é" * 512,
        training_file="é" * 512,
        validation_file="é" * 512,
        fine_tuned_model="é" * 512,
        suffix="😀" * 512,
        status="failed",
        error=JobError(code=QUOTES, message=BACKSLASHES, param=EMOJI, extra=OBJECT),
        hyperparameters=Hyperparameters(extra=OBJECT),
        method=Method(type="other", grader=LONGEST, response_format=LONGEST, extra=OBJECT),
        result_files=tuple(f"{number:03}".ljust(512, "\x01") for number in range(MAX_RESULT_FILES)),
        integrations=({"type": "\x01" * ((MAX_JSON_SIZE - 3 * JSON_ELEMENT_SIZE - len('"type"""')) // len("\\u0001"))},),
        metadata={f"{number:03}".ljust(64, "\x01"): "\x01" * 512 for number in range(MAX_STORED_METADATA_PAIRS)},
        usage_metrics=LONGEST,
        extra=OBJECT,
        **members,
    )


def a_large_event(number: int, **members: Any) -> FineTuningJobEvent:
    event = FineTuningJobEvent(id=f"ftevent-{number}", created_at=number, message=BACKSLASHES, data=LONGEST, extra=OBJECT)
    return replace(event, **members)


def test_the_largest_jobs_are_stored_and_read_one_by_one_and_as_batches(store: FineTuningStore) -> None:
    single = store.jobs.add(largest_job())
    assert store.jobs.get(single.id) == single

    many = store.jobs.add_many([largest_job(), largest_job(), a_job()])
    assert store.jobs.list(limit=4).data == (*reversed(many), single)


def test_many_jobs_that_are_large_together_are_added_at_once(store: FineTuningStore) -> None:
    added = store.jobs.add_many([a_job(extra={"a": "x" * 200_000}, usage_metrics=[0] * 1000) for _ in range(100)])

    assert store.jobs.get_many([job.id for job in added]) == added


def test_a_call_with_the_most_and_longest_ids_is_sent_at_once(store: FineTuningStore) -> None:
    ids = [f"{number:03}".ljust(255, "😀") for number in range(1000)]
    with pytest.raises(JobNotFoundError) as caught:
        store.jobs.get_many(ids)

    assert caught.value.job_id == ids[0]


def test_a_refused_import_of_large_jobs_writes_nothing_in_a_hosts_transaction(store: FineTuningStore) -> None:
    taken = stored(store, id="z")  # jobs are inserted in the order of their ids
    method = Method(grader=LONGEST, response_format=LONGEST, extra=OBJECT)
    large = [a_job(method=method, usage_metrics=LONGEST, extra=OBJECT) for _ in range(3)]
    with store.begin() as unit, pytest.raises(JobAlreadyExistsError):
        unit.jobs.add_many([*large, taken])

    assert store.jobs.list().data == (taken,)


def test_the_largest_events_are_stored_and_read_as_batches(store: FineTuningStore) -> None:
    job = stored(store)
    imported = store.events.import_many(job.id, [a_large_event(number) for number in range(6)])
    appended = store.events.append_many(job.id, [{"message": EMOJI, "data": LONGEST}] * 6)

    assert store.events.tail(job.id).data == (*imported, *appended)


def test_the_largest_checkpoint_notes_and_changes_are_stored(store: FineTuningStore) -> None:
    job = stored(store)
    checkpoint = FineTuningJobCheckpoint(
        id="c",
        created_at=1,
        fine_tuned_model_checkpoint="é" * 512,
        fine_tuning_job_id=job.id,
        step_number=1,
        metrics=OBJECT,
        extra=OBJECT,
    )
    store.checkpoints.add(checkpoint)
    assert store.checkpoints.list(job.id).data == (checkpoint,)

    store.jobs.update(job.id, usage_metrics=LONGEST)
    failed = store.jobs.fail(job.id, JobError(code=BACKSLASHES), message=QUOTES, reason=BACKSLASHES)
    assert (failed.usage_metrics, failed.error) == (LONGEST, JobError(code=BACKSLASHES))
    assert store.transitions.list(job.id).data[0].reason == BACKSLASHES


def test_the_hyperparameters_of_several_starts_have_one_limit(store: FineTuningStore) -> None:
    job = stored(store, status="queued")
    store.jobs.start(job.id, hyperparameters=Hyperparameters(extra={"a": "x" * (MAX_JSON_SIZE // 2)}))
    store.jobs.requeue(job.id)

    with pytest.raises(InvalidValueError, match=r"hyperparameters\.extra.*must take at most 524288 bytes"):
        store.jobs.start(job.id, hyperparameters=Hyperparameters(extra={"b": "x" * (MAX_JSON_SIZE // 2)}))


TOO_LARGE: Final[list[tuple[str, dict[str, Any]]]] = [
    ("usage_metrics", {"usage_metrics": LONGEST + '"'}),
    ("usage_metrics", {"usage_metrics": "\x01" * (MAX_JSON_SIZE // 5)}),
    ("extra.a", {"extra": {"a": MEMBER + '"'}}),
    ("method.grader", {"method": Method(type="other", grader=LONGEST + '"')}),
    ("hyperparameters.extra.a", {"hyperparameters": Hyperparameters(extra={"a": MEMBER + '"'})}),
    ("integrations[1].type", {"integrations": [{"type": "x" * (MAX_JSON_SIZE // 2)}] * 2}),
    ("integrations[1].wandb.project", {"integrations": [{"type": "wandb", "wandb": {"project": "x" * (MAX_JSON_SIZE // 2)}}] * 2}),
    ("error.code", {"error": JobError(code=QUOTES + "'")}),
    ("error.message", {"error": JobError(message=EMOJI + "é")}),
    ("error.param", {"error": JobError(param=EMOJI + "é")}),
    ("result_files", {"result_files": ["file"] * (MAX_RESULT_FILES + 1)}),
    ("metadata", {"metadata": {str(number): "" for number in range(MAX_STORED_METADATA_PAIRS + 1)}}),
]


@each(("field", "members"), TOO_LARGE)
def test_a_larger_value_is_refused_by_its_field(sqlite_store: FineTuningStore, field: str, members: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError) as caught:
        sqlite_store.jobs.add(a_job(status="failed", **members))

    assert caught.value.field == field


def a_checkpoint(store: FineTuningStore, job_id: str, **members: Any) -> FineTuningJobCheckpoint:
    return store.checkpoints.create(job_id, step_number=1, fine_tuned_model_checkpoint="m", **members)


@each(
    ("field", "call"),
    [
        ("message", lambda store, id: store.events.append(id, EMOJI + "é")),
        ("events[1].data", lambda store, id: store.events.append_many(id, [{"message": "m"}, {"message": "m", "data": LONGEST + '"'}])),
        ("events[0].message", lambda store, id: store.events.import_many(id, [a_large_event(1, message=EMOJI + "é")])),
        ("message", lambda store, id: store.jobs.enqueue(id, message=EMOJI + "é")),
        ("reason", lambda store, id: store.jobs.enqueue(id, reason=EMOJI + "é")),
        ("error_code", lambda store, _: store.jobs.list(error_code=EMOJI + "é")),
        (
            "metrics.a",
            lambda store, id: store.checkpoints.create(id, step_number=1, fine_tuned_model_checkpoint="m", metrics={"a": LONGEST}),
        ),
    ],
)
def test_a_larger_argument_is_refused_by_its_name(sqlite_store: FineTuningStore, field: str, call: Any) -> None:
    job = stored(sqlite_store)
    with pytest.raises(InvalidValueError) as caught:
        call(sqlite_store, job.id)

    assert caught.value.field == field


def test_batches_keep_the_order_and_are_limited_by_rows_and_bytes() -> None:
    small = [event_row(a_large_event(number, message="m", data=None, extra={})) for number in range(250)]
    large = [event_row(a_large_event(number, message="é", extra={})) for number in range(20)]

    assert [len(batch) for batch in batches(events, small, 100)] == [100, 100, 50]
    assert [row for batch in batches(events, large + small) for row in batch] == large + small
    assert list(batches(events, [])) == []
    sizes = [sum(2 * len(json.dumps(row["data"])) for row in batch) for batch in batches(events, large)]
    assert len(sizes) == 3
    assert max(sizes) <= MAX_BYTES

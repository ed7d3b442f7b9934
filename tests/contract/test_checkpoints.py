"""Checkpoints of jobs: their members, order, pages and deletion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fine_tuning_store import (
    CursorNotFoundError,
    FineTuningJobCheckpoint,
    FineTuningStore,
    InvalidValueError,
    JobNotFoundError,
    JobStatus,
)
from tests.support.factories import in_status, stored
from tests.support.parallel import at_once
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

NOW = 1_800_000_000
MODEL = "ft:gpt-4o-mini:org::abc:ckpt-step-10"
CALLS: dict[str, Callable[[FineTuningStore, str], object]] = {
    "create": lambda store, id: store.checkpoints.create(id, step_number=1, fine_tuned_model_checkpoint=MODEL),
    "add": lambda store, id: store.checkpoints.add(a_checkpoint(id, 1)),
    "list": lambda store, id: store.checkpoints.list(id),
    "list after": lambda store, id: store.checkpoints.list(id, after="ftckpt_1"),
}


def a_checkpoint(job_id: str, step: int, **members: Any) -> FineTuningJobCheckpoint:
    return FineTuningJobCheckpoint(
        **{
            "id": f"ftckpt_{step:04d}",
            "created_at": 1_700_000_000,
            "fine_tuned_model_checkpoint": f"{MODEL}{step}",
            "fine_tuning_job_id": job_id,
            "step_number": step,
            **members,
        }
    )


def test_a_created_checkpoint_is_returned_as_it_is_stored(url: str) -> None:
    with FineTuningStore.from_url(url, clock=lambda: NOW) as store:
        job = stored(store)
        checkpoint = store.checkpoints.create(
            job.id, step_number=10, fine_tuned_model_checkpoint=MODEL, metrics={"step": 10, "train_loss": 0.25}
        )

        assert checkpoint.id.startswith("ftckpt_")
        assert checkpoint == FineTuningJobCheckpoint(
            id=checkpoint.id,
            created_at=NOW,
            fine_tuned_model_checkpoint=MODEL,
            fine_tuning_job_id=job.id,
            step_number=10,
            metrics={"step": 10, "train_loss": 0.25},
        )
        assert checkpoint.object == "fine_tuning.job.checkpoint"
        assert store.checkpoints.list(job.id).data == (checkpoint,)


@each("metrics", [{}, {"step": 100.0, "train_loss": 3.3e-06, "type": "supervised"}, {"a": {"b": [None, {"c": "\U0001f600"}]}}, {"": None}])
def test_metrics_are_stored_unchanged(store: FineTuningStore, metrics: dict[str, Any]) -> None:
    job = stored(store)
    created = store.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint=MODEL, metrics=metrics)
    added = store.checkpoints.add(a_checkpoint(job.id, 0, metrics=metrics, extra={"new": metrics}))

    assert store.checkpoints.list(job.id).data == (created, added)
    assert [repr(checkpoint.metrics) for checkpoint in store.checkpoints.list(job.id)] == [repr(metrics)] * 2


def test_metrics_default_to_an_empty_object(store: FineTuningStore) -> None:
    job = stored(store)
    store.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint=MODEL)

    assert store.checkpoints.list(job.id).data[0].metrics == {}


@each("status", list(JobStatus))
def test_a_job_of_any_status_accepts_checkpoints(store: FineTuningStore, status: JobStatus) -> None:
    job = in_status(store, status)
    checkpoint = store.checkpoints.add(a_checkpoint(job.id, 1))

    assert store.checkpoints.list(job.id).data == (checkpoint,)
    assert store.jobs.get(job.id) == job


def test_an_id_that_the_job_already_has_is_refused(store: FineTuningStore) -> None:
    job = stored(store)
    first = store.checkpoints.add(a_checkpoint(job.id, 1))

    with store.begin() as unit:
        with pytest.raises(InvalidValueError) as caught:
            unit.checkpoints.add(replace(first, step_number=2))
        second = unit.checkpoints.add(a_checkpoint(job.id, 2))

    assert (caught.value.field, caught.value.value) == ("id", first.id)
    assert store.checkpoints.list(job.id).data == (second, first)


def test_two_jobs_may_have_checkpoints_of_the_same_id_and_model(store: FineTuningStore) -> None:
    one, other = stored(store), stored(store)
    for job in (one, other):
        checkpoint = store.checkpoints.add(a_checkpoint(job.id, 1))
        assert store.checkpoints.list(job.id).data == (checkpoint,)


def test_a_job_may_have_several_checkpoints_of_the_same_model(store: FineTuningStore) -> None:
    job = stored(store)
    created = [store.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint=MODEL) for _ in range(3)]

    assert store.checkpoints.list(job.id).data == tuple(created[::-1])


STEPS = [5, 5, 5, 0, -3, 2**63 - 1, -(2**63), 5]


@each("limit", [1, 2, 3, 7, 8, 9, 1000])
def test_pages_show_the_newest_step_first_and_every_checkpoint_once(store: FineTuningStore, limit: int) -> None:
    job, other = stored(store), stored(store)
    expected = [store.checkpoints.add(a_checkpoint(job.id, step, id=f"ftckpt_{number}")) for number, step in enumerate(STEPS)]
    store.checkpoints.add(a_checkpoint(other.id, 5))
    expected.sort(key=lambda checkpoint: (checkpoint.step_number, checkpoint.id), reverse=True)

    after, start = None, 0
    while start < len(expected):
        page = store.checkpoints.list(job.id, after=after, limit=limit)
        assert list(page) == expected[start : start + limit]
        assert page.has_more == (start + limit < len(expected))
        assert (page.first_id, page.last_id) == (page.data[0].id, page.data[-1].id)
        after, start = page.last_id, start + limit
    last = store.checkpoints.list(job.id, after=after, limit=limit)
    assert (last.data, last.has_more, last.first_id, last.last_id) == ((), False, None, None)


def test_a_list_has_ten_checkpoints_by_default(store: FineTuningStore) -> None:
    job = stored(store)
    for step in range(11):
        store.checkpoints.add(a_checkpoint(job.id, step))

    page = store.checkpoints.list(job.id)
    assert ([checkpoint.step_number for checkpoint in page], page.has_more) == (list(range(10, 0, -1)), True)


def test_a_job_without_checkpoints_has_an_empty_page(store: FineTuningStore) -> None:
    page = store.checkpoints.list(stored(store).id)

    assert (page.data, page.has_more, page.first_id, page.last_id) == ((), False, None, None)


@each("after", ["ftckpt_none", "FTCKPT_0001", "ftckpt_0001 ", "ftckpt_0002"])
def test_a_cursor_that_is_not_a_checkpoint_of_the_job_is_refused(store: FineTuningStore, after: str) -> None:
    job, other = stored(store), stored(store)
    store.checkpoints.add(a_checkpoint(job.id, 1))
    store.checkpoints.add(a_checkpoint(other.id, 2))

    with pytest.raises(CursorNotFoundError) as caught:
        store.checkpoints.list(job.id, after=after)
    assert caught.value.after == after


@each("call", CALLS)
def test_every_method_refuses_an_unknown_job(store: FineTuningStore, call: str) -> None:
    with pytest.raises(JobNotFoundError) as caught:
        CALLS[call](store, "ftjob-unknown")
    assert caught.value.job_id == "ftjob-unknown"


def test_checkpoints_are_deleted_with_their_job(store: FineTuningStore) -> None:
    job, other = stored(store, status="failed"), stored(store)
    store.checkpoints.add(a_checkpoint(job.id, 1))
    remaining = store.checkpoints.add(a_checkpoint(other.id, 1))

    store.jobs.delete(job.id)

    stored(store, id=job.id)
    assert store.checkpoints.list(job.id).data == ()
    assert store.checkpoints.list(other.id).data == (remaining,)


def test_checkpoints_of_a_unit_that_is_rolled_back_are_not_stored(store: FineTuningStore) -> None:
    job = stored(store)
    with pytest.raises(RuntimeError), store.begin() as unit:
        unit.checkpoints.add(a_checkpoint(job.id, 1))
        assert len(unit.checkpoints.list(job.id)) == 1
        raise RuntimeError

    assert store.checkpoints.list(job.id).data == ()


BROKEN: list[tuple[str, dict[str, Any]]] = [
    *[("id", {"id": value}) for value in (None, 5, "", "a" * 256, "\0", "\ud800")],
    *[("created_at", {"created_at": value}) for value in (None, "1", 1.0, True, 2**63)],
    *[("step_number", {"step_number": value}) for value in (None, "1", 1.0, True, 2**63, -(2**63) - 1)],
    *[("fine_tuning_job_id", {"fine_tuning_job_id": value}) for value in (None, 5, "", "a" * 256, "\0")],
    *[
        ("fine_tuned_model_checkpoint", {"fine_tuned_model_checkpoint": value})
        for value in (None, 5, "", "a" * 513, "\U0001f600" * 257, "\0", "\ud800")
    ],
    *[("metrics", {"metrics": value}) for value in (None, 5, "{}", [], [("a", 1)])],
    *[("metrics.a", {"metrics": {"a": value}}) for value in (float("nan"), float("-inf"), b"", 2**63, "\0", {1})],
    ("extra", {"extra": None}),
    *[(f"extra.{member}", {"extra": {member: 1}}) for member in ("object", "id", "step_number", "metrics", "fine_tuning_job_id")],
]


def test_the_error_for_a_wrong_checkpoint_names_the_member(store: FineTuningStore) -> None:
    job = stored(store)
    value: Any
    for field, members in BROKEN:
        with pytest.raises(InvalidValueError) as caught:
            store.checkpoints.add(a_checkpoint(job.id, 1, **members))
        assert caught.value.field == field
    for value in (None, {}, "checkpoint"):
        with pytest.raises(InvalidValueError) as caught:
            store.checkpoints.add(value)
        assert caught.value.field == "checkpoint"
    assert store.checkpoints.list(job.id).data == ()


def test_the_error_for_a_wrong_argument_names_it(store: FineTuningStore) -> None:
    job = stored(store)
    arguments: dict[str, Any] = {"step_number": 1, "fine_tuned_model_checkpoint": MODEL}
    wrong_creates: list[tuple[str, Any]] = [
        ("step_number", True),
        ("fine_tuned_model_checkpoint", ""),
        ("metrics", 5),
        ("metrics", {"a": 2**64}),
    ]
    wrong_lists: list[tuple[str, Any]] = [
        *[("limit", value) for value in (0, -1, 1001, None, "5", 5.0, True)],
        *[("after", value) for value in (5, "", "a" * 256, "\0", "\ud800")],
    ]
    for field, value in wrong_creates:
        with pytest.raises(InvalidValueError) as caught:
            store.checkpoints.create(job.id, **{**arguments, field: value})
        assert caught.value.field.split(".")[0] == field
    for field, value in wrong_lists:
        with pytest.raises(InvalidValueError) as caught:
            store.checkpoints.list(job.id, **{field: value})
        assert caught.value.field == field
    for id in (None, 5, "", "a" * 256, "\0"):
        with pytest.raises(InvalidValueError) as caught:
            store.checkpoints.list(id)  # type: ignore[arg-type]
        assert caught.value.field == "job_id"
        with pytest.raises(InvalidValueError) as caught:
            store.checkpoints.list(id, after="a")  # type: ignore[arg-type]
        assert caught.value.field == "job_id"
        with pytest.raises(InvalidValueError) as caught:
            store.checkpoints.create(id, **arguments)  # type: ignore[arg-type]
        assert caught.value.field == "fine_tuning_job_id"


def add_all(wait: Callable[[], object], url: str, job_id: str) -> int:
    added = 0
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        for step in range(20):
            try:
                store.checkpoints.add(a_checkpoint(job_id, step))
                added += 1
            except InvalidValueError as error:
                assert error.field == "id"  # noqa: PT017 - this runs in a separate process
    return added


@pytest.mark.slow
def test_two_processes_that_add_the_same_checkpoints_add_each_once(store: FineTuningStore, url: str) -> None:
    job = stored(store)

    results = at_once(*[(add_all, (url, job.id))] * 2)

    assert [error for _, error in results] == [None, None]
    assert sum(added for added, _ in results) == 20
    assert len(store.checkpoints.list(job.id, limit=1000)) == 20

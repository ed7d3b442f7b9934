"""Errors and domain objects are pickled and copied, as multiprocessing and concurrent.futures do. Stores are not."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fine_tuning_store import (
    AsyncFineTuningStore,
    CheckpointPermission,
    FineTuningStore,
    FineTuningStoreError,
    Hyperparameters,
    InvalidValueError,
    JobTransition,
    Page,
    SchemaLockTimeoutError,
    SchemaVersionError,
    job_request_from_wire,
)
from fine_tuning_store.domain.lifecycle import TRANSITIONS, JobStatus
from fine_tuning_store.domain.statistics import JobCounts, JobQueueState
from tests.domain.test_requests import ERRORS
from tests.support.factories import a_job
from tests.support.strategies import checkpoints, events, jobs, nested


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


COPIES: list[Callable[[Any], Any]] = [pickled, copy.copy, copy.deepcopy]
in_every_way = pytest.mark.parametrize("copied", COPIES, ids=["pickle", "copy", "deepcopy"])
OURS = [error for error, _ in ERRORS if isinstance(error, FineTuningStoreError)]
OURS += [SchemaVersionError(None, 1), SchemaVersionError(1, 2, 3, "host_version", True), SchemaLockTimeoutError(3.0, "process 7")]


class Unwilling:
    """A value whose methods raise errors."""

    def __reduce__(self) -> Any:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError


class Unreadable:
    """A value that can be pickled, but not read again."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


class HostError(FineTuningStoreError):
    """An error of an application."""

    def __init__(self, lock: object, *, note: str = "") -> None:
        super().__init__(lock)
        self.note = note


VALUES = [
    threading.Lock(),
    (number for number in range(3)),
    lambda: None,
    {"deep": [threading.Lock()]},
    nested(100_000),
    nested(450),
    Unwilling(),
    Unreadable(),
    memoryview(b""),
    [10**5000, threading.Lock()],
    "text" * 100,
    float("nan"),
]


@in_every_way
@pytest.mark.parametrize("error", OURS, ids=[type(error).__name__ for error in OURS])
def test_a_copy_of_an_error_says_the_same(error: FineTuningStoreError, copied: Callable[[Any], Any]) -> None:
    other = copied(error)

    assert type(other) is type(error)
    assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))


@in_every_way
@pytest.mark.parametrize("value", VALUES, ids=[f"{number}-{type(value).__name__}" for number, value in enumerate(VALUES)])
def test_a_copy_of_an_error_about_any_value_says_the_same(value: object, copied: Callable[[Any], Any]) -> None:
    error = InvalidValueError("hyperparameters", value, "must be an object")

    other = copied(error)

    assert (str(other), other.field, other.rule) == (str(error), "hyperparameters", "must be an object")
    assert str(copied(other)) == str(error)


def test_a_shallow_copy_of_an_error_has_the_same_value() -> None:
    lock = threading.Lock()

    assert copy.copy(InvalidValueError("a", lock, "must be text")).value is lock


@in_every_way
def test_notes_and_attributes_of_applications_are_copied(copied: Callable[[Any], Any]) -> None:
    error = HostError(threading.Lock(), note="n")
    error.add_note("while testing")

    other = copied(error)

    assert (other.note, other.__notes__) == ("n", ["while testing"])


def refuse(kind: str) -> None:
    job_request_from_wire({"model": threading.Lock() if kind == "lock" else nested(3), "training_file": "f"})


def test_an_error_comes_back_from_another_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for kind in ("lock", "list"):
            with pytest.raises(InvalidValueError, match="model: must be a string") as caught:
                pool.submit(refuse, kind).result(timeout=60)
            assert caught.value.field == "model"


OBJECTS: list[Any] = [
    CheckpointPermission(id="cp_1", created_at=1, project_id="p"),
    JobTransition(
        id="t", job_id="j", position=1, transition="start", from_status=JobStatus.QUEUED, to_status=JobStatus.RUNNING, at=1, attempt=1
    ),
    Page((a_job(metadata={"k": "v"}),), has_more=True),
    Hyperparameters(n_epochs=3, extra={"lora": {"rank": 8}}),
    JobStatus.QUEUED,
    TRANSITIONS["start"],
    JobQueueState(queued=1, oldest_queued_at=1, running=0, longest_running_since=None, paused=0),
    JobCounts(bucket=None, group={"model": "m"}, total=1, succeeded=1, failed=0, cancelled=0, open=0, trained_tokens=1, success_rate=1.0),
]


@in_every_way
@pytest.mark.parametrize("value", OBJECTS, ids=[type(value).__name__ for value in OBJECTS])
def test_a_copy_of_a_domain_object_is_equal(value: Any, copied: Callable[[Any], Any]) -> None:
    assert copied(value) == value
    assert type(copied(value)) is type(value)


@in_every_way
@settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
@given(values=jobs().flatmap(lambda job: events().flatmap(lambda event: checkpoints().map(lambda checkpoint: (job, event, checkpoint)))))
def test_copies_of_any_job_event_and_checkpoint_are_equal(values: Any, copied: Callable[[Any], Any]) -> None:
    assert tuple(map(copied, values)) == values


@pytest.mark.parametrize("url", ["sqlite://", "postgresql://127.0.0.1/name", "mariadb://127.0.0.1/name"])
@pytest.mark.parametrize("kind", [FineTuningStore, AsyncFineTuningStore])
@pytest.mark.parametrize("copied", [pickled, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_store_cannot_be_pickled_and_says_what_to_send_instead(url: str, kind: Any, copied: Callable[[Any], Any]) -> None:
    store = kind.from_url(url)
    for value in (store, store.for_organization("org-1"), store.jobs):
        with pytest.raises(TypeError, match="send the URL, and open a store in each process"):
            copied(value)

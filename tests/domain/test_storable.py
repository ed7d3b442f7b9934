"""Errors made of exceptions: whatever an exception has, the failure of its job can be recorded."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fine_tuning_store import FineTuningStore, JobError, JobStatus
from fine_tuning_store.domain.validation import MAX_TEXT_BYTES
from tests.support.factories import stored


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


CASES: list[tuple[BaseException, dict[str, Any], JobError]] = [
    (ValueError("bad"), {}, JobError(code="ValueError", message="bad")),
    (ValueError("bad"), {"code": "training_failed"}, JobError(code="training_failed", message="bad")),
    (ValueError(), {}, JobError(code="ValueError", message="ValueError")),
    (KeyboardInterrupt(), {}, JobError(code="KeyboardInterrupt", message="KeyboardInterrupt")),
    (ValueError("a\0b"), {}, JobError(code="ValueError", message="a\ufffdb")),
    (ValueError("a\ud800b"), {}, JobError(code="ValueError", message="a\ufffdb")),
    (ValueError("\U0001f600"), {}, JobError(code="ValueError", message="\U0001f600")),
    (UnprintableError(), {}, JobError(code="UnprintableError", message="a UnprintableError without a text")),
    (
        ValueError("bad"),
        {"step": 3, "loss": math.nan, "rate": -math.inf, "where": {"node\0": [1.5, None, True, {1}, b"x", Unprintable()]}},
        JobError(
            code="ValueError",
            message="bad",
            extra={
                "step": 3,
                "loss": None,
                "rate": None,
                "where": {"node\ufffd": [1.5, None, True, [1], "b'x'", "a Unprintable without a text"]},
            },
        ),
    ),
]


def recorded(store: FineTuningStore, error: JobError) -> JobError | None:
    """Fail a job with the error, and read the error."""
    job = stored(store, status="running")
    assert store.jobs.fail(job.id, error).status is JobStatus.FAILED
    return store.jobs.get(job.id).error


@pytest.mark.parametrize(("error", "more", "expected"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_the_error_of_an_exception_is_stored(
    store: FineTuningStore, error: BaseException, more: dict[str, Any], expected: JobError
) -> None:
    made = JobError.from_exception(error, **more)

    assert made == expected
    stored_error = recorded(store, made)
    assert stored_error is not None
    assert (stored_error.code, stored_error.message) == (expected.code, expected.message)


def test_what_is_too_long_is_cut_off_or_left_out(store: FineTuningStore) -> None:
    endless: list[Any] = []
    endless.append(endless)

    made = JobError.from_exception(ValueError("\u20ac" * MAX_TEXT_BYTES), values=["x" * 1000] * 1000)

    assert made.message is not None
    assert made.message.endswith("\u20ac\u2026")
    assert len(made.message.encode()) <= MAX_TEXT_BYTES
    assert made.extra == {}
    assert recorded(store, made) == made
    recorded(store, JobError.from_exception(ValueError("m"), values=endless))
    recorded(store, JobError.from_exception(ValueError("m"), value=10**5000))


def test_any_exception_can_be_recorded(sqlite_store: FineTuningStore) -> None:
    @given(st.text(), st.dictionaries(st.text(), st.recursive(st.none() | st.floats() | st.text() | st.binary(), st.lists)))
    def record(text: str, extra: dict[str, Any]) -> None:
        assert recorded(sqlite_store, JobError.from_exception(ValueError(text), more=extra)) is not None

    record()

"""Test data: recorded payloads, and Hypothesis strategies for JSON values, valid jobs and broken payloads."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fine_tuning_store import FineTuningJob, FineTuningJobCheckpoint, FineTuningJobEvent, Hyperparameters, JobError, JobStatus, Method
from fine_tuning_store.domain.history_validation import CHECKPOINT_MEMBERS, EVENT_MEMBERS
from fine_tuning_store.domain.job_validation import WIRE_MEMBERS
from fine_tuning_store.domain.member_validation import WANDB_MEMBERS, error_from_payload
from fine_tuning_store.wire.jobs import FOREIGN_STATUSES

WHOLE = ("n_epochs", "batch_size", "eval_interval", "eval_samples")
FRACTIONS = ("learning_rate_multiplier", "beta", "compute_multiplier")
LARGEST = 2**63 - 1

_CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from(
    "\U0001f600\U0010ffff'\"\\%:{}\n\t\x01\x7f\u2028 "
)


@cache
def recorded(kind: str) -> dict[str, Any]:
    """Return the payloads of a folder of fixtures by file name."""
    files = sorted((Path(__file__).parents[1] / "fixtures" / kind).glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8"))["payload"] for file in files}


@cache
def texts(longest: int | None = None, shortest: int = 0) -> st.SearchStrategy[str]:
    """Texts that every database can store, some of the maximum length and of four-byte characters."""
    usual = st.text(_CHARACTERS, min_size=shortest, max_size=40 if longest is None else min(longest, 40))
    long = st.sampled_from("a\U0001f600").map(lambda character: character * (3000 if longest is None else longest))
    return usual | long


@cache
def names() -> st.SearchStrategy[str]:
    """Names of models and files: up to 512 characters and 1024 bytes."""
    return texts(512, 1).map(lambda name: name.encode()[:1024].decode(errors="ignore"))


@cache
def integers(smallest: int = -LARGEST - 1) -> st.SearchStrategy[int]:
    """64-bit integers, with the limits of doubles and of columns among them."""
    ends = [number for number in (0, 1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, LARGEST, -LARGEST - 1) if number >= smallest]
    return st.sampled_from(ends) | st.integers(smallest, LARGEST)


def numbers(**options: Any) -> st.SearchStrategy[float]:
    """Finite doubles."""
    return st.sampled_from([1e-308, 5e-324, 1.25e-05, 0.1, 2.0, 1.7976931348623157e308]) | st.floats(
        allow_nan=False, allow_infinity=False, **options
    )


def nested(levels: int, innermost: Any = None) -> Any:
    """Return a value nested in lists and objects of the given depth."""
    for level in range(levels):
        innermost = [innermost] if level % 2 else {"": innermost}
    return innermost


def _containers(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=3) | st.dictionaries(texts(), values, max_size=3)


@cache
def json_values() -> st.SearchStrategy[Any]:
    """JSON values that every database can store, some of them deeply nested."""
    scalars = st.none() | st.booleans() | integers() | numbers() | texts()
    return st.recursive(scalars, _containers, max_leaves=8) | st.builds(nested, st.integers(60, 95), scalars)


@cache
def _members(*without: str) -> st.SearchStrategy[dict[str, Any]]:
    """Members unknown to the library. None is null, since null means that a member is absent."""
    taken = frozenset(without)
    present = json_values().filter(lambda value: value is not None)
    return st.dictionaries(texts().filter(lambda name: name not in taken), present, max_size=2)


@st.composite
def hyperparameters(draw: st.DrawFn) -> Hyperparameters:
    """Hyperparameters: each absent, auto, a positive number, or a value that does not fit its column."""
    columns: dict[str, Any] = {}
    extra = draw(_members(*WHOLE, *FRACTIONS, "reasoning_effort"))
    for name in (*WHOLE, *FRACTIONS):
        valid_value: st.SearchStrategy[Any] = integers(smallest=1) if name in WHOLE else numbers(min_value=0, exclude_min=True)
        value = draw(st.none() | st.just("auto") | valid_value)
        if value is not None:
            columns[name] = value
        elif draw(st.integers(0, 9)) == 0:
            extra[name] = draw(st.sampled_from([0, -2, -0.5, "many", "", "AUTO", [1], {"auto": True}]))
    return Hyperparameters(**columns, reasoning_effort=draw(st.none() | texts(64, 1)), extra=extra)


@st.composite
def methods(draw: st.DrawFn) -> Method:
    """Methods of known and unknown types."""
    type = draw(st.sampled_from(["supervised", "dpo", "reinforcement"]) | texts(64, 1).filter(lambda word: word != "type"))
    extra = draw(_members("type", type))
    block = draw(_members("hyperparameters", "grader", "response_format"))
    return Method(
        type=type,
        grader=draw(json_values()),
        response_format=draw(json_values()),
        extra={**extra, type: block} if block else extra,
    )


@st.composite
def errors(draw: st.DrawFn) -> JobError:
    """Errors with at least one member."""
    words = st.none() | texts()
    error = JobError(code=draw(words), message=draw(words), param=draw(words), extra=draw(_members("code", "message", "param")))
    if error.code is None and draw(st.booleans()):
        number = draw(integers())
        return replace(error, code=str(number), extra={**error.extra, "code": number})
    return JobError(message="") if error == JobError() else error


@cache
def integrations() -> st.SearchStrategy[dict[str, Any]]:
    """Weights & Biases integrations without a key, and undocumented ones."""
    wandb = st.dictionaries(st.sampled_from(WANDB_MEMBERS), texts() | st.none() | st.lists(texts(), max_size=3))
    other = _members("type", "wandb").map(lambda members: {"type": "other", **members})
    return wandb.map(lambda block: {"type": "wandb", "wandb": block}) | other


@st.composite
def jobs(draw: st.DrawFn) -> FineTuningJob:
    """Jobs that every database stores and returns unchanged."""
    status = draw(st.sampled_from(JobStatus))
    optional_integer = st.none() | integers()
    error = draw(st.none() | errors())
    extra = draw(_members(*WIRE_MEMBERS, "suffix"))
    if not status.is_ended and draw(st.booleans()):
        extra["finished_at"] = draw(integers())
    if error is None and draw(st.integers(0, 9)) == 0:
        extra["error"] = draw(st.sampled_from(["It broke.", 137, -0.5, True, [1, {"a": None}]]))
        error = error_from_payload(extra["error"])
    return FineTuningJob(
        id=draw(texts(200, 1)),
        created_at=draw(integers()),
        finished_at=draw(optional_integer) if status.is_ended else None,
        error=error,
        fine_tuned_model=draw(st.none() | names()),
        hyperparameters=draw(hyperparameters()),
        model=draw(names()),
        organization_id=draw(texts(128, 1)),
        result_files=tuple(draw(st.lists(names(), max_size=12))),
        status=status,
        trained_tokens=draw(optional_integer),
        training_file=draw(names()),
        validation_file=draw(st.none() | names()),
        seed=draw(optional_integer),
        integrations=tuple(draw(st.lists(integrations(), max_size=2))),
        metadata=draw(st.none() | st.dictionaries(texts(64), texts(512), min_size=1, max_size=20)),
        method=draw(st.none() | methods()),
        suffix=draw(st.none() | texts(512)),
        estimated_finish=draw(optional_integer),
        usage_metrics=draw(json_values()),
        shared_with_openai=draw(st.none() | st.booleans()),
        eval_id=draw(st.none() | texts(255)),
        wire_status=draw(st.sampled_from([None, *(f"{status}:{word}" for word in FOREIGN_STATUSES if FOREIGN_STATUSES[word] == status)])),
        extra=extra,
    )


@st.composite
def events(draw: st.DrawFn) -> FineTuningJobEvent:
    """Events that have not been stored yet."""
    return FineTuningJobEvent(
        id=draw(texts(255, 1)),
        created_at=draw(integers()),
        message=draw(texts()),
        level=draw(texts(64)),
        type=draw(st.none() | texts(64)),
        data=draw(json_values()),
        extra=draw(_members(*EVENT_MEMBERS)),
    )


@st.composite
def checkpoints(draw: st.DrawFn, job_id: str | None = None) -> FineTuningJobCheckpoint:
    """Checkpoints of the given job, or of arbitrary jobs."""
    return FineTuningJobCheckpoint(
        id=draw(texts(255, 1)),
        created_at=draw(integers()),
        fine_tuned_model_checkpoint=draw(names()),
        fine_tuning_job_id=draw(texts(255, 1)) if job_id is None else job_id,
        step_number=draw(integers()),
        metrics=draw(_members()),
        extra=draw(_members(*CHECKPOINT_MEMBERS)),
    )


@cache
def broken_values() -> st.SearchStrategy[Any]:
    """Python values that a payload should not contain: some are not JSON, some cannot be stored."""
    not_json = (math.nan, math.inf, -math.inf, (), b"bytes", "\ud800", {"\udfff": 1}, 10**400, 1e300)
    not_storable = ("\0", "nul \0 within", {"\0": 1}, 2**63, -(2**63) - 1)
    odd: tuple[Any, ...] = (
        True,
        False,
        0,
        -1,
        -1.0,
        1.0,
        "",
        [],
        {},
        [[]],
        [None],
        {"": {}},
        {"type": "wandb", "wandb": 1},
        {"type": None},
    )
    wrong: st.SearchStrategy[Any] = st.sampled_from([*not_json, *not_storable, *odd]).map(deepcopy)  # a mutation may modify the drawn value
    return wrong | st.builds(nested, st.integers(95, 110)) | json_values()


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values inside a JSON value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, member in members for place in [(*path, key), *_places(member, (*path, key))]]


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def mutations(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """A recorded payload with a few changes."""
    payloads = recorded(kind)
    return draw(changed(payloads[draw(st.sampled_from(sorted(payloads)))]))


@st.composite
def changed(draw: st.DrawFn, original: dict[str, Any]) -> dict[str, Any]:
    """A payload with a few changes: values replaced, copied or removed, and members added."""
    payload = deepcopy(original)
    for _ in range(draw(st.integers(1, 4))):
        places = _places(payload)
        if not places:
            break
        *above, key = draw(st.sampled_from(places))
        parent = _at(payload, tuple(above))
        match draw(st.sampled_from(["replace", "replace", "copy", "remove", "add", "add"])):
            case "replace":
                parent[key] = draw(broken_values())
            case "copy":
                parent[key] = deepcopy(_at(payload, draw(st.sampled_from(places))))
            case "remove":
                del parent[key]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(_NAMES) | texts())] = draw(broken_values())
            case _:
                parent.append(draw(broken_values()))
    return payload


_NAMES = (
    *(*WIRE_MEMBERS, "suffix", "type", "supervised", "dpo", "reinforcement", "grader", "response_format", "code", "message", "param"),
    *(*WHOLE, *FRACTIONS, "reasoning_effort", "wandb", *WANDB_MEMBERS),
)

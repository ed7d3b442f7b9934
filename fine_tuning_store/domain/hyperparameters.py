"""The rules of hyperparameters: what a create call accepts, and what can be stored of jobs from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from fine_tuning_store.domain.job import HYPERPARAMETERS, METHOD_HYPERPARAMETERS, Hyperparameters
from fine_tuning_store.domain.plain_values import exact_number, model_members
from fine_tuning_store.domain.validation import LARGEST_INTEGER, MAX_WORD_LENGTH, check_choice, check_json_object, check_text
from fine_tuning_store.errors import InvalidValueError

EFFORTS: Final = ("default", "low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Range:
    """The values of a numeric hyperparameter besides `"auto"`: integers or numbers, from or above `low`, up to `high`."""

    low: float
    high: float
    whole: bool = True
    open: bool = False  # excludes `low` itself

    def __contains__(self, number: float) -> bool:
        return (number > self.low if self.open else number >= self.low) and number <= self.high

    def __str__(self) -> str:
        start = f"above {self.low:g}" if self.open else f"at least {self.low:g}"
        end = f" and at most {self.high:g}" if self.high < LARGEST_INTEGER else ""
        return f'must be "auto" or {"an integer" if self.whole else "a number"} {start}{end}'


#: What `create` accepts (OpenAI API reference), by name, in the order of the fields.
API_RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "n_epochs": Range(1, 50),
        "batch_size": Range(1, 256),
        "learning_rate_multiplier": Range(0, math.inf, whole=False, open=True),
        "beta": Range(0, 2, whole=False, open=True),
        "compute_multiplier": Range(0.00001, 10, whole=False, open=True),
        "eval_interval": Range(1, LARGEST_INTEGER),
        "eval_samples": Range(1, LARGEST_INTEGER),
    }
)
#: What a column can hold: any positive number of its type.
STORABLE_RANGES: Mapping[str, Range] = MappingProxyType(
    {name: Range(1, LARGEST_INTEGER) if range.whole else Range(0, math.inf, whole=False, open=True) for name, range in API_RANGES.items()}
)


def _fit(value: object, range: Range) -> Any:
    """Return the value as a column of that range holds it, or None if it cannot: a boolean, an infinity, or if it had to be rounded."""
    if isinstance(value, str):
        return "auto" if value == "auto" else None
    number = exact_number(value)
    if number is None or (not math.isfinite(number) if isinstance(number, float) else abs(number) > LARGEST_INTEGER):
        return None
    column = int(number) if range.whole else float(number)
    return column if column == number and column in range else None


def _checked_members(hyperparameters: Hyperparameters, ranges: Mapping[str, Range]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, range in ranges.items():
        value = getattr(hyperparameters, name)
        if value is not None:
            members[name] = _fit(value, range)
            if members[name] is None:
                raise InvalidValueError(f"hyperparameters.{name}", value, str(range))
    effort = hyperparameters.reasoning_effort
    if effort is not None:
        members["reasoning_effort"] = check_text("hyperparameters.reasoning_effort", effort, MAX_WORD_LENGTH, 1)
    return members


@cache
def _defaults(method: str) -> Hyperparameters:
    names = METHOD_HYPERPARAMETERS[method]
    return Hyperparameters(**{name: "auto" if name in API_RANGES else EFFORTS[0] for name in names})  # type: ignore[arg-type]


def hyperparameters_for_create(given: Hyperparameters | None, method: str) -> Hyperparameters:
    """Return the hyperparameters of a new job: the given ones, and the defaults of its method for the rest.

    Raises InvalidValueError for a value outside of the API's range, and for a hyperparameter that the method does not have.
    """
    if given is None:
        return _defaults(method)
    members = model_members(given)
    if members is not None:
        given = hyperparameters_from_request("hyperparameters", members, method)
    if not isinstance(given, Hyperparameters):
        raise InvalidValueError("hyperparameters", given, "must be a Hyperparameters object")
    for name in given.extra:
        raise InvalidValueError(f"hyperparameters.{name}", given.extra[name], "is not a hyperparameter")
    members = _checked_members(given, API_RANGES)
    for name, value in members.items():
        if name not in METHOD_HYPERPARAMETERS[method]:
            raise InvalidValueError(f"hyperparameters.{name}", value, f"is not a hyperparameter of the {method} method")
    if members.get("reasoning_effort", EFFORTS[0]) not in EFFORTS:
        raise InvalidValueError("hyperparameters.reasoning_effort", given.reasoning_effort, f"must be one of {', '.join(EFFORTS)}")
    return replace(_defaults(method), **members)


def validate_hyperparameters(given: object) -> Hyperparameters:
    """Return a copy of hyperparameters as they can be stored: positive numbers of any size, `"auto"` or None, and the rest in `extra`."""
    members = model_members(given)
    if members is not None:
        return hyperparameters_from_payload(members)
    if not isinstance(given, Hyperparameters):
        raise InvalidValueError("hyperparameters", given, "must be a Hyperparameters object")
    extra = check_json_object("hyperparameters.extra", {name: value for name, value in given.extra.items() if value is not None})
    for name in extra:
        if name in STORABLE_RANGES and (isinstance(extra[name], bool) or extra[name] == -1):
            raise InvalidValueError(f"hyperparameters.extra.{name}", extra[name], str(STORABLE_RANGES[name]))
        if name in HYPERPARAMETERS and (getattr(given, name) is not None or _column_value(name, extra[name]) is not None):
            raise InvalidValueError(f"hyperparameters.extra.{name}", extra[name], f"belongs into hyperparameters.{name}")
    return Hyperparameters(**_checked_members(given, STORABLE_RANGES), extra=extra)


def hyperparameters_from_payload(members: Mapping[str, Any]) -> Hyperparameters:
    """Return the hyperparameters of a job's JSON object: -1 is `"auto"`, null is absent, and what no column can hold goes to `extra`."""
    columns: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in members.items():
        if value is None:
            continue
        if isinstance(value, bool) and name in STORABLE_RANGES:
            raise InvalidValueError(f"hyperparameters.{name}", value, str(STORABLE_RANGES[name]))
        column = "auto" if name in STORABLE_RANGES and exact_number(value) == -1 else _column_value(name, value)
        if column is None:
            extra[name] = value
        else:
            columns[name] = column
    return Hyperparameters(**columns, extra=check_json_object("hyperparameters", extra))


def hyperparameters_from_request(field: str, members: Mapping[str, Any], method: str) -> Hyperparameters:
    """Return the hyperparameters of a create request's JSON object: null is absent.

    Raises InvalidValueError, with the path in the request, for an unknown hyperparameter and for a value outside of the API's range.
    """
    columns: dict[str, Any] = {}
    for name, value in members.items():
        if value is None:
            continue
        if name in HYPERPARAMETERS and name not in METHOD_HYPERPARAMETERS[method]:
            raise InvalidValueError(f"{field}.{name}", value, f"is not a hyperparameter of the {method} method")
        if name == "reasoning_effort":
            columns[name] = check_choice(f"{field}.{name}", value, EFFORTS)
        elif name not in API_RANGES:
            raise InvalidValueError(f"{field}.{name}", value, "is not a hyperparameter")
        else:
            columns[name] = _fit(value, API_RANGES[name])
            if columns[name] is None:
                raise InvalidValueError(f"{field}.{name}", value, str(API_RANGES[name]))
    return Hyperparameters(**columns)


def merged_hyperparameters(top: Hyperparameters, nested: Hyperparameters) -> Hyperparameters:
    """Return the hyperparameters of a create request that has them at the top and in its method: a number goes before `"auto"`.

    Raises InvalidValueError if the two places disagree.
    """
    members: dict[str, Any] = {}
    for name in HYPERPARAMETERS:
        upper, lower = getattr(top, name), getattr(nested, name)
        values = [value for value in (lower, upper) if value not in (None, "auto")]
        if len(values) == 2 and upper != lower:
            raise InvalidValueError(f"hyperparameters.{name}", upper, f"must be {lower!r} as in the method, or be left out")
        members[name] = values[0] if values else lower or upper
    return Hyperparameters(**members)


def _column_value(name: str, value: object) -> Any:
    if name in STORABLE_RANGES:
        return _fit(value, STORABLE_RANGES[name])
    if name == "reasoning_effort" and isinstance(value, str) and 1 <= len(value) <= MAX_WORD_LENGTH:
        return value
    return None

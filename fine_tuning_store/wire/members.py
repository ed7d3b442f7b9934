"""How the members of a payload are read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fine_tuning_store.domain.plain_values import exact_number, model_members
from fine_tuning_store.domain.validation import check_choice, check_time
from fine_tuning_store.errors import InvalidValueError


def object_of(payload: Any, kind: str | None = None) -> Mapping[str, Any]:
    """Return the payload, or the members of a model. Raises InvalidValueError if it is no object, or names another kind of object."""
    members = payload if isinstance(payload, Mapping) else model_members(payload)
    if members is None:
        raise InvalidValueError("payload", type(payload).__name__, "must be an object")
    if kind is not None and members.get("object") is not None:
        check_choice("object", members["object"], (kind,))
    return members


def required(payload: Mapping[str, Any], name: str) -> Any:
    """Return a member. Raises InvalidValueError if it is null or absent."""
    value = payload.get(name)
    if value is None:
        raise InvalidValueError(name, value, "is required")
    return value


def given(payload: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return a member, or a default if it is null or absent."""
    value = payload.get(name)
    return default if value is None else value


def seconds(name: str, value: Any) -> Any:
    """Return a time in Unix seconds: some servers send ISO 8601, whose fraction of a second is dropped.

    Raises InvalidValueError for a text that is not such a time, or has no time zone.
    """
    if not isinstance(value, str):
        return whole(value)
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        time = None
    if time is None or time.utcoffset() is None:
        raise InvalidValueError(name, value, "must be Unix seconds, or a time of ISO 8601 with a time zone, such as 2026-01-31T12:00:00Z")
    return check_time(name, time)


def whole(value: Any) -> Any:
    """Return a whole number as an int: some servers send 1692661014.0."""
    number = exact_number(value)
    return int(number) if isinstance(number, float) and number.is_integer() else value

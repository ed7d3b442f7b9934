"""Values of other libraries with an exact meaning, as plain ones: numbers of NumPy and `decimal`, models of Pydantic."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any, cast


def exact_integer(value: object) -> int | None:
    """Return the integer that a value is: an int, an object with `__index__`, or a whole Decimal. None for others, also for booleans."""
    if type(value) is int:
        return value
    if value is None or isinstance(value, (bool, str)):
        return None
    if isinstance(value, Decimal):
        is_whole = value.is_finite() and value.adjusted() < 20 and value == value.to_integral_value()  # the integer of 1E+999999 is huge
        return int(value) if is_whole else None
    try:
        return int(operator.index(cast("Any", value)))
    except TypeError:
        return None


def exact_number(value: object) -> int | float | None:
    """Return the integer or the float that a value is. None for others, also if it would have to be rounded."""
    if isinstance(value, float):
        return float(value)
    integer = exact_integer(value)
    if integer is not None or value is None or isinstance(value, (bool, str)) or not isinstance(value, Real):
        return integer
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return None if number != value and value == value else number  # noqa: PLR0124 - NaN differs from itself, and stays NaN


def model_members(value: object) -> Mapping[str, Any] | None:
    """Return the members of a Pydantic model under their names in JSON. None for others."""
    dump = getattr(type(value), "model_dump", None)
    members = None if dump is None else dump(value, by_alias=True, warnings=False)
    return members if isinstance(members, Mapping) else None

"""Construction of domain objects from stored values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields, make_dataclass
from functools import wraps
from typing import Any, TypeVar

from sqlalchemy import Table

from fine_tuning_store.errors import CorruptDataError

T = TypeVar("T")


def raising_corrupt_data(table: Table, id_place: int) -> Callable[[Callable[[Sequence[Any]], T]], Callable[[Sequence[Any]], T]]:
    """Make a function that maps a row of a table raise CorruptDataError for a value that it cannot read.

    Args:
        table: The table.
        id_place: The index of the id in the row.
    """

    def decorate(from_row: Callable[[Sequence[Any]], T]) -> Callable[[Sequence[Any]], T]:
        @wraps(from_row)
        def checked(row: Sequence[Any]) -> T:
            try:
                return from_row(row)
            except (KeyError, ValueError, TypeError, StopIteration) as error:
                raise CorruptDataError(table.name, str(row[id_place])) from error

        return checked

    return decorate


def constructor(kind: type[T], names: Sequence[str] | None = None) -> Callable[..., T]:
    """Return a constructor of a frozen dataclass that takes every field by position and checks nothing.

    A frozen dataclass sets its fields by one guarded call each. A mutable class with the same slots takes them at once, and the object
    then becomes one of the real class: ten times as fast (docs/decisions/0003).

    Args:
        kind: The dataclass.
        names: The names of the fields in the order of the arguments; by default that of the dataclass.
    """
    mutable: Any = None

    def construct(*values: Any) -> T:
        nonlocal mutable
        if mutable is None:  # made on first use: making a class takes a millisecond
            mutable = make_dataclass(kind.__name__, names or [field.name for field in fields(kind)], slots=True)  # type: ignore[arg-type]
        value: Any = mutable(*values)
        value.__class__ = kind
        return value  # type: ignore[no-any-return]

    return construct


def json_or_none(text: str | None) -> Any:
    """Return the value of a JSON column, None for NULL."""
    return None if text is None else json.loads(text)


def json_or_empty(text: str | None) -> dict[str, Any]:
    """Return the object of a JSON column, an empty one for NULL. Raises TypeError for another value."""
    return {} if text is None else json_object(text)


def json_object(text: str) -> dict[str, Any]:
    """Return the object of a JSON column. Raises TypeError for another value."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError
    return value

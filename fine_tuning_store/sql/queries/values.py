"""Construction of domain objects from stored values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields, make_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


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
    """Return the object of a JSON column, an empty one for NULL."""
    return {} if text is None else json.loads(text)

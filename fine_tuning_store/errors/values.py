"""Values that errors hold, of any type: how they are shown, and what becomes of them in another process."""

from __future__ import annotations

import pickle
import reprlib
from typing import Any


class _Description:
    """What is left of a value that cannot be pickled: it is shown as the value was."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def shown(value: object) -> str:
    """Return a value as it is shown in a message, shortened."""
    if isinstance(value, _Description):
        return repr(value)
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer too long for Python to write out
        return f"that {type(value).__name__}"


def pickleable(value: Any) -> Any:
    """Return a value that another process can read: the value itself or, if it cannot be pickled, its description."""
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - written by the line itself
    except Exception:  # noqa: BLE001 - the methods of a value may raise anything
        return _Description(shown(value))
    return value

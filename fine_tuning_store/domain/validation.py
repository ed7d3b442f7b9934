"""What a text, a number or a JSON value must be so that every database gives it back as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from fine_tuning_store.errors import InvalidValueError

#: Longest texts in characters, checked here and given to the columns.
ID_LENGTH: Final = 255
ORGANIZATION_LENGTH: Final = 128
NAME_LENGTH: Final = 512  # of models and files
NAME_BYTES: Final = 1024  # of the same: with an organization and an id it must fit into an index row of PostgreSQL
TEXT_LENGTH: Final = 1_000_000  # of error messages: with four bytes a character still one packet of MariaDB
METADATA_KEY_LENGTH: Final = 64
METADATA_VALUE_LENGTH: Final = 512
WORD_LENGTH: Final = 64  # of vocabulary: method types, reasoning efforts

LARGEST_INTEGER: Final = 2**63 - 1
SMALLEST_INTEGER: Final = -(2**63)
JSON_DEPTH: Final = 100


class Unset(Enum):
    """The default of an argument whose None means something."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


def text(field: str, value: object, longest: int | None = None, shortest: int = 0) -> str:
    """A string that every database can hold: no NUL, no lone surrogate, `shortest` to `longest` characters."""
    if not isinstance(value, str):
        raise InvalidValueError(field, value, "must be a string")
    if longest is not None and not shortest <= len(value) <= longest:
        raise InvalidValueError(field, value, f"must have {shortest} to {longest} characters")
    if "\0" in value:
        raise InvalidValueError(field, value, "must not contain NUL characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(field, value, "must be valid Unicode, without lone surrogates") from None
    return str.__str__(value)  # a plain str also of a subclass, which not every driver takes


def optional_text(field: str, value: object, longest: int | None = None, shortest: int = 0) -> str | None:
    """The same, or None."""
    return None if value is None else text(field, value, longest, shortest)


def name(field: str, value: object) -> str:
    """The name of a model or a file, 1 to 512 characters and at most 1024 bytes: it stands in an index."""
    checked = text(field, value, NAME_LENGTH, 1)
    if not checked.isascii() and len(checked.encode()) > NAME_BYTES:
        raise InvalidValueError(field, value, f"must have at most {NAME_BYTES} bytes in UTF-8")
    return checked


def optional_name(field: str, value: object) -> str | None:
    """The same, or None."""
    return None if value is None else name(field, value)


def integer(field: str, value: object, smallest: int = SMALLEST_INTEGER, largest: int = LARGEST_INTEGER) -> int:
    """A whole number within 64 bits. True and False are no numbers here."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValueError(field, value, "must be an integer")
    if not smallest <= value <= largest:
        raise InvalidValueError(field, value, f"must be from {smallest} to {largest}")
    return int(value)


def optional_integer(field: str, value: object, smallest: int = SMALLEST_INTEGER, largest: int = LARGEST_INTEGER) -> int | None:
    """The same, or None."""
    return None if value is None else integer(field, value, smallest, largest)


def json_value(field: str, value: object, depth: int = JSON_DEPTH) -> Any:
    """A copy of a JSON value, built of dicts, lists, strings, numbers, booleans and None; `field` grows into the path of a refusal."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(field, value)
    if isinstance(value, int):
        return integer(field, value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValueError(field, value, "must be a finite number")
        return float(value)
    if not isinstance(value, (Mapping, list, tuple)):
        raise InvalidValueError(field, value, "must be a JSON value")
    if depth == 0:
        raise InvalidValueError(field, value, f"must not be nested deeper than {JSON_DEPTH} levels")
    if isinstance(value, Mapping):
        return {text(f"{field} (a key)", key): json_value(f"{field}.{key}", member, depth - 1) for key, member in value.items()}
    return [json_value(f"{field}[{position}]", member, depth - 1) for position, member in enumerate(value)]


def json_object(field: str, value: object, depth: int = JSON_DEPTH) -> dict[str, Any]:
    """A copy of a JSON object."""
    if not isinstance(value, Mapping):
        raise InvalidValueError(field, value, "must be an object")
    copy: dict[str, Any] = json_value(field, value, depth)
    return copy

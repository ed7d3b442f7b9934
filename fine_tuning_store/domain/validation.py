"""Checks of texts, numbers and JSON values: what passes comes back unchanged from every database."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring
from typing import Any, Final, TypeVar
from uuid import UUID

from fine_tuning_store.domain.plain_values import exact_integer, exact_number, model_members
from fine_tuning_store.errors import InvalidValueError

#: Lengths in characters; the columns have the same ones.
MAX_ID_LENGTH: Final = 255
MAX_ORGANIZATION_LENGTH: Final = 128
MAX_NAME_LENGTH: Final = 512  # names of models and files
MAX_NAME_BYTES: Final = 1024  # of a name: together with an organization and an id it must fit into an index row of PostgreSQL
MAX_TEXT_BYTES: Final = 1_000_000  # of messages, reasons and errors
MAX_METADATA_KEY_LENGTH: Final = 64
MAX_METADATA_VALUE_LENGTH: Final = 512
MAX_WORD_LENGTH: Final = 64  # of vocabulary such as method types and reasoning efforts

LARGEST_INTEGER: Final = 2**63 - 1
SMALLEST_INTEGER: Final = -(2**63)
MAX_JSON_DEPTH: Final = 100
#: The largest JSON value, in bytes: its strings as JSON writes them, and about what an element takes in memory, which is more than the
#: rest of it takes in JSON. The code of a grader has up to 256 kB.
MAX_JSON_SIZE: Final = 512 * 1024
JSON_ELEMENT_SIZE: Final = 50

Word = TypeVar("Word", bound=str)


def check_text(field: str, value: object, longest: int | None = None, shortest: int = 0) -> str:
    """Return a string of `shortest` to `longest` characters that every database can hold: no NUL, no lone surrogates. A UUID is one."""
    if not isinstance(value, str):
        if not isinstance(value, UUID):
            raise InvalidValueError(field, value, "must be a string")
        value = str(value)
    if longest is not None and not shortest <= len(value) <= longest:
        raise InvalidValueError(field, value, f"must have {shortest} to {longest} characters")
    if "\0" in value:
        raise InvalidValueError(field, value, "must not contain NUL characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(field, value, "must be valid Unicode, without lone surrogates") from None
    return str.__str__(value)  # not every driver takes a subclass of str


def check_optional_text(field: str, value: object, longest: int | None = None, shortest: int = 0) -> str | None:
    """Return None, or what `check_text` returns."""
    return None if value is None else check_text(field, value, longest, shortest)


def check_name(field: str, value: object) -> str:
    """Return the name of a model or a file: 1 to 512 characters and, since it is indexed, at most 1024 bytes."""
    return _limited(field, check_text(field, value, MAX_NAME_LENGTH, 1), MAX_NAME_BYTES)


def check_optional_name(field: str, value: object) -> str | None:
    """Return None, or what `check_name` returns."""
    return None if value is None else check_name(field, value)


def check_long_text(field: str, value: object) -> str:
    """Return a text of at most 1,000,000 bytes, such as a message."""
    return _limited(field, check_text(field, value), MAX_TEXT_BYTES)


def check_optional_long_text(field: str, value: object) -> str | None:
    """Return None, or what `check_long_text` returns."""
    return None if value is None else check_long_text(field, value)


def _limited(field: str, text: str, most: int) -> str:
    if size_of(text) > most:
        raise InvalidValueError(field, text, f"must have at most {most} bytes in UTF-8")
    return text


def size_of(text: str) -> int:
    """Return the number of bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def check_integer(field: str, value: object, smallest: int = SMALLEST_INTEGER, largest: int = LARGEST_INTEGER) -> int:
    """Return the integer of at most 64 bits that a value is exactly. True and False are not integers here."""
    integer = exact_integer(value)
    if integer is None:
        raise InvalidValueError(field, value, "must be an integer")
    if not smallest <= integer <= largest:
        raise InvalidValueError(field, value, f"must be from {smallest} to {largest}")
    return integer


def check_optional_integer(field: str, value: object, smallest: int = SMALLEST_INTEGER, largest: int = LARGEST_INTEGER) -> int | None:
    """Return None, or what `check_integer` returns."""
    return None if value is None else check_integer(field, value, smallest, largest)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def check_time(field: str, value: object) -> int:
    """Return the Unix seconds of an integer, or of a datetime with a time zone, whose fraction of a second is dropped (rounded down)."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidValueError(field, value, "must have a time zone, as in datetime(2026, 1, 31, tzinfo=timezone.utc)")
        return int((value - _EPOCH) // timedelta(seconds=1))
    if exact_integer(value) is None:
        raise InvalidValueError(field, value, "must be Unix seconds as an integer, or a datetime with a time zone")
    return check_integer(field, value)


def check_json(field: str, value: object, depth: int = MAX_JSON_DEPTH) -> Any:
    """Return a copy of a JSON value, made of dicts, lists, strings, numbers, booleans and None.

    Models, and numbers of other types with an exact meaning, become plain values.

    Raises InvalidValueError, whose `field` is the path to the element at fault.
    """
    if value is None:
        return None
    try:
        return _JsonCopy().copy(value, depth)
    except InvalidValueError as error:
        raise below(field, error) from None


def below(place: str, error: InvalidValueError) -> InvalidValueError:
    """Return the error of an element with a longer path. Paths are built on the way up: one for each element checked would be slow."""
    return InvalidValueError(f"{place}{error.field}", error.value, error.rule)


class _JsonCopy:
    """A copy in the making, and how large it is so far."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0

    def copy(self, value: object, depth: int) -> Any:  # noqa: PLR0911 - one for each type of JSON, and one for the others
        self._grow(JSON_ELEMENT_SIZE)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text("", value)
        if isinstance(value, int):
            return check_integer("", value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise InvalidValueError("", value, "must be a finite number")
            return float(value)
        if not isinstance(value, (Mapping, list, tuple)):
            return self._foreign(value, depth)
        if depth == 0:
            raise InvalidValueError("", value, f"must not be nested deeper than {MAX_JSON_DEPTH} levels")
        if isinstance(value, Mapping):
            return {self._text(" (a key)", key): self._member(key, member, depth) for key, member in value.items()}
        return self._elements(value, depth)

    def _grow(self, size: int) -> None:
        self.size += size
        if self.size > MAX_JSON_SIZE:
            rule = (
                f"must take at most {MAX_JSON_SIZE} bytes in all, which are those of its strings in JSON and {JSON_ELEMENT_SIZE} for each "
                "element"
            )
            raise InvalidValueError("", "a larger value", rule)

    def _foreign(self, value: object, depth: int) -> Any:
        plain: Any = str(value) if isinstance(value, UUID) else exact_number(value)
        if plain is None:
            plain = model_members(value)
        if plain is None:
            raise InvalidValueError("", value, "must be a JSON value")
        return self.copy(plain, depth)

    def _text(self, place: str, value: object) -> str:
        checked = check_text(place, value)
        self._grow(size_of(encode_basestring(checked)))
        return checked

    def _elements(self, elements: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        copy: list[Any] = []
        try:
            for element in elements:
                copy.append(self.copy(element, depth - 1))  # noqa: PERF401 - its length is the position at fault
        except InvalidValueError as error:
            raise below(f"[{len(copy)}]", error) from None
        return copy

    def _member(self, key: object, member: object, depth: int) -> Any:
        try:
            return self.copy(member, depth - 1)
        except InvalidValueError as error:
            raise below(f".{key}", error) from None


def check_json_object(field: str, value: object, depth: int = MAX_JSON_DEPTH) -> dict[str, Any]:
    """Return a copy of a JSON object."""
    members = check_object(field, value)
    copy: dict[str, Any] = check_json(field, members, depth) if members else {}
    return copy


def check_object(field: str, value: object) -> Mapping[str, Any]:
    """Return a mapping as it is, or the members of a model. They are not checked."""
    members = value if isinstance(value, Mapping) else model_members(value)
    if members is None:
        raise InvalidValueError(field, value, "must be an object")
    return members


def check_choice(field: str, value: object, choices: Iterable[Word], rule: str | None = None) -> Word:
    """Return one of some words. Objects that do not compare by True and False are refused too."""
    words = {str(choice): choice for choice in choices}
    if not isinstance(value, str) or value not in words:
        raise InvalidValueError(field, value, rule or f"must be one of {', '.join(words)}")
    return words[value]


def refuse_members(field: str, extra: Mapping[str, Any], members: Iterable[str]) -> None:
    """Raise InvalidValueError if an object of unknown members holds a known one."""
    for member in members:
        if member in extra:
            raise InvalidValueError(f"{field}.{member}", extra[member], "is a member of its own")

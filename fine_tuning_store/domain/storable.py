"""Values made storable: where a failure is recorded, a value that no database can hold must not become another failure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fine_tuning_store.domain.validation import MAX_JSON_DEPTH, MAX_TEXT_BYTES, check_json
from fine_tuning_store.errors import InvalidValueError

#: Stands for a character that cannot be stored, and for the rest of a text that is too long.
REPLACEMENT: Final = "\ufffd"
ELLIPSIS: Final = "\u2026"


def storable_text(text: str) -> str:
    """Return a text with its NULs and lone surrogates replaced, cut off after 1,000,000 bytes."""
    encoded = text.replace("\0", REPLACEMENT).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    if len(encoded) > MAX_TEXT_BYTES:
        return encoded[: MAX_TEXT_BYTES - len(ELLIPSIS.encode())].decode(errors="ignore") + ELLIPSIS
    return encoded.decode()


def storable_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object in which NaN and infinity are null, and what is no JSON is its text. It is empty if it would be too large."""
    try:
        copy: dict[str, Any] = check_json("members", _storable(members, MAX_JSON_DEPTH))
    except InvalidValueError:
        return {}
    return copy


def _storable(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth > 1 and isinstance(value, Mapping):
        return {storable_text(str(name)): _storable(member, depth - 1) for name, member in value.items()}
    if depth > 1 and isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [_storable(element, depth - 1) for element in value]
    return storable_text(text_of(value))


def text_of(value: object) -> str:
    """Return a text of any object, also of one whose own fails."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever the object does, its failure must be recorded
        return f"a {type(value).__name__} without a text"

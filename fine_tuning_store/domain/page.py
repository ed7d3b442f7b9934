"""Pages of lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class HasId(Protocol):
    """What a page can hold: objects with an id."""

    @property
    def id(self) -> str:
        """The id of the object."""


T = TypeVar("T", bound=HasId)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A keyset page: its rows in `data`, and whether at least one more row follows. Pass `last_id` as `after` to get the next page."""

    data: tuple[T, ...]
    has_more: bool

    @property
    def first_id(self) -> str | None:
        """The id of the first row, None on an empty page."""
        return self.data[0].id if self.data else None

    @property
    def last_id(self) -> str | None:
        """The id of the last row, None on an empty page."""
        return self.data[-1].id if self.data else None

    def __iter__(self) -> Iterator[T]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

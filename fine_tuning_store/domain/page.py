"""One page of a list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Identified(Protocol):
    """Whatever a page can hold."""

    @property
    def id(self) -> str:
        """Its id."""


T = TypeVar("T", bound=Identified)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A keyset page: its rows, and whether at least one more follows. Give `last_id` as `after` to get the next."""

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

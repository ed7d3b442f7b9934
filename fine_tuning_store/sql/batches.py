"""Rows divided into INSERT statements of a limited size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar

from sqlalchemy import Table, Text

from fine_tuning_store.domain.validation import size_of
from fine_tuning_store.sql.types import Json, json_text

R = TypeVar("R", bound=Mapping[str, Any])

#: The size of the long texts of one statement in SQL. No single row exceeds it. With the other columns a statement fits into a packet of
#: MariaDB, which has 16 MiB by default.
MAX_BYTES: Final = 8 * 1024 * 1024
#: A quotation mark or a backslash is escaped by another character.
_ESCAPED: Final = 2


def batches(table: Table, rows: Sequence[R], most: int | None = None) -> Iterator[Sequence[R]]:
    """Yield the rows of a table in their order, in batches for one INSERT each.

    Args:
        table: The table. Its columns of a limited length are not counted: drivers divide the rows of long statements themselves.
        rows: The rows.
        most: The largest number of rows in a batch; None if it does not matter.
    """
    columns = _long_columns(table)
    start = size = 0
    for end, row in enumerate(rows):
        added = sum(_ESCAPED * size_of(written(row[name])) for name, written in columns if row[name] is not None)
        if end > start and (size + added > MAX_BYTES or end - start == most):
            yield rows[start:end]
            start, size = end, 0
        size += added
    if rows:
        yield rows[start:]


@cache
def _long_columns(table: Table) -> tuple[tuple[str, Callable[[Any], str]], ...]:
    """Return the columns without a limited length, each with the function that makes its text of a value."""
    texts = [(column.name, str) for column in table.columns if isinstance(column.type, Text)]
    return (*texts, *((column.name, json_text) for column in table.columns if isinstance(column.type, Json)))

"""Truth tables: one test that runs for each row of a table.

`parametrize` makes a test of every row; with seven drivers, a table of verbs and statuses is hundreds of tests that cost more than what
they run. Here a row is a subtest: it has a name, a row that fails does not end the test, and the database is emptied after each.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

Test = Callable[..., None]
#: What the fixture `row` is: a block around each row, by its name.
Row = Callable[[str], AbstractContextManager[None]]


def each(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[[Test], Test]:
    """Give a test the values of each row in turn, as `parametrize` would. Decorators one above the other multiply."""
    columns = (names,) if isinstance(names, str) else names
    table = [(row,) if isinstance(names, str) else tuple(row) for row in rows]

    def decorate(test: Test) -> Test:
        inner: list[dict[str, Any]] = getattr(test, "rows", [{}])
        body: Test = getattr(test, "body", test)
        combined = [{**dict(zip(columns, row, strict=True)), **others} for row in table for others in inner]

        @functools.wraps(body)
        def all_rows(row: Row, **fixtures: Any) -> None:
            for values in combined:
                with row(", ".join(f"{name}={_short(value)}" for name, value in values.items())):
                    body(**fixtures, **values)

        signature = inspect.signature(body)
        left = [parameter for name, parameter in signature.parameters.items() if name not in combined[0]]
        left.append(inspect.Parameter("row", inspect.Parameter.POSITIONAL_OR_KEYWORD))
        all_rows.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        all_rows.rows, all_rows.body = combined, body  # type: ignore[attr-defined]
        return all_rows

    return decorate


def _short(value: object) -> str:
    shown = getattr(value, "__name__", None) or repr(value)
    return shown if len(shown) < 60 else f"{shown[:57]}..."

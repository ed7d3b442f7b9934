"""Truth tables: one test that loops over the rows of a table.

`parametrize` creates one test per row. With eight drivers, a table of verbs and statuses becomes hundreds of tests whose setup takes
longer than the tests themselves. Here, each row is a named subtest: a failing row does not end the test, and the database is emptied
after each row.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

Test = Callable[..., None]
#: The type of the fixture `row`: a context manager around each row, given its name.
Row = Callable[[str], AbstractContextManager[None]]


def each(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test with the values of each row, like `parametrize`. Stacked decorators run all combinations."""
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
        remaining = [parameter for name, parameter in signature.parameters.items() if name not in combined[0]]
        remaining.append(inspect.Parameter("row", inspect.Parameter.POSITIONAL_OR_KEYWORD))
        all_rows.__signature__ = signature.replace(parameters=remaining)  # type: ignore[attr-defined]
        all_rows.rows, all_rows.body = combined, body  # type: ignore[attr-defined]
        return all_rows

    return decorate


def _short(value: object) -> str:
    shown = getattr(value, "__name__", None) or repr(value)
    return shown if len(shown) < 60 else f"{shown[:57]}..."

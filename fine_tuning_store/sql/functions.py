"""SQL functions that are written differently on each database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import FunctionElement, Text
from sqlalchemy.ext.compiler import compiles


class as_text(FunctionElement[str]):  # noqa: N801 - named like an SQL function
    """The text of a JSON column, before a driver decodes it."""

    type = Text()
    inherit_cache = True


class json_map(FunctionElement[str]):  # noqa: N801 - named like an SQL function
    """An aggregate: the text of one JSON object, made from a key and a value of each row. NULL or `{}` without rows."""

    type = Text()
    inherit_cache = True


@compiles(as_text)
def _(element: as_text, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(as_text, "postgresql")
def _(element: as_text, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS TEXT)"


@compiles(json_map, "sqlite")
def _(element: json_map, compiler: Any, **options: Any) -> str:
    return f"json_group_object({compiler.process(element.clauses, **options)})"


@compiles(json_map, "postgresql")
def _(element: json_map, compiler: Any, **options: Any) -> str:
    return f"CAST(json_object_agg({compiler.process(element.clauses, **options)}) AS TEXT)"


@compiles(json_map, "mysql")
@compiles(json_map, "mariadb")
def _(element: json_map, compiler: Any, **options: Any) -> str:
    return f"json_objectagg({compiler.process(element.clauses, **options)})"

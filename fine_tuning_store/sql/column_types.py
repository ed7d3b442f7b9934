"""Column types that behave alike on every database; their variants live here and nowhere else."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Dialect, Double, FunctionElement, String, Text, TypeDecorator
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeEngine, UserDefinedType

#: On MariaDB every text of ours compares bytewise and without padding; SQLite does so by itself, PostgreSQL by collation "C".
MARIADB_TABLE = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_nopad_bin"}
TABLE_OPTIONS = {f"{name}_{option}": value for name in ("mysql", "mariadb") for option, value in MARIADB_TABLE.items()}


def identifier(length: int) -> String:
    """A text of up to `length` characters that is compared and sorted byte by byte."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


#: A text of any length.
LongText = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
#: Unix seconds, token counts, seeds.
Integer64 = BigInteger()
#: A double-precision number.
Number: Double[float] = Double()


class _PostgresqlJson(UserDefinedType[str]):
    """PostgreSQL's `json`, which keeps a text as it was written. The text is ours: no serializer of the host's engine takes part."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "JSON"


class Json(TypeDecorator[Any]):
    """A JSON value, kept as text that comes back value-equal."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's own type."""
        return dialect.type_descriptor(_JSON_IMPL.get(dialect.name, Text()))

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Value to text."""
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Text to value."""
        return None if value is None else json.loads(value)

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Read the text, whatever the driver would make of the column's own type."""
        return as_text(column)


_JSON_IMPL: dict[str, TypeEngine[Any]] = {"postgresql": _PostgresqlJson(), "mysql": LONGTEXT(), "mariadb": LONGTEXT()}


class as_text(FunctionElement[str]):  # noqa: N801 - named like an SQL function
    """A JSON column as the text it is, before a driver decodes it."""

    type = Text()
    inherit_cache = True


class json_map(FunctionElement[str]):  # noqa: N801 - named like an SQL function
    """An aggregate: one JSON object, as text, from a key and a value of each row. NULL or `{}` where there is no row."""

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

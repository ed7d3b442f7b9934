"""Column types that behave alike on every database; their variants live here and nowhere else."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Dialect, Double, FunctionElement, String, Text, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import UserDefinedType

# MariaDB's default collations ignore case and trailing blanks. Named types of SQLAlchemy's dialects would say all this too, but
# to import them loads the dialects, which costs more than all of this package.
_MARIADB_BYTEWISE = "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"


class Identifier(String):
    """A text of limited length that is compared and sorted byte by byte, without padding, on every database."""

    cache_ok = True


class LongText(Text):
    """A text of any length."""

    cache_ok = True


@compiles(Identifier, "postgresql")
def _(type_: Identifier, compiler: Any, **options: Any) -> str:
    return f'{compiler.visit_VARCHAR(type_, **options)} COLLATE "C"'


@compiles(Identifier, "mysql")
@compiles(Identifier, "mariadb")
def _(type_: Identifier, compiler: Any, **options: Any) -> str:
    return f"{compiler.visit_VARCHAR(type_, **options)} {_MARIADB_BYTEWISE}"


@compiles(LongText, "mysql")
@compiles(LongText, "mariadb")
def _(type_: LongText, compiler: Any, **options: Any) -> str:  # noqa: ARG001 - SQLAlchemy's signature
    return f"LONGTEXT {_MARIADB_BYTEWISE}"


#: Unix seconds, token counts, seeds.
Integer64 = BigInteger()
#: A double-precision number.
Number: Double[float] = Double()


class _JsonText(UserDefinedType[str]):
    """The column of a JSON value: PostgreSQL's `json`, which keeps a text as it was written, elsewhere a text.

    The text is ours on every database: no serializer of a host's engine takes part.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """For the databases without a type of their own for it."""
        return "TEXT"


@compiles(_JsonText, "postgresql")
def _(type_: _JsonText, compiler: Any, **options: Any) -> str:  # noqa: ARG001 - SQLAlchemy's signature
    return "JSON"


@compiles(_JsonText, "mysql")
@compiles(_JsonText, "mariadb")
def _(type_: _JsonText, compiler: Any, **options: Any) -> str:  # noqa: ARG001 - SQLAlchemy's signature
    return f"LONGTEXT {_MARIADB_BYTEWISE}"


class Json(TypeDecorator[Any]):
    """A JSON value, kept as text that comes back value-equal."""

    impl = _JsonText
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Value to text."""
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Text to value."""
        return None if value is None else json.loads(value)

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Read the text, whatever the driver would make of the column's own type."""
        return as_text(column)


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

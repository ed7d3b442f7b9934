"""SQL functions that are written differently on each database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Dialect, FunctionElement, Text, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import NullType


class as_text(FunctionElement[str]):  # noqa: N801 - named like an SQL function
    """The text of a JSON column, before a driver decodes it."""

    type = Text()
    inherit_cache = True


class json_map(FunctionElement[str]):  # noqa: N801 - named like an SQL function
    """An aggregate: the text of one JSON object, made from a key and a value of each row. NULL or `{}` without rows."""

    type = Text()
    inherit_cache = True


class quotient(FunctionElement[int]):  # noqa: N801 - named like an SQL function
    """The quotient of two integers without its fraction, which is cut off."""

    type = BigInteger()
    inherit_cache = True


class remainder(FunctionElement[int]):  # noqa: N801 - named like an SQL function
    """The remainder of the quotient of two integers, negative if the dividend is."""

    type = BigInteger()
    inherit_cache = True


class later(FunctionElement[int]):  # noqa: N801 - named like an SQL function
    """The greater of two times that are not NULL."""

    type = BigInteger()
    inherit_cache = True


class database_time(FunctionElement[int]):  # noqa: N801 - named like an SQL function
    """The time of the database's clock in Unix seconds. On PostgreSQL it goes on during a statement, and on MariaDB it does not."""

    type = BigInteger()
    inherit_cache = True


_DATABASE_TIME = {
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER)",
    "postgresql": "CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT)",
    **dict.fromkeys(("mysql", "mariadb"), "unix_timestamp()"),
}


class _ExactSum(TypeDecorator[int]):
    """The result of `exact_sum`: 0 without values."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> int:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the sum of a result: a number of whatever type, or the halves of one as SQLite returns them."""
        if isinstance(value, str):
            high, low = value.split()
            return (int(high) << 32) + int(low)
        return int(value or 0)


class exact_sum(FunctionElement[int]):  # noqa: N801 - named like an SQL function
    """An aggregate: the sum of a column of 64-bit integers, which may itself be larger. 0 without values."""

    type = _ExactSum()
    inherit_cache = True


class count_if(FunctionElement[int]):  # noqa: N801 - named like an SQL function
    """An aggregate: the number of rows that fulfil a condition."""

    type = BigInteger()
    inherit_cache = True


class percentiles(FunctionElement[Any]):  # noqa: N801 - named like an SQL function
    """An aggregate of PostgreSQL: the list of the median and the 90th and 99th percentile of a column, NULL without values."""

    type = NullType()
    inherit_cache = True


class _TimeAndId(TypeDecorator[Any]):
    """The result of `last_of`: a tuple of a time and an id."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[int, str]:  # noqa: ARG002 - SQLAlchemy's signature
        """Take the text apart."""
        text = str(value)
        return int(text[1:20]) - (0 if text[0] == "1" else 2**63), text[20:]


class last_of(FunctionElement[Any]):  # noqa: N801 - named like an SQL function
    """An aggregate: the greatest pair of a time and an id. No database but the newest PostgreSQL has one, so it compares texts."""

    type = _TimeAndId()
    inherit_cache = True


class on_postgresql(FunctionElement[bool]):  # noqa: N801 - named like an SQL function
    """The first of two conditions on PostgreSQL, the second on other databases. Its type is not Boolean, which SQLite compares with 1."""

    inherit_cache = True


@compiles(on_postgresql)
def _(element: on_postgresql, compiler: Any, **options: Any) -> str:
    _, condition = element.clauses
    return f"({compiler.process(condition, **options)})"


@compiles(on_postgresql, "postgresql")
def _(element: on_postgresql, compiler: Any, **options: Any) -> str:
    condition, _ = element.clauses
    return f"({compiler.process(condition, **options)})"


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


@compiles(quotient)
def _(element: quotient, compiler: Any, **options: Any) -> str:
    dividend, divisor = element.clauses
    return f"(({compiler.process(dividend, **options)}) / {compiler.process(divisor, **options)})"


@compiles(quotient, "mysql")
@compiles(quotient, "mariadb")
def _(element: quotient, compiler: Any, **options: Any) -> str:
    dividend, divisor = element.clauses
    return f"(({compiler.process(dividend, **options)}) DIV {compiler.process(divisor, **options)})"


@compiles(remainder)
def _(element: remainder, compiler: Any, **options: Any) -> str:
    dividend, divisor = element.clauses
    return str(compiler.process(dividend % divisor, **options))


@compiles(remainder, "mysql")
@compiles(remainder, "mariadb")
def _(element: remainder, compiler: Any, **options: Any) -> str:
    """Use a word: `%` is a syntax error in sql_mode=ORACLE."""
    dividend, divisor = element.clauses
    return f"(({compiler.process(dividend, **options)}) MOD {compiler.process(divisor, **options)})"


@compiles(later)
def _(element: later, compiler: Any, **options: Any) -> str:
    return f"greatest({compiler.process(element.clauses, **options)})"


@compiles(later, "sqlite")
def _(element: later, compiler: Any, **options: Any) -> str:
    return f"max({compiler.process(element.clauses, **options)})"


@compiles(database_time)
def _(_element: database_time, compiler: Any, **_options: Any) -> str:
    return _DATABASE_TIME[compiler.dialect.name]


@compiles(count_if)
def _(element: count_if, compiler: Any, **options: Any) -> str:
    return f"count(*) FILTER (WHERE {compiler.process(element.clauses, **options)})"


@compiles(count_if, "mysql")
@compiles(count_if, "mariadb")
def _(element: count_if, compiler: Any, **options: Any) -> str:
    return f"count(CASE WHEN {compiler.process(element.clauses, **options)} THEN 1 END)"


@compiles(exact_sum)
def _(element: exact_sum, compiler: Any, **options: Any) -> str:
    return f"sum({compiler.process(element.clauses, **options)})"


@compiles(exact_sum, "sqlite")
def _(element: exact_sum, compiler: Any, **options: Any) -> str:
    """Sum two halves: the sum of SQLite fails if it exceeds 64 bits."""
    value = compiler.process(element.clauses, **options)
    return f"(sum({value} >> 32) || ' ' || sum({value} & 4294967295))"


@compiles(percentiles, "postgresql")
def _(element: percentiles, compiler: Any, **options: Any) -> str:
    return f"percentile_cont(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY {compiler.process(element.clauses, **options)})"


def _greatest(element: last_of, compiler: Any, options: Any, join: str) -> str:
    """Return the maximum of texts that `join` makes of a sign, a number without one, and the id."""
    time, id = (compiler.process(clause, **options) for clause in element.clauses)
    texts = (join.format(sign=sign, number=number, id=id) for sign, number in ((0, f"{time} + {2**63 - 1} + 1"), (1, time)))
    return "max(CASE WHEN {} < 0 THEN {} ELSE {} END)".format(time, *texts)


@compiles(last_of, "sqlite")
def _(element: last_of, compiler: Any, **options: Any) -> str:
    return _greatest(element, compiler, options, "'{sign}' || printf('%019d', {number}) || {id}")


@compiles(last_of, "postgresql")
def _(element: last_of, compiler: Any, **options: Any) -> str:
    return _greatest(element, compiler, options, "('{sign}' || lpad(CAST({number} AS TEXT), 19, '0') || {id}) COLLATE \"C\"")


@compiles(last_of, "mysql")
@compiles(last_of, "mariadb")
def _(element: last_of, compiler: Any, **options: Any) -> str:
    return _greatest(element, compiler, options, "concat('{sign}', lpad({number}, 19, '0'), {id})")

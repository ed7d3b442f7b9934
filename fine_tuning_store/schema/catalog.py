"""The comparison of a database's catalog with what a revision makes.

Both sides are mappings from things, like an index of a table, to descriptions of them. Databases return types, checks and defaults in
their own words, so both sides are normalized.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CheckConstraint, Connection, DefaultClause, Dialect, ForeignKeyConstraint, Inspector, Table, bindparam, inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import CompileError
from sqlalchemy.types import TypeEngine

from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.revisions import SCHEMA_NUMBER, Thing, added_after
from fine_tuning_store.sql.models import METADATA

#: Descriptions of things.
Catalog = dict[Thing, str]


@dataclass(frozen=True, slots=True)
class SchemaDifference:
    """One difference between the tables of a database and those of a revision. Its text is a sentence."""

    kind: str  #: table, column, primary key, foreign key, check, index, unique constraint, or exclusion constraint
    table: str
    name: str | None  #: None for a table and for a primary key
    expected: str | None  #: the description of what should exist, None if nothing should
    found: str | None  #: the description of what exists, None if nothing does

    def __str__(self) -> str:
        thing = Thing(self.kind, self.table, self.name)
        if self.found is None:
            return f"missing: {thing} {self.expected}".rstrip()
        if self.expected is None:
            return f"unexpected: {thing} {self.found}".rstrip()
        return f"different: {thing} is {self.found or 'nothing'}, not {self.expected or 'nothing'}"

    @property
    def is_loss(self) -> bool:
        """True if a table or a column is missing."""
        return self.found is None and self.kind in ("table", "column")

    @property
    def is_harmless(self) -> bool:
        """True if it is an additional index that rejects no row."""
        return self.expected is None and self.kind == "index" and not (self.found or "").startswith("unique")


def differences(connection: Connection, schema: str | None = None, number: int = SCHEMA_NUMBER) -> tuple[SchemaDifference, ...]:
    """Compare the catalog with what the revision of a schema number makes, in alphabetical order.

    A missing table is one difference; its columns and indexes are not listed.
    """
    expected, found = expected_catalog(connection.dialect, number), read_catalog(connection, schema)
    missing = {thing.table for thing in expected.keys() - found.keys() if thing.kind == "table"}
    return tuple(
        SchemaDifference(*thing, expected.get(thing), found.get(thing))
        for thing in sorted(expected.keys() | found.keys(), key=str)
        if expected.get(thing) != found.get(thing) and (thing.kind == "table" or thing.table not in missing)
    )


def expected_catalog(dialect: Dialect, number: int) -> Catalog:
    """Return what the revision of a schema number makes."""
    later = added_after(number)
    things: Catalog = {}
    for table in METADATA.sorted_tables:
        if Thing("table", table.name) not in later:
            things |= _expected_table(table, dialect)
    return {thing: description for thing, description in things.items() if thing not in later}


def _expected_table(table: Table, dialect: Dialect) -> Catalog:
    things = {Thing("table", table.name): "", Thing("primary key", table.name): _listed(table.primary_key.columns.keys())}
    for column in table.columns:
        default = column.server_default.arg if isinstance(column.server_default, DefaultClause) else None
        things[Thing("column", table.name, column.name)] = _column(_type(column.type, dialect), bool(column.nullable), default)
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            things[Thing("check", table.name, str(constraint.name))] = _normalized(constraint.sqltext)
        elif isinstance(constraint, ForeignKeyConstraint):
            things[Thing("foreign key", table.name, str(constraint.name))] = _foreign_key(
                constraint.column_keys,
                constraint.referred_table.name,
                [key.column.name for key in constraint.elements],
                {"ondelete": constraint.ondelete},
            )
    length_option = support_for(dialect).index_length_option
    for index in table.indexes:
        length = {} if length_option is None else index.dialect_kwargs.get(length_option) or {}
        things[Thing("index", table.name, index.name)] = _index([column.name for column in index.columns], bool(index.unique), length)
    return things


def read_catalog(connection: Connection, schema: str | None) -> Catalog:
    """Return what the database has of the store's tables."""
    inspector, support = inspect(connection), support_for(connection.dialect)
    names = sorted(set(METADATA.tables) & set(inspector.get_table_names(schema)))
    things = {Thing("table", name): "" for name in names}
    if not names:
        return things
    for read in (_columns_found, _keys_found, _checks_found, *((_indexes_found,) if support.reflects_indexes else ())):
        things.update(read(inspector, schema, names))
    for kind, table, name, fact in _rows(inspector, support.facts, schema, names):
        thing = Thing(kind, table, name)
        things[thing] = f"{things.get(thing, '')} {fact}".lstrip()
    return things


def _rows(inspector: Inspector, query: str, schema: str | None, names: list[str]) -> Sequence[Any]:
    """Run a query on the catalog about tables of these names."""
    connection = inspector.bind
    assert isinstance(connection, Connection)
    statement = text(query).bindparams(bindparam("names", expanding=True))
    return connection.execute(statement, {"names": names, "schema": schema}).all()


def _columns_found(inspector: Inspector, schema: str | None, names: list[str]) -> Iterator[tuple[Thing, str]]:
    support = support_for(inspector.dialect)
    rows = () if support.column_types is None else _rows(inspector, support.column_types, schema, names)
    types = {(table, column): support.column_type(*type_) for table, column, *type_ in rows}
    for (_, table), columns in inspector.get_multi_columns(schema, names).items():
        for column in columns:
            type_ = types.get((table, column["name"])) or _type(column["type"], inspector.dialect)
            yield Thing("column", table, column["name"]), _column(type_, column["nullable"], column["default"])


def _keys_found(inspector: Inspector, schema: str | None, names: list[str]) -> Iterator[tuple[Thing, str]]:
    for (_, table), key in inspector.get_multi_pk_constraint(schema, names).items():
        yield Thing("primary key", table), _listed(key["constrained_columns"] if key else ())
    for (_, table), foreign_keys in inspector.get_multi_foreign_keys(schema, names).items():
        for foreign in foreign_keys:
            prefix = "" if foreign["referred_schema"] == schema else f"{foreign['referred_schema']}."
            yield (
                Thing("foreign key", table, foreign["name"]),
                _foreign_key(
                    foreign["constrained_columns"],
                    prefix + foreign["referred_table"],
                    foreign["referred_columns"],
                    foreign.get("options", {}),
                ),
            )


def _checks_found(inspector: Inspector, schema: str | None, names: list[str]) -> Iterator[tuple[Thing, str]]:
    for (_, table), checks in inspector.get_multi_check_constraints(schema, names).items():
        for check in checks:
            invalid = " not valid" if check.get("dialect_options", {}).get("not_valid") else ""
            yield Thing("check", table, check["name"]), _normalized(check["sqltext"]) + invalid


def _indexes_found(inspector: Inspector, schema: str | None, names: list[str]) -> Iterator[tuple[Thing, str]]:
    for (_, table), indexes in inspector.get_multi_indexes(schema, names).items():
        for index in indexes:
            if index.get("duplicates_constraint") and not index["unique"]:
                continue  # the index of an exclusion constraint, which is listed itself
            yield Thing("index", table, index["name"]), _index_found(index)
    for (_, table), uniques in inspector.get_multi_unique_constraints(schema, names).items():
        for unique in uniques:
            if not unique.get("duplicates_index"):  # MariaDB lists each unique index here too
                yield Thing("unique constraint", table, unique["name"]), _listed(unique["column_names"])


def _type(type_: TypeEngine[Any], dialect: Dialect) -> str:
    try:
        return type_.compile(dialect=dialect)
    except CompileError:  # SQLAlchemy does not know it
        return "of an unknown type"


def _column(type_: str, nullable: bool, default: object) -> str:
    suffix = "" if default is None or _normalized(default) == "null" else f" default {_normalized(default)}"
    return f"{type_}{'' if nullable else ' not null'}{suffix}"


def _foreign_key(columns: Any, table: str, referred: Any, options: Mapping[str, Any]) -> str:
    actions = [f"{name} {value}".lower() for name, value in sorted(options.items()) if value]
    return " ".join((_listed(columns), "to", table, _listed(referred), *actions))


def _index(columns: list[str], unique: bool, length: Mapping[str, int], *more: str) -> str:
    shown = _listed(f"{column}({length[column]})" if column in length else column for column in columns)
    return " ".join((*(("unique",) if unique else ()), shown, *more))


def _index_found(index: ReflectedIndex) -> str:
    """Describe an index by its columns and everything else that distinguishes it."""
    options = {name.partition("_")[2]: value for name, value in index.get("dialect_options", {}).items() if value}
    more = [f"{name} {_normalized(value)}" for name, value in sorted(options.items()) if name not in ("length", "with", "invalid")]
    sorting = index.get("column_sorting", {})
    columns = [" ".join((str(name), *sorting.get(name or "", ()))) for name in index.get("expressions", index["column_names"])]
    return _index(columns, bool(index["unique"]), options.get("length", {}), *more)


def _listed(columns: Any) -> str:
    return f"({', '.join(columns)})"


def _normalized(sql: object) -> str:
    """Normalize an expression: without casts, parentheses and quotes around names, and with IN for = ANY.

    Two expressions that differ only in parentheses are taken for equal. Those of the store need none.
    """
    words = re.sub(r"::[a-z]+( varying| precision)?(\(\d+\))?(\[\])?", "", str(sql), flags=re.IGNORECASE)
    words = re.sub(r"= ANY\b", "in", words, flags=re.IGNORECASE)
    words = re.sub(r"'(-?\d+)'", r"\1", words)
    pieces = re.split(r"('(?:[^']|'')*')", re.sub(r"[`\"()\[\]]|\bARRAY\b", " ", words))
    shown = " ".join(piece if piece.startswith("'") else piece.lower() for piece in pieces)
    return re.sub(r"\s+", " ", shown).replace(" ,", ",").strip()

"""What a database holds of our tables, beside what a revision makes.

Each side is a mapping of things, like `index fine_tuning_jobs.ix_fine_tuning_jobs_model`, to how they are. Databases give types, checks
and defaults back in words of their own, so both sides are put into the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import CheckConstraint, Connection, DefaultClause, Dialect, ForeignKeyConstraint, Inspector, Table, bindparam, inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import CompileError
from sqlalchemy.types import TypeEngine

from fine_tuning_store.sql.dialects import traits_of
from fine_tuning_store.sql.models import METADATA, SCHEMA_NUMBER


class Revision(NamedTuple):
    """What a revision did, as far as the tables of the code do not tell."""

    oldest_code_number: int  #: the oldest code that may use its tables
    added: frozenset[str] = frozenset()  #: its tables, and its things in older tables


#: By schema number.
REVISIONS: Final[Mapping[int, Revision]] = {
    1: Revision(oldest_code_number=1),
    2: Revision(
        oldest_code_number=1,
        added=frozenset(
            {
                "column fine_tuning_jobs.event_count",
                "table fine_tuning_job_events",
                "table fine_tuning_job_checkpoints",
                "table fine_tuning_checkpoint_permissions",
            }
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be."""

    thing: str
    expected: str | None  #: None where there should be no such thing
    found: str | None  #: None where it is missing

    def __str__(self) -> str:
        if self.found is None:
            return f"missing: {self.thing} {self.expected}".rstrip()
        if self.expected is None:
            return f"unexpected: {self.thing} {self.found}".rstrip()
        return f"different: {self.thing} is {self.found or 'nothing'}, not {self.expected or 'nothing'}"

    @property
    def is_loss(self) -> bool:
        """Whether a table or a column is gone."""
        return self.found is None and self.thing.startswith(("table ", "column "))

    @property
    def is_harmless(self) -> bool:
        """Whether it is an index of the operator's own, which refuses no row."""
        return self.expected is None and self.thing.startswith("index ") and not (self.found or "").startswith("unique")


def differences(connection: Connection, schema: str | None = None, number: int = SCHEMA_NUMBER) -> tuple[Difference, ...]:
    """Whatever is not as the revision of that number makes it, in the order of names. A missing table stands for all that it has."""
    should, found = _expected(connection.dialect, number), _live(connection, schema)
    missing = {f"table {name}" for name in METADATA.tables} & should.keys() - found.keys()
    return tuple(
        Difference(thing, should.get(thing), found.get(thing))
        for thing in sorted(should.keys() | found.keys())
        if should.get(thing) != found.get(thing) and (thing in missing or f"table {_table_of(thing)}" not in missing)
    )


def _table_of(thing: str) -> str:
    """The name of the table in `index fine_tuning_jobs.ix_fine_tuning_jobs_model`."""
    return re.sub(r"^((primary|foreign) key|(unique|exclusion) constraint|\w+) ", "", thing).partition(".")[0]


def _expected(dialect: Dialect, number: int) -> dict[str, str]:
    later = frozenset().union(*(revision.added for each, revision in REVISIONS.items() if each > number))
    things: dict[str, str] = {}
    for table in METADATA.sorted_tables:
        if f"table {table.name}" not in later:
            things |= _expected_of(table, dialect)
    return {thing: how for thing, how in things.items() if thing not in later}


def _expected_of(table: Table, dialect: Dialect) -> dict[str, str]:
    prefixes = traits_of(dialect.name).index_prefixes
    things = {f"table {table.name}": "", f"primary key {table.name}": _listed(table.primary_key.columns.keys())}
    for column in table.columns:
        default = column.server_default.arg if isinstance(column.server_default, DefaultClause) else None
        things[f"column {table.name}.{column.name}"] = _column(_type(column.type, dialect), bool(column.nullable), default)
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            things[f"check {table.name}.{constraint.name}"] = _plain(constraint.sqltext)
        elif isinstance(constraint, ForeignKeyConstraint):
            things[f"foreign key {table.name}.{constraint.name}"] = _foreign_key(
                constraint.column_keys,
                constraint.referred_table.name,
                [key.column.name for key in constraint.elements],
                {"ondelete": constraint.ondelete},
            )
    for index in table.indexes:
        length = index.dialect_options["mysql"]["length"] if prefixes else {}
        things[f"index {table.name}.{index.name}"] = _index([column.name for column in index.columns], bool(index.unique), length)
    return things


def _live(connection: Connection, schema: str | None) -> dict[str, str]:
    inspector, traits = inspect(connection), traits_of(connection.dialect.name)
    names = sorted(set(METADATA.tables) & set(inspector.get_table_names(schema)))
    things = {f"table {name}": "" for name in names}
    if not names:
        return things
    for read in (_columns_found, _keys_found, _checks_found, *((_indexes_found,) if traits.reflects_indexes else ())):
        things.update(read(inspector, schema, names))
    for thing, fact in _rows(inspector, traits.facts, schema, names):
        things[thing] = f"{things.get(thing, '')} {fact}".lstrip()
    return things


def _rows(inspector: Inspector, query: str, schema: str | None, names: list[str]) -> Sequence[Any]:
    """What a query on the catalog finds of the tables of these names."""
    connection = inspector.bind
    assert isinstance(connection, Connection)
    told = text(query).bindparams(bindparam("names", expanding=True))
    return connection.execute(told, {"names": names, "schema": schema}).all()


def _columns_found(inspector: Inspector, schema: str | None, names: list[str]) -> Iterator[tuple[str, str]]:
    query = traits_of(inspector.dialect.name).column_types
    rows = () if query is None else _rows(inspector, query, schema, names)
    types = {(table, column): _type_told(*of_the_type) for table, column, *of_the_type in rows}
    for (_, table), columns in inspector.get_multi_columns(schema, names).items():
        for column in columns:
            type_ = types.get((table, column["name"])) or _type(column["type"], inspector.dialect)
            yield f"column {table}.{column['name']}", _column(type_, column["nullable"], column["default"])


def _keys_found(inspector: Inspector, schema: str | None, names: list[str]) -> Iterator[tuple[str, str]]:
    for (_, table), key in inspector.get_multi_pk_constraint(schema, names).items():
        yield f"primary key {table}", _listed(key["constrained_columns"] if key else ())
    for (_, table), foreign_keys in inspector.get_multi_foreign_keys(schema, names).items():
        for foreign in foreign_keys:
            elsewhere = "" if foreign["referred_schema"] == schema else f"{foreign['referred_schema']}."
            yield (
                f"foreign key {table}.{foreign['name']}",
                _foreign_key(
                    foreign["constrained_columns"],
                    elsewhere + foreign["referred_table"],
                    foreign["referred_columns"],
                    foreign.get("options", {}),
                ),
            )


def _checks_found(inspector: Inspector, schema: str | None, names: list[str]) -> Iterator[tuple[str, str]]:
    for (_, table), checks in inspector.get_multi_check_constraints(schema, names).items():
        for check in checks:
            invalid = " not valid" if check.get("dialect_options", {}).get("not_valid") else ""
            yield f"check {table}.{check['name']}", _plain(check["sqltext"]) + invalid


def _indexes_found(inspector: Inspector, schema: str | None, names: list[str]) -> Iterator[tuple[str, str]]:
    for (_, table), indexes in inspector.get_multi_indexes(schema, names).items():
        for index in indexes:
            if index.get("duplicates_constraint") and not index["unique"]:
                continue  # that of an exclusion constraint, which is a thing of its own
            yield f"index {table}.{index['name']}", _index_found(index)
    for (_, table), uniques in inspector.get_multi_unique_constraints(schema, names).items():
        for unique in uniques:
            if not unique.get("duplicates_index"):  # MariaDB tells each of its unique indexes twice
                yield f"unique constraint {table}.{unique['name']}", _listed(unique["column_names"])


def _type_told(type_: str, character_set: str | None, collation: str | None) -> str:
    """A type in MariaDB's own words. The width of an integer is no more than what it is shown in."""
    shown = re.sub(r"^(smallint|int|bigint)\(\d+\)", r"\1", type_).upper().replace("TINYINT(1)", "BOOL")
    return shown if collation is None else f"{shown} CHARACTER SET {character_set} COLLATE {collation}"


def _type(type_: TypeEngine[Any], dialect: Dialect) -> str:
    try:
        return type_.compile(dialect=dialect)
    except CompileError:  # SQLAlchemy does not know it
        return "of an unknown type"


def _column(type_: str, nullable: bool, default: object) -> str:
    said = "" if default is None or _plain(default) == "null" else f" default {_plain(default)}"
    return f"{type_}{'' if nullable else ' not null'}{said}"


def _foreign_key(columns: Any, table: str, referred: Any, options: Mapping[str, Any]) -> str:
    said = [f"{name} {value}".lower() for name, value in sorted(options.items()) if value]
    return " ".join((_listed(columns), "to", table, _listed(referred), *said))


def _index(columns: list[str], unique: bool, length: Mapping[str, int], *more: str) -> str:
    shown = _listed(f"{column}({length[column]})" if column in length else column for column in columns)
    return " ".join((*(("unique",) if unique else ()), shown, *more))


def _index_found(index: ReflectedIndex) -> str:
    """An index as it is there, with whatever makes it another one than its columns say."""
    options = {name.partition("_")[2]: value for name, value in index.get("dialect_options", {}).items() if value}
    more = [f"{name} {_plain(value)}" for name, value in sorted(options.items()) if name not in ("length", "with", "invalid")]
    if options.get("invalid"):
        more.append("invalid")
    sorting = index.get("column_sorting", {})
    columns = [" ".join((str(name), *sorting.get(name or "", ()))) for name in index.get("expressions", index["column_names"])]
    return _index(columns, bool(index["unique"]), options.get("length", {}), *more)


def _listed(columns: Any) -> str:
    return f"({', '.join(columns)})"


def _plain(sql: object) -> str:
    """An expression in words that all databases share: without casts, brackets, quotes around names, and other words for IN.

    So two expressions that differ in nothing but brackets are taken for equal; none of ours needs any.
    """
    words = re.sub(r"::[a-z]+( varying| precision)?(\(\d+\))?(\[\])?", "", str(sql), flags=re.IGNORECASE)
    words = re.sub(r"= ANY\b", "in", words, flags=re.IGNORECASE)
    words = re.sub(r"'(-?\d+)'", r"\1", words)
    pieces = re.split(r"('(?:[^']|'')*')", re.sub(r"[`\"()\[\]]|\bARRAY\b", " ", words))
    shown = " ".join(piece if piece.startswith("'") else piece.lower() for piece in pieces)
    return re.sub(r"\s+", " ", shown).replace(" ,", ",").strip()

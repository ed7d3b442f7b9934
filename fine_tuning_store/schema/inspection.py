"""Facts about a database's tables and their history, read without judgement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Inspector, String, inspect, select, table

from fine_tuning_store.schema.checks import USUAL_VERSION_TABLE
from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.revisions import PREFIX
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE, compatibility
from fine_tuning_store.sql.queries.jobs import COMPATIBILITY
from fine_tuning_store.sql.schema_option import options_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The tables of a database and their history."""

    tables: frozenset[str]  #: the existing tables that have the store's names
    has_history: bool  #: whether the version table exists
    revisions: tuple[str, ...]  #: the store's revisions in it
    is_shared: bool  #: whether it also holds an application's revisions
    elsewhere: str | None  #: another version table that holds the store's revisions
    schema_number: int | None
    oldest_code_number: int | None
    problems: tuple[str, ...]  #: why some of this could not be read, or not all text could be stored


def find(connection: Connection, schema: str | None, host_version_table: str | None) -> Findings:
    """Read the names of the tables, the version table and the compatibility row, whatever their columns are."""
    inspector = inspect(connection)
    present = {*inspector.get_table_names(schema), *inspector.get_view_names(schema)}
    history = host_version_table or VERSION_TABLE
    unencodable = support_for(connection.dialect).encoding_error(connection)
    problems = [] if unencodable is None else [str(unencodable)]
    numbers: tuple[Any, Any] | None = None
    rows = _versions(connection, inspector, schema, history) if history in present else ()
    if rows is None:
        problems.append(f"{history} exists, but it is not a version table of Alembic")
    if compatibility.name in present:
        if set(compatibility.columns.keys()) <= _columns(inspector, schema, compatibility.name):
            found = connection.execute(COMPATIBILITY, execution_options=options_of(schema)).all()
            numbers = (found[0].schema_number, found[0].oldest_code_number) if found else None
            if len(found) > 1 or not all(isinstance(number, int) for number in numbers or ()) or (numbers and numbers[1] > numbers[0]):
                problems.append(f"{compatibility.name} does not hold exactly one row of two numbers")
                numbers = None
        else:
            problems.append(f"{compatibility.name} exists, but without its columns")
    revisions = tuple(sorted(row for row in rows or () if host_version_table is None or row.startswith(PREFIX)))
    return Findings(
        tables=frozenset(present & set(METADATA.tables)),
        has_history=history in present,
        revisions=revisions,
        is_shared=len(revisions) < len(rows or ()),
        elsewhere=None if revisions else _elsewhere(connection, inspector, schema, host_version_table, present),
        schema_number=None if numbers is None else numbers[0],
        oldest_code_number=None if numbers is None else numbers[1],
        problems=tuple(problems),
    )


def _elsewhere(
    connection: Connection, inspector: Inspector, schema: str | None, host_version_table: str | None, present: set[str]
) -> str | None:
    if host_version_table is not None:
        return VERSION_TABLE if VERSION_TABLE in present and host_version_table != VERSION_TABLE else None
    rows = _versions(connection, inspector, schema, USUAL_VERSION_TABLE) if USUAL_VERSION_TABLE in present else ()
    return USUAL_VERSION_TABLE if any(row.startswith(PREFIX) for row in rows or ()) else None


def _versions(connection: Connection, inspector: Inspector, schema: str | None, name: str) -> tuple[str, ...] | None:
    """Return the revisions in a version table, None if the table is not one."""
    version: Column[str] = Column("version_num", String())
    if version.name not in _columns(inspector, schema, name):
        return None
    return tuple(map(str, connection.scalars(select(version).select_from(table(name, schema=schema)))))


def _columns(inspector: Inspector, schema: str | None, name: str) -> set[str]:
    return {column["name"] for column in inspector.get_columns(name, schema)}

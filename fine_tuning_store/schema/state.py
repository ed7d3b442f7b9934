"""How far a database is, beside the code at hand, and what to run next. Nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Connection, Inspector, Table, column, inspect, select, table

from fine_tuning_store.schema.scripts import PREFIX, revision_of
from fine_tuning_store.sql import catalog
from fine_tuning_store.sql.named_schema import options_of
from fine_tuning_store.sql.statements import compatible_numbers
from fine_tuning_store.sql.tables import METADATA, SCHEMA_NUMBER, VERSION_TABLE, compatibility, jobs

#: Alembic's own name for a version table, which most applications keep.
_USUAL_VERSION_TABLE: Final = "alembic_version"


class SchemaStatus(StrEnum):
    """How the tables of a database stand to the code at hand."""

    EMPTY = "empty"  #: none of our tables is there
    BEHIND = "behind"  #: an upgrade is to be run, or to be finished
    CURRENT = "current"  #: they are what this release makes
    AHEAD_COMPATIBLE = "ahead_compatible"  #: a newer release made them and lets this one use them
    AHEAD_INCOMPATIBLE = "ahead_incompatible"  #: a newer release made them, and this one may not use them
    UNUSABLE = "unusable"  #: they are another application's, in no history, or damaged


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """How far a database is, and what to run next."""

    status: SchemaStatus
    revision: str | None  #: what the version table says, None where there is none
    schema_number: int | None  #: the number of the database's schema, None where it says none
    oldest_code_number: int | None  #: the oldest code that may use it
    code_number: int  #: the schema number of this release
    problems: tuple[str, ...]  #: what is wrong, one line each; never empty where the tables are unusable
    command: str | None  #: what to run next, None where nothing is to be done, or nothing that a command could do

    @property
    def is_usable(self) -> bool:
        """Whether this release may use the tables as they are."""
        return self.status in (SchemaStatus.CURRENT, SchemaStatus.AHEAD_COMPATIBLE)


class _Commands(NamedTuple):
    upgrade: str
    downgrade: str
    adopt: str


_OWN: Final = _Commands("fine-tuning-store db upgrade", "fine-tuning-store db downgrade {}", "fine-tuning-store db adopt")
_HOSTS: Final = _Commands("alembic upgrade heads", "alembic downgrade fine_tuning_store@{}", "alembic stamp fine_tuning_store@head")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a database says of itself."""

    tables: frozenset[str]  #: those of our names
    has_history: bool  #: whether the version table is there
    revisions: tuple[str, ...]  #: those of ours in it
    is_shared: bool  #: whether an application's are in it too
    elsewhere: str | None  #: another version table, in which our revisions are
    numbers: tuple[int, int] | None  #: the schema's, and that of the oldest code
    problems: tuple[str, ...]  #: why all this could not be read


class _Verdict(NamedTuple):
    status: SchemaStatus
    problems: tuple[str, ...] = ()
    command: str | None = None


def look(connection: Connection, schema: str | None, version_table: str | None) -> SchemaState:
    """The state of the database. Never raises for what it finds there."""
    found = _find(connection, schema, version_table)
    verdict = _judge(connection, schema, found, _OWN if version_table is None else _HOSTS)
    schema_number, oldest_code_number = found.numbers or (None, None)
    left_out = found.is_shared and not found.revisions and verdict.status in (SchemaStatus.BEHIND, SchemaStatus.CURRENT)
    return SchemaState(
        status=verdict.status,
        revision=revision_of(schema_number) if left_out and schema_number else next(iter(found.revisions), None),
        schema_number=schema_number,
        oldest_code_number=oldest_code_number,
        code_number=SCHEMA_NUMBER,
        problems=verdict.problems,
        command=verdict.command,
    )


def equal_number(connection: Connection, schema: str | None, said: int | None) -> int | None:
    """The number of the schema that the catalog is equal to: the one that the database says, or else the newest that is."""
    for number in range(SCHEMA_NUMBER, 0, -1) if said is None else (said,):
        if number in catalog.REVISIONS and not catalog.differences(connection, schema, number):
            return number
    return None


def history_elsewhere(connection: Connection, schema: str | None, version_table: str | None) -> str | None:
    """Another version table than the store's, in which our revisions are."""
    inspector = inspect(connection)
    if version_table is None:
        found = _rows(connection, inspector, schema, _USUAL_VERSION_TABLE) if inspector.has_table(_USUAL_VERSION_TABLE, schema) else ()
        return _USUAL_VERSION_TABLE if any(row.startswith(PREFIX) for row in found or ()) else None
    return VERSION_TABLE if inspector.has_table(VERSION_TABLE, schema) else None


def _find(connection: Connection, schema: str | None, version_table: str | None) -> _Found:
    inspector = inspect(connection)
    present = set(inspector.get_table_names(schema))
    history = version_table or VERSION_TABLE
    rows: tuple[str, ...] | None = _rows(connection, inspector, schema, history) if history in present else ()
    numbers: tuple[int, int] | None = None
    problems = [] if rows is not None else [f"{history} is there, but it is no version table of Alembic"]
    if compatibility.name in present:
        if not _has(inspector, schema, compatibility):
            problems.append(f"{compatibility.name} is there, but without its columns")
        else:
            found = connection.execute(compatible_numbers(), execution_options=options_of(schema)).all()
            numbers = (found[0][0], found[0][1]) if found else None
            if len(found) > 1 or (numbers and not all(isinstance(number, int) for number in numbers)):
                numbers = None
                problems.append(f"{compatibility.name} must have one row of two numbers")
    revisions = tuple(sorted(row for row in rows or () if row.startswith(PREFIX) or version_table is None))
    return _Found(
        tables=frozenset(present & set(METADATA.tables)),
        has_history=history in present,
        revisions=revisions,
        is_shared=len(revisions) < len(rows or ()),
        elsewhere=None if revisions else history_elsewhere(connection, schema, version_table),
        numbers=numbers,
        problems=tuple(problems),
    )


def _rows(connection: Connection, inspector: Inspector, schema: str | None, name: str) -> tuple[str, ...] | None:
    """What a version table holds, None where it is none."""
    version = column("version_num")
    if version.name not in {found["name"] for found in inspector.get_columns(name, schema)}:
        return None
    return tuple(map(str, connection.scalars(select(version).select_from(table(name, version, schema=schema)))))


def _has(inspector: Inspector, schema: str | None, expected: Table) -> bool:
    return set(expected.columns.keys()) <= {found["name"] for found in inspector.get_columns(expected.name, schema)}


def _judge(connection: Connection, schema: str | None, found: _Found, commands: _Commands) -> _Verdict:
    said = found.numbers[0] if found.numbers else None
    if found.problems:
        return _Verdict(SchemaStatus.UNUSABLE, found.problems)
    if not found.tables and not found.revisions:
        return _Verdict(SchemaStatus.EMPTY, command=commands.upgrade)
    if found.elsewhere is not None:
        return _of_another_history(found.elsewhere, commands)
    if len(found.revisions) > 1:
        return _Verdict(SchemaStatus.UNUSABLE, (f"the version table has several of our revisions: {', '.join(found.revisions)}",))
    if found.numbers is not None and found.numbers[0] > SCHEMA_NUMBER:
        return _ahead(*found.numbers)
    if not found.revisions and not (found.is_shared and said):  # Alembic leaves out a revision that one of an application's depends on
        return _without_revision(connection, schema, found, commands)
    number = said if not found.revisions else {revision_of(each): each for each in catalog.REVISIONS}.get(found.revisions[0])
    if number not in catalog.REVISIONS:
        unknown = f"the version table says {', '.join(found.revisions)}, a revision that neither this release nor the tables know"
        return _Verdict(SchemaStatus.UNUSABLE, (unknown,))
    damage = catalog.differences(connection, schema, number)
    if number < SCHEMA_NUMBER:  # what a later revision changes is as it was: only what is gone is damage
        damage = tuple(each for each in damage if each.is_loss)
    lines = tuple(map(str, damage))
    if said is None or said < number:
        cut_off = f"the version table says {revision_of(number)}, but {compatibility.name} says {said or 'nothing'}"
        return _Verdict(SchemaStatus.UNUSABLE, (cut_off, *lines), _finish(found, damage, commands))
    if not all(each.is_harmless for each in damage):
        return _Verdict(SchemaStatus.UNUSABLE, lines)
    if number < SCHEMA_NUMBER:
        return _Verdict(SchemaStatus.BEHIND, lines, commands.upgrade)
    return _Verdict(SchemaStatus.CURRENT, lines)


def _of_another_history(elsewhere: str, commands: _Commands) -> _Verdict:
    if commands is _HOSTS:
        problem = f"the fine-tuning tables have a history of their own in {elsewhere!r}: open the store without version_table"
        return _Verdict(SchemaStatus.UNUSABLE, (problem,))
    problem = f"the fine-tuning tables belong to the history in {elsewhere!r}: open the store with version_table={elsewhere!r}"
    return _Verdict(SchemaStatus.UNUSABLE, (problem,), _HOSTS.upgrade)


def _ahead(schema_number: int, oldest_code_number: int) -> _Verdict:
    if oldest_code_number <= SCHEMA_NUMBER:
        return _Verdict(SchemaStatus.AHEAD_COMPATIBLE)
    problem = f"schema {schema_number} needs code of schema {oldest_code_number} or later, and this code is of schema {SCHEMA_NUMBER}"
    return _Verdict(SchemaStatus.AHEAD_INCOMPATIBLE, (problem,), "pip install --upgrade fine-tuning-store")


def _without_revision(connection: Connection, schema: str | None, found: _Found, commands: _Commands) -> _Verdict:
    """Tables of our names, and no revision that made them."""
    if compatibility.name not in found.tables:
        foreign = ", ".join(sorted(found.tables))
        return _Verdict(SchemaStatus.UNUSABLE, (f"tables of another application have our names: {foreign}",))
    said = found.numbers[0] if found.numbers else None
    number = equal_number(connection, schema, said)
    no_history = "the fine-tuning tables are there, but no version table says which revision made them"
    if number is not None and (commands is _OWN or number == SCHEMA_NUMBER):
        return _Verdict(SchemaStatus.UNUSABLE, (no_history,), commands.adopt)
    if found.has_history:
        return _Verdict(SchemaStatus.BEHIND, ("an upgrade was cut off",), commands.upgrade)
    differences = catalog.differences(connection, schema, said if said in catalog.REVISIONS else SCHEMA_NUMBER)
    return _Verdict(SchemaStatus.UNUSABLE, (no_history, *map(str, differences)))


def _finish(found: _Found, damage: tuple[catalog.Difference, ...], commands: _Commands) -> str | None:
    """How to finish a downgrade that was cut off: its revision wrote the lower number first, and the first one drops its jobs last."""
    if found.numbers is not None:
        return commands.downgrade.format(revision_of(found.numbers[0])).replace("fine_tuning_store@fine", "fine")
    if jobs.name not in found.tables:
        return commands.downgrade.format("base")
    return commands.adopt if not damage and commands is _OWN else None

"""The state of a database relative to this release, and the command to run next. Nothing in this module writes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from shlex import quote
from typing import Final, NamedTuple

from sqlalchemy import Connection

from fine_tuning_store.schema.catalog import SchemaDifference, differences, expected_catalog, read_catalog
from fine_tuning_store.schema.inspection import Findings, find
from fine_tuning_store.schema.revisions import BRANCH, SCHEMA_NUMBER, number_of, revision_id
from fine_tuning_store.sql.dialects import database_for
from fine_tuning_store.sql.models import compatibility, jobs


class SchemaStatus(StrEnum):
    """The state of a database's tables relative to this release."""

    EMPTY = "empty"  #: none of the tables exists
    BEHIND = "behind"  #: an upgrade must be run, or finished
    CURRENT = "current"  #: the tables are those of this release
    AHEAD_COMPATIBLE = "ahead_compatible"  #: they are a newer release's, and this one may use them
    AHEAD_INCOMPATIBLE = "ahead_incompatible"  #: they are a newer release's, and this one may not use them
    UNUSABLE = "unusable"  #: they belong to another application, have no history, are damaged, or cannot hold all text


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """The state of a database, and the command to run next."""

    status: SchemaStatus
    revision: str | None  #: the revision in the version table, None if there is none
    schema_number: int | None  #: the schema number of the database, None if there is none
    oldest_code_number: int | None  #: the schema number of the oldest code that may use it
    code_number: int  #: the schema number of this release
    problems: tuple[SchemaDifference | str, ...]  #: what is wrong; the `str` of each is one line. Never empty if the tables are unusable
    command: str | None  #: the command to run next, None if nothing has to be done, or no command can do it
    is_read_only: bool = False  #: True for a read-only store, and on a standby or a read replica: run the command on the primary

    @property
    def is_usable(self) -> bool:
        """True if this release may use the tables as they are."""
        return self.status in (SchemaStatus.CURRENT, SchemaStatus.AHEAD_COMPATIBLE)


class Commands(NamedTuple):
    """The commands that change the schema. They depend on which application keeps its history."""

    upgrade: str
    downgrade: str
    base: str
    adopt: str


def store_commands(schema: str | None) -> Commands:
    """Return the commands for a store that keeps its own history."""
    option = "" if schema is None else f" --schema {quote(schema)}"
    upgrade, downgrade, adopt = (f"fine-tuning-store db {verb}{option}" for verb in ("upgrade", "downgrade", "adopt"))
    return Commands(upgrade, downgrade, "base", adopt)


HOST_COMMANDS: Final = Commands("alembic upgrade heads", "alembic downgrade", f"{BRANCH}@base", f"alembic stamp {BRANCH}@head")

_NO_HISTORY: Final = "the fine-tuning tables exist, but no version table names the revision that made them"


class _Verdict(NamedTuple):
    status: SchemaStatus
    problems: tuple[SchemaDifference | str, ...] = ()
    command: str | None = None
    revision: str | None = None


def look(connection: Connection, schema: str | None, host_version_table: str | None) -> SchemaState:
    """Return the state of the database. It raises nothing about what it finds there."""
    found = find(connection, schema, host_version_table)
    verdict = _judge(connection, schema, found, store_commands(schema) if host_version_table is None else HOST_COMMANDS)
    return SchemaState(
        status=verdict.status,
        revision=next(iter(found.revisions), verdict.revision),
        schema_number=found.schema_number,
        oldest_code_number=found.oldest_code_number,
        code_number=SCHEMA_NUMBER,
        problems=verdict.problems,
        command=verdict.command,
        is_read_only=database_for(connection.dialect).is_read_only(connection),
    )


def equal_number(connection: Connection, schema: str | None) -> int | None:
    """Return the schema number that the catalog is equal to, None if there is none.

    It is the oldest one: a later revision that changed only data has not run, as far as the catalog shows.
    """
    found = read_catalog(connection, schema)
    return next((number for number in range(1, SCHEMA_NUMBER + 1) if expected_catalog(connection.dialect, number) == found), None)


def _judge(connection: Connection, schema: str | None, found: Findings, commands: Commands) -> _Verdict:
    if found.problems:
        return _Verdict(SchemaStatus.UNUSABLE, found.problems)
    if not found.tables and not found.revisions:
        return _Verdict(SchemaStatus.EMPTY, command=commands.upgrade)
    if found.elsewhere is not None:
        return _in_another_history(found.elsewhere, commands)
    if found.schema_number is not None and found.schema_number > SCHEMA_NUMBER:
        return _ahead(found)
    return _in_its_history(connection, schema, found, commands)


def _in_its_history(connection: Connection, schema: str | None, found: Findings, commands: Commands) -> _Verdict:
    """Judge tables that no newer release has changed, and that are in the history that the store was opened with."""
    if len(found.revisions) > 1:
        return _Verdict(SchemaStatus.UNUSABLE, (f"the version table has several revisions of the store: {', '.join(found.revisions)}",))
    if not found.revisions and (not found.is_shared or found.schema_number is None):
        return _without_revision(connection, schema, found, commands)
    # The version table omits a revision on which one of an application's depends.
    revision = found.revisions[0] if found.revisions else revision_id(found.schema_number or 0)
    number = number_of(revision)
    if number is None:
        return _Verdict(SchemaStatus.UNUSABLE, (f"the tables are at revision {revision!r}, which this release does not know",))
    return _at(number, connection, schema, found, commands)


def _in_another_history(elsewhere: str, commands: Commands) -> _Verdict:
    if commands is HOST_COMMANDS:
        problem = f"the fine-tuning tables have a history of their own in {elsewhere!r}: open the store without host_version_table"
        return _Verdict(SchemaStatus.UNUSABLE, (problem,))
    problem = f"the fine-tuning tables belong to the history in {elsewhere!r}: open the store with host_version_table={elsewhere!r}"
    return _Verdict(SchemaStatus.UNUSABLE, (problem,), HOST_COMMANDS.upgrade)


def _ahead(found: Findings) -> _Verdict:
    if found.oldest_code_number is not None and found.oldest_code_number <= SCHEMA_NUMBER:
        return _Verdict(SchemaStatus.AHEAD_COMPATIBLE)
    needed = f"schema {found.schema_number} needs code of schema {found.oldest_code_number} or later"
    problem = f"{needed}, and this code is of schema {SCHEMA_NUMBER}"
    return _Verdict(SchemaStatus.AHEAD_INCOMPATIBLE, (problem,), "pip install --upgrade fine-tuning-store")


def _without_revision(connection: Connection, schema: str | None, found: Findings, commands: Commands) -> _Verdict:
    """Judge tables of the store's names for which no revision is recorded."""
    if compatibility.name not in found.tables:
        names = ", ".join(sorted(found.tables))
        return _Verdict(SchemaStatus.UNUSABLE, (f"tables of another application have the names of the store's: {names}",))
    number = equal_number(connection, schema)
    if found.has_history and number in (None, 1):  # the first revision was cut off before its row was written
        return _Verdict(SchemaStatus.BEHIND, ("an upgrade is running, or was interrupted",), commands.upgrade)
    if number is not None and (commands is not HOST_COMMANDS or number == SCHEMA_NUMBER):
        return _Verdict(SchemaStatus.UNUSABLE, (_NO_HISTORY,), commands.adopt)
    recorded = found.schema_number or SCHEMA_NUMBER
    wanted = recorded if 0 < recorded < SCHEMA_NUMBER else SCHEMA_NUMBER
    return _Verdict(SchemaStatus.UNUSABLE, (_NO_HISTORY, *differences(connection, schema, wanted)))


def _at(number: int, connection: Connection, schema: str | None, found: Findings, commands: Commands) -> _Verdict:
    """Judge tables whose history names a revision of this release."""
    revision = revision_id(number)
    damage = differences(connection, schema, number)
    if number < SCHEMA_NUMBER:  # the next revision may have begun, so only what is missing is damage
        damage = tuple(each for each in damage if each.is_loss)
    if found.schema_number is None or found.schema_number < number:
        recorded = "nothing" if found.schema_number is None else found.schema_number
        torn = f"the version table says {revision}, but {compatibility.name} says {recorded}: a downgrade is running, or was interrupted"
        return _Verdict(SchemaStatus.UNUSABLE, (torn, *damage), _finish(found, damage, commands), revision)
    if not all(each.is_harmless for each in damage):
        return _Verdict(SchemaStatus.UNUSABLE, damage, revision=revision)
    if number < SCHEMA_NUMBER:
        return _Verdict(SchemaStatus.BEHIND, damage, commands.upgrade, revision)
    return _Verdict(SchemaStatus.CURRENT, damage, revision=revision)


def _finish(found: Findings, damage: tuple[SchemaDifference, ...], commands: Commands) -> str | None:
    """Return the command that finishes an interrupted downgrade, which lowers the number first and drops the jobs last."""
    if not damage and commands is not HOST_COMMANDS:
        return commands.adopt  # it has changed no table yet
    if found.schema_number is not None:
        return f"{commands.downgrade} {revision_id(found.schema_number)}"
    return None if jobs.name in found.tables else f"{commands.downgrade} {commands.base}"

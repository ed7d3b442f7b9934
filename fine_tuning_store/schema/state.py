"""How far a database is, beside the code at hand, and what to run next. Nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from shlex import quote
from typing import Final, NamedTuple

from sqlalchemy import Connection

from fine_tuning_store.schema.inspection import Findings, find
from fine_tuning_store.schema.revisions import revision_of
from fine_tuning_store.sql import catalog
from fine_tuning_store.sql.models import SCHEMA_NUMBER, compatibility, jobs


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


class Commands(NamedTuple):
    """What is run, by whom the history is kept."""

    upgrade: str
    downgrade: str
    base: str
    adopt: str


def own(schema: str | None) -> Commands:
    """Those of a store that keeps its own history."""
    of = "" if schema is None else f" --schema {quote(schema)}"
    upgrade, downgrade, adopt = (f"fine-tuning-store db {verb}{of}" for verb in ("upgrade", "downgrade", "adopt"))
    return Commands(upgrade, downgrade, "base", adopt)


HOSTS: Final = Commands("alembic upgrade heads", "alembic downgrade", "fine_tuning_store@base", "alembic stamp fine_tuning_store@head")

_NO_HISTORY: Final = "the fine-tuning tables are there, but no version table says which revision made them"


class _Verdict(NamedTuple):
    status: SchemaStatus
    problems: tuple[str, ...] = ()
    command: str | None = None
    revision: str | None = None


def look(connection: Connection, schema: str | None, host_version_table: str | None) -> SchemaState:
    """The state of the database. Never raises for what it finds there."""
    found = find(connection, schema, host_version_table)
    verdict = _judge(connection, schema, found, own(schema) if host_version_table is None else HOSTS)
    return SchemaState(
        status=verdict.status,
        revision=next(iter(found.revisions), verdict.revision),
        schema_number=found.schema_number,
        oldest_code_number=found.oldest_code_number,
        code_number=SCHEMA_NUMBER,
        problems=verdict.problems,
        command=verdict.command,
    )


def equal_number(connection: Connection, schema: str | None) -> int | None:
    """The number of the schema that the catalog is equal to."""
    return next((number for number in catalog.REVISIONS if not catalog.differences(connection, schema, number)), None)


def _judge(connection: Connection, schema: str | None, found: Findings, commands: Commands) -> _Verdict:
    if found.problems:
        return _Verdict(SchemaStatus.UNUSABLE, found.problems)
    if not found.tables and not found.revisions:
        return _Verdict(SchemaStatus.EMPTY, command=commands.upgrade)
    if found.elsewhere is not None:
        return _of_another_history(found.elsewhere, commands)
    if found.schema_number is not None and found.schema_number > SCHEMA_NUMBER:
        return _ahead(found)
    return _of_its_revision(connection, schema, found, commands)


def _of_its_revision(connection: Connection, schema: str | None, found: Findings, commands: Commands) -> _Verdict:
    """Tables that no newer release has made, and whose history is none but the store's."""
    if len(found.revisions) > 1:
        return _Verdict(SchemaStatus.UNUSABLE, (f"the version table has several of our revisions: {', '.join(found.revisions)}",))
    if not found.revisions and (not found.is_shared or found.schema_number is None):
        return _without_revision(connection, schema, found, commands)
    # Alembic leaves out a revision that one of an application's depends on.
    revision = found.revisions[0] if found.revisions else revision_of(found.schema_number or 0)
    number = {revision_of(number): number for number in catalog.REVISIONS}.get(revision)
    if number is None:
        return _Verdict(SchemaStatus.UNUSABLE, (f"the tables are at revision {revision!r}, which this release does not know",))
    return _at(number, connection, schema, found, commands)


def _of_another_history(elsewhere: str, commands: Commands) -> _Verdict:
    if commands is HOSTS:
        problem = f"the fine-tuning tables have a history of their own in {elsewhere!r}: open the store without host_version_table"
        return _Verdict(SchemaStatus.UNUSABLE, (problem,))
    problem = f"the fine-tuning tables belong to the history in {elsewhere!r}: open the store with host_version_table={elsewhere!r}"
    return _Verdict(SchemaStatus.UNUSABLE, (problem,), HOSTS.upgrade)


def _ahead(found: Findings) -> _Verdict:
    if found.oldest_code_number is not None and found.oldest_code_number <= SCHEMA_NUMBER:
        return _Verdict(SchemaStatus.AHEAD_COMPATIBLE)
    needed = f"schema {found.schema_number} needs code of schema {found.oldest_code_number} or later"
    problem = f"{needed}, and this code is of schema {SCHEMA_NUMBER}"
    return _Verdict(SchemaStatus.AHEAD_INCOMPATIBLE, (problem,), "pip install --upgrade fine-tuning-store")


def _without_revision(connection: Connection, schema: str | None, found: Findings, commands: Commands) -> _Verdict:
    """Tables of our names, and no revision that made them."""
    if compatibility.name not in found.tables:
        names = ", ".join(sorted(found.tables))
        return _Verdict(SchemaStatus.UNUSABLE, (f"tables of another application have our names: {names}",))
    number = equal_number(connection, schema)
    if found.has_history and number in (None, 1):  # the first revision is done, or less, and its row is not written yet
        return _Verdict(SchemaStatus.BEHIND, ("an upgrade is running, or was cut off",), commands.upgrade)
    if number is not None and (commands is not HOSTS or number == SCHEMA_NUMBER):
        return _Verdict(SchemaStatus.UNUSABLE, (_NO_HISTORY,), commands.adopt)
    wanted = SCHEMA_NUMBER if found.schema_number not in catalog.REVISIONS else found.schema_number
    return _Verdict(SchemaStatus.UNUSABLE, (_NO_HISTORY, *map(str, catalog.differences(connection, schema, wanted or SCHEMA_NUMBER))))


def _at(number: int, connection: Connection, schema: str | None, found: Findings, commands: Commands) -> _Verdict:
    """Tables that are said to be of a revision of this release."""
    revision = revision_of(number)
    damage = catalog.differences(connection, schema, number)
    if number < SCHEMA_NUMBER:  # a later revision may have begun, or changes what is still as it was: only what is gone is damage
        damage = tuple(each for each in damage if each.is_loss)
    lines = tuple(map(str, damage))
    if found.schema_number is None or found.schema_number < number:
        said = "nothing" if found.schema_number is None else found.schema_number
        torn = f"the version table says {revision}, but {compatibility.name} says {said}: a downgrade is running, or was cut off"
        return _Verdict(SchemaStatus.UNUSABLE, (torn, *lines), _finish(found, damage, commands), revision)
    if not all(each.is_harmless for each in damage):
        return _Verdict(SchemaStatus.UNUSABLE, lines, revision=revision)
    if number < SCHEMA_NUMBER:
        return _Verdict(SchemaStatus.BEHIND, lines, commands.upgrade, revision)
    return _Verdict(SchemaStatus.CURRENT, lines, revision=revision)


def _finish(found: Findings, damage: tuple[catalog.Difference, ...], commands: Commands) -> str | None:
    """How to finish a downgrade that was cut off: it writes the lower number first, and that to base drops the jobs near its end."""
    if not damage and commands is not HOSTS:
        return commands.adopt  # no table has been changed yet
    if found.schema_number is not None:
        return f"{commands.downgrade} {revision_of(found.schema_number)}"
    return None if jobs.name in found.tables else f"{commands.downgrade} {commands.base}"

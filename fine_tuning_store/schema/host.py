"""Helpers for the env.py of an application whose database also holds the store's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from fine_tuning_store.schema.checks import running_environment
from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.galera_lease import lease
from fine_tuning_store.schema.revisions import BRANCH, PREFIX, SCHEMA_NUMBER, migrations_path, revision_id
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE

if TYPE_CHECKING:
    from alembic.operations import MigrationScript
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

#: A filter of table names, as Alembic's `include_name` takes it.
NameFilter = Callable[[str | None, str, MutableMapping[Any, Any]], bool]

_REVISIONS: Final = migrations_path() / "versions"

STORE_TABLES: Final = frozenset({*METADATA.tables, VERSION_TABLE, lease.name})


def exclude_store_tables(name: str | None, kind: str, parent_names: Mapping[Any, Any]) -> bool:
    """Exclude the store's tables in the default schema, as an application's `context.configure(include_name=...)`.

    Without it, `alembic check` and `alembic revision --autogenerate` of the application would drop them. For a store with `schema=`
    use `exclude_store_tables_in`. Tables of the same names in other schemas are the application's.
    """
    return not (kind == "table" and name in STORE_TABLES and parent_names.get("schema_name") is None)


def exclude_store_tables_in(schema: str) -> NameFilter:
    """Return the same filter for a store with `schema=`: `context.configure(include_name=exclude_store_tables_in("fine_tuning"))`.

    The schema may be the default one of the application's connection, which Alembic calls None.
    """

    def exclude(name: str | None, kind: str, parent_names: MutableMapping[Any, Any]) -> bool:
        if kind != "table" or name not in STORE_TABLES:
            return True
        return (parent_names.get("schema_name") or _default_schema() or schema) != schema

    return exclude


def _default_schema() -> str | None:
    """Return the default schema of the connection on which Alembic compares tables, None if this is not in an env.py."""
    running = running_environment()
    return None if running is None else running.get_context().dialect.default_schema_name


def use_application_branch(context: MigrationContext, _: Any, directives: list[MigrationScript]) -> None:
    """Add new revisions to the application's branch, in its own folder, if the store's revisions are in the same history.

    It is for `context.configure(process_revision_directives=use_application_branch)`. Without it, Alembic adds the first revision of the
    application after the newest one of the store, in the folder of the installed package, and each later one needs `--head`. A new one
    depends on the newest revision of the store, unless one before it does, so that it may refer to all tables of the store.

    Raises:
        alembic.util.CommandError: `--head` names the store's branch.
    """
    from alembic.util import CommandError

    history = context.script
    assert history is not None
    heads = [head for head in history.get_heads() if not head.startswith(PREFIX)]
    for new in directives:
        if new.head in (None, "head"):
            if len(heads) > 1:  # Alembic asks for --head
                continue
            new.head = heads[0] if heads else "base"
        if new.head == "base" and new.version_path is None:
            new.version_path = next(str(folder) for folder in history._version_locations if folder.resolve() != _REVISIONS)
        if any(head is not None and head.revision.startswith(PREFIX) for head in history.get_revisions(new.head)):
            raise CommandError(
                f"the branch {BRANCH!r} is the store's, in the folder of its package: leave out --head, or name a head of your own"
            )
        _depend_on_store(new, history)


def _depend_on_store(new: MigrationScript, history: ScriptDirectory) -> None:
    """Make a new revision depend on the newest one of the store, unless what it already follows or depends on does."""
    newest, given = revision_id(SCHEMA_NUMBER), new.depends_on or ()
    given = (given,) if isinstance(given, str) else tuple(given)
    before = history.get_revisions((new.head, *given))
    reached = history.iterate_revisions(tuple(one.revision for one in before if one is not None), "base")
    if newest in history.get_heads() and newest not in (script.revision for script in reached):
        new.depends_on = [*given, newest] if given else newest


def foreign_keys_off(connection: Connection) -> AbstractContextManager[None]:
    """Disable SQLite's foreign keys while an application's env.py runs the store's revisions, some of which rebuild tables.

    Does nothing on other databases, or if foreign keys are off. A commit that would leave rows without their parent raises
    SchemaConflictError and is rolled back, as is what is not committed at the end of the block.

    Raises:
        InvalidValueError: The connection has begun a transaction, inside which foreign keys cannot be disabled.
    """
    return support_for(connection.dialect).foreign_keys_off(connection)

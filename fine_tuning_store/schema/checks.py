"""Checks before a migration, and before the store is used."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, inspect, select, text

from fine_tuning_store.errors import ReadOnlyStoreError, SchemaConflictError, SchemaVersionError
from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.revisions import BRANCH, SCHEMA_NUMBER, revision_id
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE, compatibility, jobs
from fine_tuning_store.sql.queries.jobs import COMPATIBILITY
from fine_tuning_store.sql.schema_option import options_of

#: The version table of most applications, Alembic's default.
USUAL_VERSION_TABLE: Final = "alembic_version"


class Numbers(NamedTuple):
    """The content of the compatibility table."""

    schema_number: int
    oldest_code_number: int  #: the schema number of the oldest code that may use the tables


def require_usable(
    connection: Connection, schema: str | None = None, host_version_table: str | None = None, *, read_only: bool = False
) -> None:
    """Raise SchemaVersionError unless this release may use the tables: they are current, or newer and declared compatible."""
    found = read_numbers(connection, schema)
    if found is None:
        raise SchemaVersionError(None, SCHEMA_NUMBER, None, host_version_table, read_only)
    if found.oldest_code_number > SCHEMA_NUMBER:
        raise SchemaVersionError(found.schema_number, SCHEMA_NUMBER, found.oldest_code_number, host_version_table, read_only)
    if found.schema_number < SCHEMA_NUMBER:
        raise SchemaVersionError(found.schema_number, SCHEMA_NUMBER, None, host_version_table, read_only)


def read_numbers(connection: Connection, schema: str | None) -> Numbers | None:
    """Return the database's schema number and oldest code number, None if the tables do not exist or are not complete."""
    if not inspect(connection).has_table(compatibility.name, schema):
        return None
    row = connection.execute(COMPATIBILITY, execution_options=options_of(schema)).one_or_none()
    return None if row is None else Numbers(row.schema_number, row.oldest_code_number)


def refuse_read_only_store(*, read_only: bool) -> None:
    """Raise ReadOnlyStoreError if the store is read-only, also if there is nothing to migrate."""
    if read_only:
        raise ReadOnlyStoreError


def running_environment() -> Any:
    """Return the EnvironmentContext of the env.py that Alembic runs in this process, None if it runs none."""
    from alembic import context

    return getattr(context, "_proxy", None)


def refuse_inside_a_transaction_of_alembic() -> None:
    """Raise SchemaConflictError if an application's Alembic is inside a transaction in this process, or writes a script.

    The migration uses a connection of its own, which would wait for what that transaction has locked, on PostgreSQL for ever.
    """
    running = running_environment()
    if running is None:
        return
    if running.is_offline_mode():
        raise SchemaConflictError(
            "Alembic is writing an SQL script (--sql) in this process, which must not change the database. Nothing was changed: in env.py "
            "migrate the store unless context.is_offline_mode(); store.schema.sql() or 'fine-tuning-store db sql' writes its script"
        )
    migration = running._migration_context
    if migration is not None and migration.connection is not None and migration.connection.in_transaction():
        raise SchemaConflictError(
            "Alembic is inside a transaction in this process, for which a migration of the store could wait for ever. Nothing was changed: "
            "migrate the store in env.py, before context.begin_transaction(), not in a revision"
        )


def refuse_encoding(connection: Connection) -> None:
    """Raise UnsupportedDatabaseError or EngineConfigurationError if the database or the connection cannot hold all text."""
    error = support_for(connection.dialect).encoding_error(connection)
    if error is not None:
        raise error


def refuse_foreign_tables(connection: Connection, schema: str | None = None) -> None:
    """Raise SchemaConflictError if a database without a revision has tables of the store's names that this history did not create.

    The first migration creates the version table and then the compatibility table, before any other, so an interrupted run is
    recognized.
    """
    inspector = inspect(connection)
    present = {*inspector.get_table_names(schema), *inspector.get_view_names(schema)}
    foreign = sorted(present & set(METADATA.tables))
    if not foreign:
        return
    if compatibility.name not in present:
        raise SchemaConflictError(
            f"the database already has tables of another application under these names: {', '.join(foreign)}. Nothing was changed: "
            "use a database of its own, or on PostgreSQL a schema of its own (schema=)"
        )
    if VERSION_TABLE not in present:
        raise SchemaConflictError(
            f"the fine-tuning tables exist without their history {VERSION_TABLE!r}, so another history created them. Nothing was changed: "
            f"if it is your application's Alembic, open the store with host_version_table={USUAL_VERSION_TABLE!r} and run "
            "'alembic upgrade heads'; if there is none, call store.schema.adopt() or run 'fine-tuning-store db adopt'"
        )


def refuse_tables_elsewhere(connection: Connection) -> None:
    """Raise SchemaConflictError if the store's tables are in another schema than new ones would be created in."""
    query = support_for(connection.dialect).tables_elsewhere
    if query is None:
        return
    found = connection.scalars(text(query), {"version_table": VERSION_TABLE, "compatibility": compatibility.name}).all()
    if found:
        raise SchemaConflictError(
            f"the fine-tuning tables are in the schema {found[0]!r}, and new ones would be created in another. Nothing was changed: "
            f"give schema={found[0]!r} (--schema, -x schema=), or the schema that you mean"
        )


def refuse_to_lose_jobs(connection: Connection, schema: str | None = None) -> None:
    """Raise SchemaConflictError if any job is stored, including jobs of transactions that are still open.

    On PostgreSQL and SQLite no other transaction adds one until this transaction ends.
    """
    if not inspect(connection).has_table(jobs.name, schema):
        return
    support_for(connection.dialect).stop_writers(connection)
    one = select(jobs.c.id).limit(1).with_for_update(read=True)
    if connection.execute(one, execution_options=options_of(schema)).first() is not None:
        raise SchemaConflictError(
            "jobs are stored, and a downgrade loses what the older tables cannot hold. No job was touched: make a backup, "
            "then give allow_data_loss=True (fine-tuning-store: --allow-data-loss, alembic: -x allow_data_loss)"
        )


def refuse_history_of_host(connection: Connection, schema: str | None, host_version_table: str, instead: str) -> None:
    """Raise the SchemaConflictError of a store that was opened with `host_version_table` and is asked to migrate.

    Args:
        connection: A connection.
        schema: The schema of the tables.
        host_version_table: The version table of the application.
        instead: The command of Alembic to run in the application instead.
    """
    if inspect(connection).has_table(VERSION_TABLE, schema):
        raise SchemaConflictError(
            f"the fine-tuning tables have a history of their own in {VERSION_TABLE!r}. Nothing was changed: open the store "
            "without host_version_table"
        )
    raise another_history_error(host_version_table, instead)


def another_history_error(host_version_table: str, instead: str) -> SchemaConflictError:
    """Return the error of a store whose tables belong to the history of an application."""
    return SchemaConflictError(
        f"the fine-tuning tables belong to the history in {host_version_table!r}. Nothing was changed: run 'alembic {instead}' in the "
        "application that keeps it"
    )


def interrupted_downgrade(found: int | None, *, is_in_host: bool) -> SchemaConflictError:
    """Return the error for tables that are older than the version table says.

    Args:
        found: The number of the schema of the tables, None if there are none.
        is_in_host: True if their revisions are in the history of an application.
    """
    target = "base" if found is None else revision_id(found)
    if is_in_host:
        name = f"{BRANCH}@base" if found is None else target
        finish = f"finish it by 'alembic downgrade {name}', then run 'alembic upgrade heads'"
    else:
        finish = f"finish it by a downgrade to {target!r} (store.schema.downgrade, fine-tuning-store db downgrade), then upgrade"
    return SchemaConflictError(
        f"the version table says that the tables are current, but they are not: a downgrade was interrupted. Nothing was changed: {finish}"
    )

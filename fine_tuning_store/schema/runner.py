"""What migrations/env.py and `Schema` run: a command of Alembic on a database, or as an SQL script.

The migration lock is taken here, so that a bare `alembic upgrade head` takes it too. Commands that do not migrate take no lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import greenlet_spawn

from fine_tuning_store.errors import SchemaConflictError, SchemaLockTimeoutError
from fine_tuning_store.schema.autogenerate import AUTOGENERATE_OPTIONS
from fine_tuning_store.schema.checks import (
    read_numbers,
    refuse_encoding,
    refuse_foreign_tables,
    refuse_tables_elsewhere,
    refuse_to_lose_jobs,
)
from fine_tuning_store.schema.command import Command
from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.revisions import number_of, revision_id
from fine_tuning_store.schema.search_path import create_schema, only_schema
from fine_tuning_store.schema.timeouts import LOCK_SECONDS, LOCK_WAIT_SECONDS, deadline
from fine_tuning_store.sql.dialects import database_for
from fine_tuning_store.sql.engine import connect_either
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE
from fine_tuning_store.sql.urls import offline_url
from fine_tuning_store.sql.waiting import poll, sleep

#: Arguments of context.configure in each mode.
_OPTIONS: Final[dict[str, Any]] = {
    "target_metadata": METADATA,
    "version_table": VERSION_TABLE,
    "transaction_per_migration": True,
    **AUTOGENERATE_OPTIONS,
}

Steps = Callable[[Any, MigrationContext], Iterable[MigrationStep]]


def run(command: Command) -> None:
    """Run a command: as a script with --sql, else on the connection of `Schema`, or on that of the URL."""
    if command.environment.is_offline_mode():
        _write_script(command)
    elif "connection" in command.attributes:
        _run_on(command, command.attributes["connection"])
    else:
        _connect_and_run(command)


def _connect_and_run(command: Command) -> None:
    engine = connect_either(command.url)
    if isinstance(engine, Engine):
        _run_and_dispose(command, engine)
    elif asyncio._get_running_loop() is not None:
        raise CommandError(
            "Alembic's commands cannot use an async driver inside a running event loop: await AsyncFineTuningStore.schema.upgrade(), "
            f"run the command in a thread (asyncio.to_thread), or name a sync driver, as in {engine.url.get_backend_name()}://"
        )
    else:
        asyncio.run(greenlet_spawn(_run_and_dispose, command, engine.sync_engine))


def _run_and_dispose(command: Command, engine: Engine) -> None:
    try:
        with engine.connect() as connection:
            _run_on(command, connection)
    finally:
        engine.dispose()


def _run_on(command: Command, connection: Connection) -> None:
    if command.migrates:
        _migrate(command, connection)
    else:
        _read_or_stamp(command, connection)


def _migrate(command: Command, connection: Connection) -> None:
    """Run upgrades or downgrades under the migration lock."""
    support, schema = support_for(connection.dialect), command.schema(connection.dialect)
    connection.execution_options(**support.execution_options)
    attributes = command.attributes
    with deadline(attributes.get("lock_timeout", LOCK_SECONDS)) as left:
        if schema is not None and attributes.get("create_schema"):
            create_schema(connection, schema)
        with (
            support.foreign_keys_off(connection),
            only_schema(connection, schema),
            support.migration_lock(connection, left()),
            support.brief_lock_waits(connection),
        ):
            command.environment.configure(
                connection=connection,
                version_table_schema=schema,
                on_version_apply=attributes.get("on_version_apply", ()),
                fn=command.options["fn"] if command.may_lose_jobs else _refusing_to_lose_jobs(command, command.options["fn"]),
                **_OPTIONS,
            )
            failures: list[DBAPIError] = []
            if not poll(lambda: _ran(command, connection, left, failures), left(), is_async=connection.dialect.is_async):
                raise SchemaLockTimeoutError(left()) from failures[-1]


def _ran(command: Command, connection: Connection, left: Callable[[], float], failures: list[DBAPIError]) -> bool:
    """Run the revisions; return False if they must run again.

    A revision that waited too long for a table, or lost to another transaction, is rolled back. Then those that queue behind it go first.
    """
    before = connection.get_transaction()
    try:
        refuse_tables_elsewhere(connection)
        if not command.environment.get_context().get_current_heads():
            refuse_encoding(connection)
            refuse_foreign_tables(connection, command.schema(connection.dialect))
        with command.environment.begin_transaction():
            command.run_migrations()
        _finish(command, connection)
        if connection.get_transaction() is not before:  # the transaction of SQLite's lock is around everything
            connection.commit()
    except DBAPIError as error:
        if not support_for(connection.dialect).is_retryable(error):
            raise
        failures.append(error)
        connection.rollback()
        sleep(min(LOCK_WAIT_SECONDS, left()), is_async=connection.dialect.is_async)
        return False
    return True


def _finish(command: Command, connection: Connection) -> None:
    """Drop the version table after a downgrade to base, and check that the tables are those that it names: it may have been stamped.

    Raises:
        SchemaConflictError: They are older, or missing.
    """
    heads, tables = command.environment.get_context().get_current_heads(), set(inspect(connection).get_table_names())
    if not heads and VERSION_TABLE in tables and not tables & set(METADATA.tables):
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
    for number in filter(None, map(number_of, heads)):
        found = read_numbers(connection, command.schema(connection.dialect))
        if found is None or found.schema_number < number:
            raise SchemaConflictError(
                f"the version table says {revision_id(number)}, but the tables are "
                f"{'missing' if found is None else f'those of {revision_id(found.schema_number)}'}: it was stamped, or a downgrade was "
                "interrupted. Nothing was changed: stamp the revision of the tables, or finish the downgrade, then upgrade"
            )


def _read_or_stamp(command: Command, connection: Connection) -> None:
    """Run a command that executes no revision: current, history, check, revision and stamp. They need no lock."""
    if command.creates_the_version_table:
        raise CommandError("ensure_version would begin a history without its tables: use upgrade, which creates the version table")
    schema = command.schema(connection.dialect)
    with only_schema(connection, schema):
        if command.stamps:
            database_for(connection.dialect).begin_write(connection)  # so that a stamp with an error changes nothing
            refuse_tables_elsewhere(connection)
        command.environment.configure(
            connection=connection,
            version_table_schema=schema,
            fn=_without_revisions(command.options["fn"]),
            dont_mutate=not command.stamps,  # so that reading does not create the version table
            **_OPTIONS,
        )
        if command.stamps and not command.environment.get_context().get_current_heads():
            refuse_foreign_tables(connection, schema)
        with command.environment.begin_transaction():
            command.run_migrations()
        connection.commit()


def _write_script(command: Command) -> None:
    url = offline_url(command.url)
    dialect = url.get_dialect()()
    support, schema = support_for(dialect), command.schema(dialect)
    heads_after: list[set[str]] = []  # the heads after each revision
    command.environment.configure(
        url=url,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        version_table_schema=schema,
        on_version_apply=lambda heads, **_: heads_after.append(heads),
        transactional_ddl=support.scripts_in_transactions,
        **_OPTIONS,
    )
    write = command.environment.get_context().impl.static_output
    for name, value in support.lock_wait_settings.items():
        write(f"SET SESSION {name} = {value if value.isdigit() else repr(value)};\n")
    if schema is not None:
        write(f"SET search_path TO {command.environment.get_context().dialect.identifier_preparer.quote_identifier(schema)};\n")
    with command.environment.begin_transaction():
        command.run_migrations()
    if command.migrates and heads_after and not heads_after[-1]:
        write(f"DROP TABLE {VERSION_TABLE};\n")  # a downgrade to base leaves no table behind
    if schema is not None:
        write("RESET search_path;\n")
    for name in support.lock_wait_settings:
        write(f"SET SESSION {name} = DEFAULT;\n")


def _refusing_to_lose_jobs(command: Command, steps: Steps) -> Steps:
    """Return the steps of a command, with a check before each downgrade. The check begins the transaction of the step."""

    def checked(heads: Any, running: MigrationContext) -> Iterator[MigrationStep]:
        for step in steps(heads, running):
            if isinstance(step, RevisionStep) and step.is_downgrade:
                assert running.connection is not None
                refuse_to_lose_jobs(running.connection, command.schema(running.dialect))
            yield step

    return checked


def _without_revisions(steps: Steps) -> Steps:
    """Return the steps of a command that runs without the lock, which must not execute a revision."""

    def checked(heads: Any, running: MigrationContext) -> Iterator[MigrationStep]:
        for step in steps(heads, running):
            if isinstance(step, RevisionStep):
                raise CommandError("this command would execute revisions without the migration lock: use upgrade or downgrade")
            yield step

    return checked

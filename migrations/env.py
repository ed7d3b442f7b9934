"""Runs the migrations: from the command line, over a connection given by `store.schema`, or as SQL for a DBA.

The migration lock is taken here, so that a bare `alembic upgrade head` has it too.
"""

import asyncio
import logging.config
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from sqlalchemy import Connection, Dialect, Engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store.errors import InvalidValueError, SchemaLockTimeoutError
from fine_tuning_store.schema import (
    LOCK_SECONDS,
    foreign_keys_off,
    include_store_tables,
    refuse_foreign_tables,
    refuse_tables_elsewhere,
    refuse_to_lose_jobs,
)
from fine_tuning_store.sql.dialects import traits_of
from fine_tuning_store.sql.engine import connect_either
from fine_tuning_store.sql.lock_waits import brief_lock_waits
from fine_tuning_store.sql.schema_option import checked_schema, create_schema, only_schema
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE
from fine_tuning_store.sql.waiting import LOCK_WAIT_SECONDS, poll, sleep

config = context.config


arguments = context.get_x_argument(as_dictionary=True)


def url() -> str:
    return arguments.get("url") or os.environ.get("FINE_TUNING_STORE_URL") or "sqlite:///fine_tuning.db"


OPTIONS: dict[str, Any] = {
    "target_metadata": METADATA,
    "version_table": VERSION_TABLE,
    "include_name": include_store_tables,
    "transaction_per_migration": True,
}


def schema_on(dialect: Dialect) -> str | None:
    return checked_schema(config.attributes.get("schema", arguments.get("schema")), dialect)


def may_lose_jobs() -> bool:
    """Whether it was said, in Python or by `-x allow_data_loss`."""
    said = config.attributes.get("allow_data_loss", arguments.get("allow_data_loss", False))
    if said not in (True, False, "", "true", "false"):
        raise InvalidValueError("allow_data_loss", said, "must be true or false")
    return said in (True, "", "true")


def keeping_jobs(steps: Callable[..., Iterable[MigrationStep]]) -> Callable[..., Iterator[MigrationStep]]:
    """The same steps, of which none goes back while a job is stored. The look begins the transaction of the step."""

    def guarded(heads: tuple[str, ...], running: MigrationContext) -> Iterator[MigrationStep]:
        for step in steps(heads, running):
            if isinstance(step, RevisionStep) and step.is_downgrade:
                assert running.connection is not None
                refuse_to_lose_jobs(running.connection, schema_on(running.dialect))
            yield step

    return guarded


def migrate(connection: Connection) -> None:
    """Migrate under the lock. A database without a revision may not hold tables of our names that are another's."""
    schema = schema_on(connection.dialect)
    traits = traits_of(connection.dialect.name)
    connection.execution_options(**traits.migration_options)
    seconds = config.attributes.get("lock_timeout", LOCK_SECONDS)
    deadline = time.monotonic() + seconds
    if schema is not None and config.attributes.get("create_schema"):
        create_schema(connection, schema)
    with foreign_keys_off(connection), only_schema(connection, schema), traits.migration_lock(connection, seconds):
        options = {**OPTIONS, "version_table_schema": schema, "on_version_apply": config.attributes.get("on_version_apply", ())}
        context.configure(connection=connection, **options)
        if not may_lose_jobs():
            context.configure(connection=connection, fn=keeping_jobs(context.get_context().opts["fn"]), **options)
        with brief_lock_waits(connection):
            failures: list[DBAPIError] = []
            left = deadline - time.monotonic()
            if not poll(lambda: ran_to_the_end(connection, deadline, failures), left, is_async=connection.dialect.is_async):
                raise SchemaLockTimeoutError(seconds) from failures[-1]


def ran_to_the_end(connection: Connection, deadline: float, failures: list[DBAPIError]) -> bool:
    """Whether all revisions ran. One that waited too long for a table, or lost to another transaction, is rolled back, and those who
    queued behind it go first.
    """
    before = connection.get_transaction()
    try:
        refuse_tables_elsewhere(connection)
        if not context.get_context().get_current_heads():
            refuse_foreign_tables(connection, schema_on(connection.dialect))
        with context.begin_transaction():
            context.run_migrations()
        tables = set(inspect(connection).get_table_names())
        if VERSION_TABLE in tables and not tables & set(METADATA.tables):
            connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))  # back at base: nothing of ours is left
        if connection.get_transaction() is not before:  # that of SQLite's lock, which is one around everything
            connection.commit()
    except DBAPIError as error:
        if not traits_of(connection.dialect.name).may_migrate_again(error.driver_exception):
            raise
        failures.append(error)
        connection.rollback()
        sleep(min(LOCK_WAIT_SECONDS, max(deadline - time.monotonic(), 0)), is_async=connection.dialect.is_async)
        return False
    return True


def connect_and_migrate() -> None:
    engine = connect_either(url())
    if isinstance(engine, Engine):
        with engine.connect() as connection:
            migrate(connection)
        engine.dispose()
        return

    async def run() -> None:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
        await engine.dispose()

    asyncio.run(run())


def write_sql() -> None:
    dialect = make_url(url()).get_dialect()()
    schema = schema_on(dialect)
    left: list[set[str]] = []  # the heads after each revision
    context.configure(
        url=url(),
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        version_table_schema=schema,
        on_version_apply=lambda heads, **_: left.append(heads),
        transactional_ddl=traits_of(dialect.name).scripts_in_transactions,
        **OPTIONS,
    )
    write = context.get_context().impl.static_output
    lock_waits = traits_of(dialect.name).lock_waits
    for name, value in lock_waits.items():
        write(f"SET SESSION {name} = {value if value.isdigit() else repr(value)};\n")
    if schema is not None:
        write(f"SET search_path TO {context.get_context().dialect.identifier_preparer.quote_identifier(schema)};\n")
    with context.begin_transaction():
        context.run_migrations()
    if left and not left[-1]:
        write(f"DROP TABLE {VERSION_TABLE};\n")  # back at base, as above
    if schema is not None:
        write("RESET search_path;\n")
    for name in lock_waits:
        write(f"SET SESSION {name} = DEFAULT;\n")


if config.config_file_name is not None:
    logging.config.fileConfig(config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    write_sql()
elif "connection" in config.attributes:
    migrate(config.attributes["connection"])
else:
    connect_and_migrate()

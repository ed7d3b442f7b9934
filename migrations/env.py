"""Runs the migrations: from the command line, over a connection given by `store.schema`, or as SQL for a DBA.

The migration lock is taken here, so that a bare `alembic upgrade head` has it too.
"""

import asyncio
import logging.config
import os
from typing import Any

from alembic import context
from sqlalchemy import Connection, Engine, inspect, text

from fine_tuning_store.schema import LOCK_SECONDS, foreign_keys_off, is_ours, refuse_foreign_tables
from fine_tuning_store.sql.dialects import traits_of
from fine_tuning_store.sql.engine import connect_either
from fine_tuning_store.sql.tables import METADATA, VERSION_TABLE

config = context.config


def url() -> str:
    given = context.get_x_argument(as_dictionary=True).get("url")
    return given or os.environ.get("FINE_TUNING_STORE_URL") or "sqlite:///fine_tuning.db"


OPTIONS: dict[str, Any] = {
    "target_metadata": METADATA,
    "version_table": VERSION_TABLE,
    "include_name": is_ours,
    "transaction_per_migration": True,
}


def migrate(connection: Connection) -> None:
    """Migrate under the lock. A database without a revision may not hold tables of our names that are another's."""
    lock = traits_of(connection.dialect.name).migration_lock
    with foreign_keys_off(connection), lock(connection, config.attributes.get("lock_timeout", LOCK_SECONDS)):
        context.configure(connection=connection, **OPTIONS)
        if not context.get_context().get_current_heads():
            refuse_foreign_tables(connection)
        with context.begin_transaction():
            context.run_migrations()
        if not context.get_context().get_current_heads() and inspect(connection).has_table(VERSION_TABLE):
            connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))  # back at base: nothing of ours is left


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


if config.config_file_name is not None:
    logging.config.fileConfig(config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    context.configure(url=url(), literal_binds=True, dialect_opts={"paramstyle": "named"}, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()
elif "connection" in config.attributes:
    migrate(config.attributes["connection"])
else:
    connect_and_migrate()

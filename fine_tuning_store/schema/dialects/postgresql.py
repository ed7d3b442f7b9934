"""PostgreSQL in migrations."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import Connection, text

from fine_tuning_store.errors import EngineConfigurationError, FineTuningStoreError, UnsupportedDatabaseError
from fine_tuning_store.schema import catalog_queries
from fine_tuning_store.schema.dialects.base import MigrationSupport
from fine_tuning_store.schema.locks import session_lock, transaction_lock
from fine_tuning_store.schema.settings import set_in_each_transaction
from fine_tuning_store.schema.timeouts import LOCK_WAIT_SECONDS
from fine_tuning_store.sql.dialects import database_named
from fine_tuning_store.sql.dialects.base import is_pooled
from fine_tuning_store.sql.models import VERSION_TABLE, jobs

_KEY: Final = f"hashtextextended('{VERSION_TABLE}.' || coalesce(current_schema(), ''), 0)"
_HOLDER: Final = (
    "concat('PostgreSQL process ', pid, ' (application ' || nullif(application_name, '') || ')') "
    "FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
    "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (classid::bigint << 32 | objid::bigint) = :key"
)
_SESSION_LOCK: Final = session_lock(_KEY, "pg_try_advisory_lock(:key)", "pg_advisory_unlock(:key)", _HOLDER)
_TRANSACTION_LOCK: Final = transaction_lock(_KEY, "pg_try_advisory_xact_lock(:key)", _HOLDER)


class PostgreSQLMigrations(MigrationSupport):
    """PostgreSQL: an advisory lock, and settings that last for one transaction."""

    database = database_named("postgresql")
    #: On another level of a host's engine a migration would not see what others commit, or would commit each statement.
    execution_options = {"isolation_level": "READ COMMITTED"}  # noqa: RUF012 - a constant, and never changed
    #: A little more than the second (deadlock_timeout) after which PostgreSQL cancels an autovacuum that blocks a statement.
    lock_wait_settings = {"lock_timeout": f"{LOCK_WAIT_SECONDS * 1000 + 100}ms"}  # noqa: RUF012 - a constant, and never changed
    tables_elsewhere = (
        "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE pg_class.oid IN (to_regclass(:version_table), to_regclass(:compatibility)) AND nspname <> current_schema()"
    )
    column_types = catalog_queries.POSTGRESQL_TYPES
    facts = catalog_queries.POSTGRESQL

    def migration_lock(self, connection: Connection, seconds: float) -> AbstractContextManager[None]:
        """Hold an advisory lock, named after the schema that new tables are created in."""
        return (_SESSION_LOCK if is_one_session(connection) else _TRANSACTION_LOCK)(connection, seconds)

    def setting(self, connection: Connection, name: str, value: str) -> AbstractContextManager[None]:
        """Set the parameter in each transaction inside the block."""
        return set_in_each_transaction(connection, name, value)

    def is_retryable(self, error: BaseException) -> bool:
        """As at run time, and the error of lock_timeout."""
        return self.database.is_retryable(error) or self.database.is_busy(error)

    def column_type(self, type_: str, character_set: str | None, collation: str | None) -> str:
        """Write a type as SQLAlchemy does."""
        return super().column_type(type_.replace("character varying", "varchar"), character_set, collation)

    def encoding_error(self, connection: Connection) -> FineTuningStoreError | None:
        """Only UTF8 has all characters. SQL_ASCII would store the bytes of any encoding, and convert none."""
        server, client = connection.execute(text("SELECT current_setting('server_encoding'), current_setting('client_encoding')")).one()
        if server != "UTF8":
            return UnsupportedDatabaseError(
                f"the encoding of the database is {server}, which cannot hold all text: use a database made by "
                "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )
        if client != "UTF8":
            return EngineConfigurationError(
                f"the client_encoding of the connection is {client}, which cannot hold all text: leave it out or make it UTF8, in the URL, "
                "create_engine(), PGCLIENTENCODING and the settings of the role and the database"
            )
        return None

    def stop_writers(self, connection: Connection) -> None:
        """Lock the table of jobs against writers."""
        connection.execute(text(f"LOCK TABLE {jobs.name} IN SHARE ROW EXCLUSIVE MODE"))


def is_one_session(connection: Connection) -> bool:
    """Return True if one session of the server serves the connection throughout.

    A pooler gives its client a process id that is not the server's; `transaction_pooler=True` says it outright.
    """
    if is_pooled(connection):
        return False
    driver_connection: Any = connection.connection.driver_connection
    if hasattr(driver_connection, "get_server_pid"):
        process_id = driver_connection.get_server_pid()
    else:
        process_id = getattr(getattr(driver_connection, "info", None), "backend_pid", None)
    return bool(process_id == connection.scalar(text("SELECT pg_backend_pid()")))

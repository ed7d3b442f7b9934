"""SQLite, configured so that many processes can share one file: WAL, BEGIN IMMEDIATE for every write, foreign keys on.

With the driver's defaults, eight concurrent writers lose every tenth read-modify-write; with a deferred BEGIN most of them fail at once.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from sqlalchemy import URL, Connection, Dialect, Engine, Table, delete, event, false
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.dml import Insert

from fine_tuning_store.errors import EngineConfigurationError, UnsupportedDatabaseError
from fine_tuning_store.sql.dialects import sqlite_connections, sqlite_errors, sqlite_url
from fine_tuning_store.sql.dialects.base import Database, driver_exception
from fine_tuning_store.sql.dialects.sqlite_driver import (
    driver_autocommit,
    in_transaction,
    refuse_autocommit_attribute,
    require_transaction,
)
from fine_tuning_store.sql.dialects.sqlite_files import require_files, watch
from fine_tuning_store.sql.dialects.sqlite_writers import add_writer
from fine_tuning_store.sql.models import compatibility
from fine_tuning_store.sql.pools import AsyncSQLitePool, SQLitePool
from fine_tuning_store.sql.timeouts import LOCK_TIMEOUT, Timeouts
from fine_tuning_store.sql.waiting import sleep

#: How long a connection of a host's engine waits for another one's write lock.
_HOST_TIMEOUTS: Final = Timeouts(lock=30)


#: A write of no row.
_WRITE_NOTHING: Final = delete(compatibility).where(false())


class SQLite(Database):
    """SQLite, with Python's sqlite3 or aiosqlite."""

    name = "sqlite"
    driver = "pysqlite"
    async_driver = "aiosqlite"
    drivers = frozenset({"pysqlite", "aiosqlite"})
    has_server = False
    begins_transactions = True
    enforces_foreign_keys = False
    snapshot_options = {}  # noqa: RUF012 - a constant; every transaction is one here
    #: Transactions with this option begin with a deferred BEGIN and wait for no writer.
    read_options = {"sqlite_read_only": True}  # noqa: RUF012 - a constant, and never changed

    def is_in_memory(self, url: URL) -> bool:
        """Return True if the URL names no file."""
        return sqlite_url.path_of(url) is None

    def sole_writer_of(self, url: URL) -> object:
        """Return the path of the file, None if the database is in memory."""
        return sqlite_url.path_of(url)

    def connect_arguments(self, url: URL, dialect: type[Dialect]) -> tuple[URL, dict[str, Any]]:  # noqa: ARG002 - the interface's
        """Check the parameters, and pass all of them on."""
        sqlite_url.check_parameters(url)
        return url, {}

    def engine_options(self, url: URL, dialect: type[Dialect]) -> dict[str, Any]:
        """Share one connection if the database is in memory."""
        options = {"poolclass": AsyncSQLitePool if dialect.is_async else SQLitePool}
        if not self.is_in_memory(url):
            return options
        return {**options, "connect_args": {"check_same_thread": False}, "pool_size": 1, "max_overflow": 0}

    def prepare_engine(self, engine: Engine, timeouts: Timeouts) -> None:
        """Configure each new connection, and raise errors of this package for a locked or damaged file."""
        self.configure(engine, timeouts)
        event.listen(engine, "handle_error", partial(sqlite_errors.typed_error, timeouts.lock))

    def configure(self, engine: Engine, timeouts: Timeouts = _HOST_TIMEOUTS) -> None:
        """Configure each new connection of the engine, which may be a host's. Calling this twice does no harm."""
        event.listen(engine, "connect", partial(sqlite_connections.configure, timeouts.lock))
        event.listen(engine, "invalidate", sqlite_connections.release_lock)
        watch(engine)

    def prepare_read_only_engine(self, engine: Engine, timeouts: Timeouts) -> None:
        """Open the file of each new connection with `mode=ro`: SQLite never creates it, and refuses every write."""
        if self.is_in_memory(engine.url):
            raise UnsupportedDatabaseError(
                "a SQLite database in memory cannot be read_only, because it would always be empty: name a file, as in "
                "sqlite:///fine_tuning.db"
            )
        engine.update_execution_options(**self.read_options)
        watch(engine)
        event.listen(engine, "do_connect", partial(sqlite_connections.open_read_only, timeouts.lock))
        event.listen(engine, "invalidate", sqlite_connections.release_lock)
        event.listen(engine, "handle_error", partial(sqlite_errors.typed_error, timeouts.lock))

    def is_read_only(self, connection: Connection) -> bool:
        """Return the pragma that read-only connections have."""
        return bool(connection.exec_driver_sql("PRAGMA query_only").scalar())

    def begin(self, connection: Connection) -> None:
        """Begin a transaction that may write, unless the execution option `sqlite_read_only` is true."""
        if not connection.get_execution_options().get("sqlite_read_only"):
            self.begin_write(connection)
        elif driver_autocommit(connection) is None:
            connection.exec_driver_sql("BEGIN")

    def begin_write(self, connection: Connection) -> None:
        """Take the write lock now: a transaction that has read cannot write any more once another one has written."""
        if driver_autocommit(connection) is False:  # the driver has begun a transaction, which takes the lock as soon as it writes
            connection.execute(_WRITE_NOTHING)
            add_writer(connection)
            return
        deadline = time.monotonic() + connection.get_execution_options().get(LOCK_TIMEOUT, _HOST_TIMEOUTS.lock)
        while not in_transaction(connection):
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except DBAPIError as error:
                if not connection.dialect.is_async or not self.is_busy(error) or time.monotonic() > deadline:
                    raise
                sleep(0.01, is_async=True)
        add_writer(connection)

    def before_commit(self, connection: Connection) -> None:
        """Raise DatabaseUnreachableError if the file was replaced or deleted since the transaction began: the COMMIT would be lost."""
        require_files(connection.info)

    def begin_write_in_host(self, connection: Connection) -> None:
        """Take the write lock, also on an engine with the driver's defaults. If the driver sends no BEGIN, a listener must have sent it."""
        self.refuse_autocommit(connection)
        if self.is_in_autocommit(connection):
            require_transaction(connection)
        else:
            self.begin_write(connection)

    def refuse_autocommit(self, connection: Connection) -> None:
        """Raise EngineConfigurationError if the driver's commit() and rollback() do nothing."""
        refuse_autocommit_attribute(connection)

    def refuse_private_database(self, connection: Connection) -> None:
        """Raise EngineConfigurationError if each connection has a database in memory of its own, which its pool closes at once."""
        if isinstance(connection.engine.pool, NullPool) and connection.engine.url.query.get("cache") != "shared":
            file = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
            if not file:
                raise EngineConfigurationError(
                    "each connection of this engine has a database in memory of its own, which is deleted with it, because the pool is a "
                    "NullPool: use poolclass=StaticPool, or FineTuningStore.from_url('sqlite://')"
                )

    def is_in_autocommit(self, connection: Connection) -> bool:
        """Return True if the driver sends no BEGIN."""
        driver_connection: Any = connection.connection.dbapi_connection
        autocommit = driver_autocommit(connection)
        return driver_connection.isolation_level is None if autocommit is None else autocommit

    def insert_unless_taken(self, table: Table) -> Insert:
        """INSERT ... ON CONFLICT DO NOTHING."""
        from sqlalchemy.dialects.sqlite import insert  # takes long to import, and is loaded by now if this database is used

        return insert(table).on_conflict_do_nothing()

    def error_code(self, error: BaseException) -> str | None:
        """Return the name of the extended result code."""
        return sqlite_errors.error_code(error)

    def is_duplicate(self, error: BaseException) -> bool:
        """SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE."""
        return self.error_code(error) in ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE")

    def is_referenced(self, error: BaseException) -> bool:
        """By its message: the code is that of a trigger if the key says RESTRICT."""
        return str(driver_exception(error)) == "FOREIGN KEY constraint failed"

    def is_retryable(self, error: BaseException) -> bool:
        """SQLITE_BUSY_SNAPSHOT: another transaction has written since this one has read."""
        return sqlite_errors.is_retryable(error)

    def is_busy(self, error: BaseException) -> bool:
        """SQLITE_BUSY and its other extended codes: another connection holds the lock."""
        return sqlite_errors.is_busy(error)

    def refuses_writes(self, error: BaseException) -> bool:
        """SQLITE_READONLY: the process may not write to the file, or to its folder."""
        return (self.error_code(error) or "").startswith("SQLITE_READONLY")

    def is_damage(self, error: BaseException) -> bool:
        """SQLITE_CORRUPT and its extended codes, SQLITE_NOTADB, and text that is not UTF-8: a value, or a damaged name in a message."""
        return sqlite_errors.is_damage(error)


SQLITE: Final = SQLite()

"""SQLite in migrations.

SQLite makes most changes of a table by rebuilding it: it drops the old table, and ON DELETE CASCADE deletes every child row. So foreign
keys are off while migrations run. Inside a transaction the pragma has no effect and raises no error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from fine_tuning_store.errors import (
    CorruptDataError,
    InvalidValueError,
    SchemaConflictError,
    SchemaLockTimeoutError,
)
from fine_tuning_store.schema import catalog_queries
from fine_tuning_store.schema.commit_hooks import before_each_commit
from fine_tuning_store.schema.dialects.base import MigrationSupport
from fine_tuning_store.sql.dialects import database_named
from fine_tuning_store.sql.dialects.sqlite_driver import disable_autocommit_attribute, driver_autocommit, in_transaction
from fine_tuning_store.sql.waiting import poll


class SQLiteMigrations(MigrationSupport):
    """SQLite: one transaction under its write lock around the whole migration, so that the migration is atomic."""

    database = database_named("sqlite")
    scripts_in_transactions = True
    facts = catalog_queries.SQLITE
    reflects_indexes = False

    @contextmanager
    def migration_lock(self, connection: Connection, seconds: float) -> Iterator[None]:
        """Hold the write lock in one transaction."""
        try:
            with connection.begin():
                if not poll(lambda: self._begin_immediate(connection), seconds, is_async=connection.dialect.is_async):
                    raise SchemaLockTimeoutError(seconds)
                yield
        finally:
            if not connection.invalidated and in_transaction(connection):
                connection.connection.rollback()  # SQLAlchemy does not, if the engine is in AUTOCOMMIT mode

    def damage(self, connection: Connection) -> tuple[str, ...]:
        """Run quick_check, then integrity_check, which also compares indexes with their tables but raises at many a damaged page.

        Each returns `ok` or a line for each fault.
        """
        for check in ("quick_check", "integrity_check"):
            try:
                lines = connection.exec_driver_sql(f"PRAGMA {check}").scalars().all()
            except CorruptDataError as error:
                return (str(error.__cause__),)
            if lines != ["ok"]:
                return tuple(map(str, lines))
        return ()

    def _begin_immediate(self, connection: Connection) -> bool:
        if in_transaction(connection):  # an empty one, begun by a listener of the host
            connection.connection.rollback()
        busy_timeout = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
        try:
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except DBAPIError as error:
            if self.database.is_busy(error):
                return False
            raise
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={busy_timeout}")
        return True

    def foreign_keys_off(self, connection: Connection) -> AbstractContextManager[None]:
        """Disable foreign keys, and refuse each commit that would leave a row without its parent."""
        return _foreign_keys_off(connection)

    @contextmanager
    def dedicated_connection(self, engine: Engine) -> Iterator[Connection]:
        """Open a connection and return it to the pool: a database in memory would be deleted with it, and nothing is left on it.

        Foreign keys cannot be disabled in a transaction, so the driver begins none by itself meanwhile.
        """
        with engine.connect() as connection:
            autocommit = driver_autocommit(connection)
            if autocommit is None:
                yield connection
                return
            driver_connection: Any = connection.connection.driver_connection
            disable_autocommit_attribute(driver_connection)
            try:
                yield connection
            finally:
                connection.rollback()
                driver_connection.autocommit = autocommit


@contextmanager
def _foreign_keys_off(connection: Connection) -> Iterator[None]:
    if not _foreign_keys(connection):
        yield
        return
    if not connection.in_transaction():
        _rows(connection, "PRAGMA foreign_keys=OFF")
    if connection.in_transaction() or _foreign_keys(connection):
        raise InvalidValueError("connection", connection, "must not have begun a transaction, inside which foreign keys stay on")
    before = _orphans(connection)

    def refuse_new_orphans(connection: Connection) -> None:
        new = _orphans(connection) - before
        if new:
            rows = ", ".join(f"{count} of {child} without their {parent}" for (child, parent), count in sorted(new.items()))
            raise SchemaConflictError(f"the migration would leave rows without their parent: {rows}. This step was rolled back")

    try:
        with before_each_commit(connection, refuse_new_orphans):
            yield
    finally:
        if not connection.closed:
            connection.rollback()  # inside an open transaction, often begun by reading the version, the pragma would have no effect
        if not connection.closed and not connection.invalidated:
            _rows(connection, "PRAGMA foreign_keys=ON")


def _foreign_keys(connection: Connection) -> bool:
    return _rows(connection, "PRAGMA foreign_keys") == [(1,)]


def _orphans(connection: Connection) -> Counter[tuple[str, str]]:
    """Count the rows without a parent, by table and parent table. An application without foreign keys may have had some before.

    A key that refers to columns that are not unique cannot be checked, and is ignored.
    """
    found: Counter[tuple[str, str]] = Counter()
    for (table,) in _rows(connection, "SELECT quote(name) FROM sqlite_master WHERE type = 'table'"):
        try:
            orphans = _rows(connection, f"PRAGMA foreign_key_check({table})")
        except Exception as error:  # the driver's, whose module is not imported for this class alone
            if "foreign key mismatch" not in str(error):
                raise
        else:
            found.update((child, parent) for child, _, parent, _ in orphans)
    return found


def _rows(connection: Connection, statement: str) -> list[Any]:
    """Execute by the driver's cursor: SQLAlchemy would begin a transaction."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()]
    finally:
        cursor.close()

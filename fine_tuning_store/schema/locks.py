"""The locks under which one process migrates while the others wait.

Waiting is polling with a time limit. A waiter that blocks inside the database would hold a snapshot, for which CREATE INDEX
CONCURRENTLY waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, TextClause, exc, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store.errors import EngineConfigurationError, SchemaConflictError, SchemaLockTimeoutError
from fine_tuning_store.schema.commit_hooks import before_each_commit
from fine_tuning_store.sql.waiting import poll

#: A migration lock: given a connection and the seconds to wait, a block that holds it.
MigrationLock = Callable[[Connection, float], AbstractContextManager[None]]


def session_lock(name: str, acquire: str, release: str, holder: str) -> MigrationLock:
    """Return a lock that the server keeps for a session until it is released or the session ends.

    Args:
        name: An SQL expression for the lock's key. It is evaluated once, since what it depends on may change during the migration.
        acquire: An SQL expression that tries to acquire the lock of `:key`, and is true if it succeeded.
        release: An SQL expression that releases it, and is true if it was held.
        holder: The select list, and the rest of the query, that describe the process which holds it.
    """
    name_query, acquire_query, release_query, holder_query = (text(f"SELECT {query}") for query in (name, acquire, release, holder))

    def run(connection: Connection, query: TextClause, **parameters: object) -> Any:
        result = connection.scalar(query, parameters)
        connection.commit()
        return result

    @contextmanager
    def lock(connection: Connection, seconds: float) -> Iterator[None]:
        key = run(connection, name_query)
        if not poll(lambda: run(connection, acquire_query, key=key), seconds, is_async=connection.dialect.is_async):
            raise SchemaLockTimeoutError(seconds, run(connection, holder_query, key=key))
        try:
            yield
            connection.commit()
        except BaseException:
            connection.rollback()
            if not connection.invalidated:
                run(connection, release_query, key=key)
            raise
        if not run(connection, release_query, key=key):
            raise lock_lost_error()

    return lock


def transaction_lock(name: str, acquire: str, holder: str) -> MigrationLock:
    """Return the same lock, held by a transaction that stays open on a second connection: a pooler keeps that one on its server.

    Before each commit of the migration that connection is checked. If it was lost, the migration is rolled back.
    """
    name_query, acquire_query, holder_query = (text(f"SELECT {query}") for query in (name, acquire, holder))
    # Unlike a query, SET takes no snapshot. asyncpg leaves the portal of its last statement open, and with it that statement's snapshot,
    # for which CREATE INDEX CONCURRENTLY would wait for ever.
    stay_open = text("SET LOCAL idle_in_transaction_session_timeout = 0")

    @contextmanager
    def lock(connection: Connection, seconds: float) -> Iterator[None]:
        key = connection.scalar(name_query)
        connection.commit()
        with second_connection(connection) as keeper:
            keeper.execution_options(isolation_level="READ COMMITTED")  # so that the open transaction keeps no snapshot

            def acquired() -> bool:
                if keeper.scalar(acquire_query, {"key": key}):
                    return True
                keeper.rollback()
                return False

            def require_held(_: Connection) -> None:
                try:
                    keeper.execute(stay_open)
                except DBAPIError as error:
                    raise lock_lost_error() from error

            if not poll(acquired, seconds, is_async=connection.dialect.is_async):
                raise SchemaLockTimeoutError(seconds, keeper.scalar(holder_query, {"key": key}))
            keeper.execute(stay_open)
            with before_each_commit(connection, require_held):
                try:
                    yield
                    connection.commit()
                except BaseException:
                    connection.rollback()
                    raise

    return lock


@contextmanager
def second_connection(connection: Connection) -> Iterator[Connection]:
    """Open another connection of the same engine. Raises EngineConfigurationError if its pool has none left."""
    needed = "a migration through a pooler, or on Galera, needs two connections at once: give the store an engine whose pool has them"
    try:
        other = connection.engine.connect()
    except exc.TimeoutError as error:
        raise EngineConfigurationError(needed) from error
    with other:
        if other.connection.dbapi_connection is connection.connection.dbapi_connection:
            raise EngineConfigurationError(needed)
        yield other


def lock_lost_error() -> SchemaConflictError:
    """Return the error of a migration whose lock was lost before it ended."""
    return SchemaConflictError(
        "the migration lock was lost during the migration, so another process may be migrating too: uncommitted changes were rolled back, "
        "run it again"
    )

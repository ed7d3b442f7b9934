"""The lock under which one process migrates while the others wait: polled, never blocked on, and bounded.

A waiter that blocks inside the database holds a snapshot that CREATE INDEX CONCURRENTLY waits for; one that polls holds nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection, text

from fine_tuning_store.errors import SchemaLockTimeoutError, UnsupportedDatabaseError
from fine_tuning_store.sql import sqlite_recipe

POLL_SECONDS = 0.05

#: Execution options of an engine behind a pooler of transactions, where a connection is another server's after each commit.
POOLED = {"fine_tuning_store_pooled": True}

MigrationLock = Callable[[Connection, float], AbstractContextManager[None]]


def session_lock(name: str, attempt: str, release: str) -> MigrationLock:
    """A lock that the server keeps for a connection until it is released or the connection ends.

    `attempt` and `release` are the SQL functions that take and leave the lock called `name`, each answering whether it did.
    """
    take, leave = text(f"SELECT {attempt.format(name=name)}"), text(f"SELECT {release.format(name=name)}")

    def ask(connection: Connection, question: object) -> bool:
        answer = bool(connection.scalar(question))  # type: ignore[call-overload]
        connection.commit()
        return answer

    @contextmanager
    def lock(connection: Connection, seconds: float) -> Iterator[None]:
        if POOLED.items() <= connection.get_execution_options().items():
            raise UnsupportedDatabaseError("a pooler keeps no migration lock: migrate over a direct connection, without pooled=True")
        _poll(lambda: ask(connection, take), seconds)
        try:
            yield
        except BaseException:
            connection.rollback()
            if not connection.invalidated:
                ask(connection, leave)
            raise
        connection.commit()
        if not ask(connection, leave):
            raise RuntimeError("the migration lock was lost on the way: migrate over a direct connection, not through a pooler")

    return lock


@contextmanager
def sqlite_lock(connection: Connection, seconds: float) -> Iterator[None]:
    """SQLite's write lock, held by one transaction around the whole migration, which makes the migration atomic too."""
    with connection.begin():
        _poll(lambda: _try_sqlite_lock(connection), seconds)
        yield


def _try_sqlite_lock(connection: Connection) -> bool:
    driver_connection = connection.connection.dbapi_connection
    assert driver_connection is not None
    if sqlite_recipe.in_transaction(connection):  # begun by a listener of the host's, and empty
        driver_connection.rollback()
    cursor = driver_connection.cursor()
    cursor.execute("PRAGMA busy_timeout")
    (patience,) = cursor.fetchone() or (0,)
    try:
        cursor.execute("PRAGMA busy_timeout=0")
        cursor.execute("BEGIN IMMEDIATE")
    except Exception as error:  # the driver's, which is not imported for its class alone
        if sqlite_recipe.is_busy(error):
            return False
        raise
    finally:
        cursor.execute(f"PRAGMA busy_timeout={patience}")
        cursor.close()
    return True


def _poll(attempt: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() >= deadline:
            raise SchemaLockTimeoutError(seconds)
        time.sleep(POLL_SECONDS)

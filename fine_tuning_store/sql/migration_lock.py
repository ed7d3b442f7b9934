"""The lock under which one process migrates while the others wait: polled, never blocked on, and bounded.

A waiter that blocks inside the database holds a snapshot that CREATE INDEX CONCURRENTLY waits for; one that polls holds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, TextClause, exc, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store.errors import SchemaConflictError, SchemaLockTimeoutError, UnsupportedDatabaseError
from fine_tuning_store.sql import sqlite_recipe
from fine_tuning_store.sql.commit_checks import before_each_commit
from fine_tuning_store.sql.waiting import poll

#: Execution options of an engine behind a pooler of transactions, where a connection is another server's after each commit.
POOLED = {"fine_tuning_store_pooled": True}

MigrationLock = Callable[[Connection, float], AbstractContextManager[None]]


def session_lock(name: str, attempt: str, release: str, holder: str) -> MigrationLock:
    """A lock that the server keeps for a connection until it is released or the connection ends.

    `attempt` and `release` are the SQL functions that take and leave the lock called `name`, each answering whether it did, and
    `holder` selects who has it. The name is asked for once: what it is made of may change on the way.
    """
    named, take, leave, held_by = (text(f"SELECT {question}") for question in (name, attempt, release, holder))

    def ask(connection: Connection, question: TextClause, **parameters: object) -> Any:
        answer = connection.scalar(question, parameters)
        connection.commit()
        return answer

    @contextmanager
    def lock(connection: Connection, seconds: float) -> Iterator[None]:
        key = ask(connection, named)
        if not poll(lambda: ask(connection, take, key=key), seconds, is_async=connection.dialect.is_async):
            raise SchemaLockTimeoutError(seconds, ask(connection, held_by, key=key))
        try:
            yield
            connection.commit()
        except BaseException:
            connection.rollback()
            if not connection.invalidated:
                ask(connection, leave, key=key)
            raise
        if not ask(connection, leave, key=key):
            raise lost()

    return lock


def transaction_lock(name: str, attempt: str, holder: str) -> MigrationLock:
    """The same lock, of a transaction that stays open on a second connection meanwhile: a pooler leaves that one with its server.

    Nothing is committed any more after it was lost.
    """
    named, take, held_by = (text(f"SELECT {question}") for question in (name, attempt, holder))

    @contextmanager
    def lock(connection: Connection, seconds: float) -> Iterator[None]:
        key = connection.scalar(named)
        connection.commit()
        with second_connection(connection) as keeper:
            keeper.execution_options(isolation_level="READ COMMITTED")  # its transaction keeps no snapshot, which others would wait for

            def is_taken() -> bool:
                if keeper.scalar(take, {"key": key}):
                    return True
                keeper.rollback()
                return False

            def require_held(_: Connection) -> None:
                try:
                    keeper.execute(text("SELECT 1"))
                except DBAPIError as error:
                    raise lost() from error

            if not poll(is_taken, seconds, is_async=connection.dialect.is_async):
                raise SchemaLockTimeoutError(seconds, keeper.scalar(held_by, {"key": key}))
            keeper.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
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
    """Another connection of the same engine. Raises UnsupportedDatabaseError where its pool has none to give."""
    needed = "a migration through a pooler, or on Galera, needs two connections at once: give the store an engine whose pool has them"
    try:
        other = connection.engine.connect()
    except exc.TimeoutError as error:
        raise UnsupportedDatabaseError(needed) from error
    with other:
        if other.connection.dbapi_connection is connection.connection.dbapi_connection:
            raise UnsupportedDatabaseError(needed)
        yield other


def by_sessions(holds: Callable[[Connection], bool], lock: MigrationLock, otherwise: MigrationLock) -> MigrationLock:
    """A lock that takes one of two: what a session holds is worth nothing in some set-ups of the same database."""

    def choose(connection: Connection, seconds: float) -> AbstractContextManager[None]:
        return (lock if holds(connection) else otherwise)(connection, seconds)

    return choose


def lost() -> SchemaConflictError:
    """What is raised where the lock turns out to be another's, or nobody's, before the migration is done."""
    return SchemaConflictError(
        "the migration lock was lost on the way, so another process may be migrating too: what was not committed is undone, run it again"
    )


def is_one_postgresql_session(connection: Connection) -> bool:
    """Whether one session of the server's serves the connection throughout: a pooler tells a process id that is not the server's."""
    if POOLED.items() <= connection.get_execution_options().items():
        return False
    driver_connection: Any = connection.connection.driver_connection
    if hasattr(driver_connection, "get_server_pid"):
        told = driver_connection.get_server_pid()
    else:
        told = getattr(getattr(driver_connection, "info", None), "backend_pid", None)
    return bool(told == connection.scalar(text("SELECT pg_backend_pid()")))


def is_alone(connection: Connection) -> bool:
    """Whether this MariaDB is no node of a Galera cluster, each of which would grant the same lock."""
    variable = connection.execute(text("SHOW VARIABLES LIKE 'wsrep_on'")).one_or_none()  # some servers are built without it
    return variable is None or variable[1] != "ON"


@contextmanager
def sqlite_lock(connection: Connection, seconds: float) -> Iterator[None]:
    """SQLite's write lock, held by one transaction around the whole migration, which makes the migration atomic too."""
    try:
        with connection.begin():
            if not poll(lambda: _try_sqlite_lock(connection), seconds, is_async=connection.dialect.is_async):
                raise SchemaLockTimeoutError(seconds)
            yield
    finally:
        if not connection.invalidated and sqlite_recipe.in_transaction(connection):
            connection.connection.rollback()  # an engine in AUTOCOMMIT mode does not


def _try_sqlite_lock(connection: Connection) -> bool:
    if sqlite_recipe.in_transaction(connection):  # begun by a listener of the host's, and empty
        connection.connection.rollback()
    patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    try:
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except DBAPIError as error:
        if sqlite_recipe.is_busy(error.driver_exception):
            return False
        raise
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={patience}")
    return True

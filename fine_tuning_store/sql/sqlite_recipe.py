"""How SQLite is used so that many processes can share one file: WAL, BEGIN IMMEDIATE for every write, foreign keys on.

With the driver's defaults, eight writers lose every tenth read-modify-write; with a deferred BEGIN most of them fail at once.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, event
from sqlalchemy.pool import QueuePool

from fine_tuning_store.sql.waiting import sleep

#: How long a connection waits for another one's write lock, in seconds.
BUSY_SECONDS = 30


def engine_options(url: URL) -> dict[str, Any]:
    """Arguments of create_engine: no BEGIN of the driver's own, and one shared connection for a database in memory."""
    options: dict[str, Any] = {"connect_args": {"isolation_level": None, "timeout": BUSY_SECONDS}}
    if url.database in (None, "", ":memory:"):
        options["connect_args"]["check_same_thread"] = False
        options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
    return options


def prepare_engine(engine: Engine) -> None:
    """Set up each new connection of an engine of ours."""

    @event.listens_for(engine, "connect")
    def connected(dbapi_connection: Any, _: object) -> None:
        cursor = dbapi_connection.cursor()
        _switch_to_wal(cursor, engine.dialect)
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "invalidate")
    def invalidated(dbapi_connection: Any, *_: object) -> None:
        dbapi_connection.rollback()  # a task that was cancelled during a SELECT would leave the write lock held, even when closed


def _switch_to_wal(cursor: Any, dialect: Dialect) -> None:
    """The switch does not wait for others as everything else does, so it is tried again until it is done by whoever was first."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode")
            if cursor.fetchone()[0] not in ("wal", "memory"):
                cursor.execute("PRAGMA journal_mode=WAL")
        except Exception as error:  # the driver's, which is not imported for its class alone
            if getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY":  # a file that may only be read is read in whatever mode it has
                return
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            sleep(0.01, dialect)
        else:
            return


def is_busy(error: Any) -> bool:
    """Whether a driver's error says that another connection holds the lock."""
    return str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_BUSY")


def begin_write(connection: Connection) -> None:
    """Take the write lock now: a transaction that read first and then wants to write is refused at once if another wrote meanwhile."""
    if not in_transaction(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def in_transaction(connection: Connection) -> bool:
    """Whether SQLite itself, not only SQLAlchemy, has begun a transaction."""
    driver_connection: Any = connection.connection.driver_connection
    return bool(driver_connection.in_transaction)

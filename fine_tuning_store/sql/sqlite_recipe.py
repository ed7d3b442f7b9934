"""How SQLite is used so that many processes can share one file: WAL, BEGIN IMMEDIATE for every write, foreign keys on.

With the driver's defaults, eight writers lose every tenth read-modify-write; with a deferred BEGIN most of them fail at once.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

from fine_tuning_store.sql.waiting import sleep

#: How long a connection waits for another one's write lock, in seconds.
BUSY_SECONDS = 30

#: The same inside of SQLite where the driver is async; BEGIN IMMEDIATE is tried again until then.
AWAITED_BUSY_SECONDS = 1

#: Execution options under which a transaction only reads, and waits for no writer.
READ_ONLY = {"sqlite_read_only": True}


def is_in_memory(url: URL) -> bool:
    """Whether a database is gone with its last connection."""
    return url.database in (None, "", ":memory:")


def engine_options(url: URL, dialect: type[Dialect]) -> dict[str, Any]:
    """Arguments of create_engine: one shared connection for a database in memory."""
    if not is_in_memory(url):
        return {}
    pool = AsyncAdaptedQueuePool if dialect.is_async else QueuePool
    return {"connect_args": {"check_same_thread": False}, "poolclass": pool, "pool_size": 1, "max_overflow": 0}


def prepare_engine(engine: Engine) -> None:
    """Set up each new connection of an engine. Twice is as good as once."""
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "invalidate", _release_lock)


def _set_up(dbapi_connection: Any, _: object) -> None:
    dbapi_connection.isolation_level = None  # no BEGIN of the driver's own
    cursor = dbapi_connection.cursor()
    is_async = hasattr(dbapi_connection, "run_async")  # a task that is cancelled can leave a wait of ours, not one inside of SQLite
    cursor.execute(f"PRAGMA busy_timeout={(AWAITED_BUSY_SECONDS if is_async else BUSY_SECONDS) * 1000}")
    _switch_to_wal(cursor, is_async=is_async)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _release_lock(dbapi_connection: Any, *_: object) -> None:
    """A task that is cancelled while it waits for aiosqlite leaves a connection that is closed late, and a write lock with it."""
    with suppress(Exception):  # of one that is closed already
        dbapi_connection.rollback()


def _switch_to_wal(cursor: Any, *, is_async: bool) -> None:
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
            sleep(0.01, is_async=is_async)
        else:
            return


def is_busy(error: Any) -> bool:
    """Whether a driver's error says that another connection holds the lock."""
    return str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_BUSY")


def advice(error: Any, url: URL) -> str:
    """What to do about a file that SQLite cannot open, or cannot read where it cannot write."""
    if not str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return ""
    if Path(str(url.database)).is_dir():
        return ": it is a folder, so name a file in it"
    return ": its folder must be there and be writable, also to read, because SQLite keeps files beside its own"


def begin_write(connection: Connection) -> None:
    """Take the write lock now: a transaction that read first and then wants to write is refused at once if another wrote meanwhile."""
    deadline = time.monotonic() + BUSY_SECONDS
    while not in_transaction(connection):
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except DBAPIError as error:
            if not connection.dialect.is_async or not is_busy(error.driver_exception) or time.monotonic() > deadline:
                raise
            sleep(0.01, is_async=True)


def begin(connection: Connection) -> None:
    """Begin a transaction of a host's: one that may write, unless its execution option `sqlite_read_only` is true."""
    if connection.get_execution_options().get("sqlite_read_only"):
        connection.exec_driver_sql("BEGIN")
    else:
        begin_write(connection)


def in_transaction(connection: Connection) -> bool:
    """Whether SQLite itself, not only SQLAlchemy, has begun a transaction."""
    driver_connection: Any = connection.connection.driver_connection
    return bool(driver_connection.in_transaction)

"""New connections to SQLite files: to write, and to read only."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import Dialect

from fine_tuning_store.errors import CorruptDataError, DatabaseUnreachableError
from fine_tuning_store.sql.dialects.sqlite_driver import disable_autocommit_attribute
from fine_tuning_store.sql.dialects.sqlite_errors import error_code, is_busy, is_damage
from fine_tuning_store.sql.waiting import sleep

#: The longest wait inside SQLite, in seconds, if the driver is async. BEGIN IMMEDIATE is repeated until the time is over: a cancelled
#: task can leave a wait of this package, but not one inside SQLite.
ASYNC_BUSY_SECONDS: Final = 1
#: To how many bytes the file that ends in `-wal` is cut once its contents are in the database file. It grows beyond them, and would stay as
#: large, while a transaction reads for long.
MAX_LOG_SIZE: Final = 64 * 1024 * 1024


def configure(lock_seconds: float, dbapi_connection: Any, _: object) -> None:
    """Switch to WAL mode, enforce foreign keys, and wait for locks."""
    is_async = hasattr(dbapi_connection, "run_async")
    cursor = _cursor(dbapi_connection, lock_seconds, is_async=is_async)
    try:
        _switch_to_wal(cursor, lock_seconds, is_async=is_async)
    except UnicodeDecodeError as error:  # no error of the driver, so that no listener gets it
        raise CorruptDataError from error
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute(f"PRAGMA journal_size_limit={MAX_LOG_SIZE}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _cursor(dbapi_connection: Any, lock_seconds: float, *, is_async: bool) -> Any:
    """Return a cursor of a new connection, on which the driver sends no BEGIN by itself, and which waits for locks."""
    disable_autocommit_attribute(getattr(dbapi_connection, "driver_connection", dbapi_connection))
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    seconds = min(lock_seconds, ASYNC_BUSY_SECONDS) if is_async else lock_seconds
    cursor.execute(f"PRAGMA busy_timeout={math.ceil(seconds * 1000)}")
    return cursor


def open_read_only(lock_seconds: float, dialect: Dialect, _: object, arguments: list[str], options: dict[str, Any]) -> Any:
    """Return a connection that cannot write. It has read the file once, because SQLite opens what is beside it only then."""
    (name,) = arguments
    path, uri = (Path(unquote(urlsplit(name).path)), name) if options.get("uri") else (Path(name), Path(name).as_uri())
    # Asked before: the thread of aiosqlite outlives its loop if it cannot open its file.
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise DatabaseUnreachableError(
            f"cannot read {str(path)!r}: there is no such file, or this process may not read it (read_only=True never creates a file)"
        )
    uri += f"{'&' if '?' in uri else '?'}mode=ro"  # of several modes the last one applies
    dbapi_connection: Any = dialect.connect(uri, **{**options, "uri": True})
    try:
        cursor = _cursor(dbapi_connection, lock_seconds, is_async=dialect.is_async)
        cursor.execute("PRAGMA query_only=ON")
        cursor.execute("PRAGMA schema_version")
        cursor.close()
    except Exception as error:  # the driver's, whose module is not imported for this function alone
        dbapi_connection.close()
        if is_damage(error):
            raise CorruptDataError from error
        reason = _why_unreadable(error_code(error) or "")
        if reason is None:
            raise
        raise DatabaseUnreachableError(f"cannot read {str(path)!r}: {reason}") from error
    return dbapi_connection


def _why_unreadable(code: str) -> str | None:
    """Return why SQLite cannot read an existing file with `mode=ro`, and what to do; None for other errors."""
    if code == "SQLITE_READONLY_ROLLBACK":
        return (
            "a process was killed while it wrote. Open the file once without read_only=True, so that SQLite undoes what was not committed"
        )
    if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return (
            "the file is in WAL mode, and this process can neither open nor create the files -wal and -shm that SQLite needs beside it. "
            "Allow the process to write to the folder, or keep another process connected that may, or take the file out of WAL mode "
            "(PRAGMA journal_mode=DELETE) if it is written no more"
        )
    return None


def release_lock(dbapi_connection: Any, *_: object) -> None:
    """Roll back: the connection of a task that was cancelled while it waited for aiosqlite is closed late, and keeps its lock till then."""
    with suppress(Exception):  # it may be closed already
        dbapi_connection.rollback()


def _switch_to_wal(cursor: Any, seconds: float, *, is_async: bool) -> None:
    """Switch to WAL mode. The switch ignores busy_timeout, so it is repeated until it succeeds or another connection has done it."""
    deadline, mode = time.monotonic() + seconds, None
    while True:
        try:
            cursor.execute("PRAGMA journal_mode")
            (mode,) = cursor.fetchone()
            if mode not in ("wal", "memory"):
                cursor.execute("PRAGMA journal_mode=WAL")
        except Exception as error:  # the driver's, whose module is not imported for this class alone
            if mode and (error_code(error) or "").startswith("SQLITE_READONLY"):  # a file that can only be read keeps its journal mode
                return
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            sleep(0.01, is_async=is_async)
        else:
            return

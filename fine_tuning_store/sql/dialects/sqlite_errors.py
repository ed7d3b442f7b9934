"""The errors of SQLite, by its extended result codes."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.engine import ExceptionContext

from fine_tuning_store.errors import CorruptDataError, FineTuningStoreError, StoreBusyError
from fine_tuning_store.sql.dialects.base import driver_exception


def error_code(error: BaseException) -> str | None:
    """Return the name of the extended result code."""
    return getattr(driver_exception(error), "sqlite_errorname", None)


def is_retryable(error: BaseException) -> bool:
    """SQLITE_BUSY_SNAPSHOT: another transaction has written since this one has read."""
    return error_code(error) == "SQLITE_BUSY_SNAPSHOT"


def is_busy(error: BaseException) -> bool:
    """SQLITE_BUSY and its other extended codes: another connection holds the lock."""
    return (error_code(error) or "").startswith("SQLITE_BUSY") and not is_retryable(error)


def is_damage(error: BaseException) -> bool:
    """SQLITE_CORRUPT and its extended codes, SQLITE_NOTADB, and text that is not UTF-8: a value, or a damaged name in a message."""
    if (error_code(error) or "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return True
    return isinstance(error, UnicodeDecodeError) or str(driver_exception(error)).startswith("Could not decode to UTF-8")


def connection_advice(error: BaseException, url: URL) -> str:
    """Return what to do about a file that cannot be opened, or cannot be read because its folder cannot be written to."""
    if not (error_code(error) or "").startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return ""
    if Path(str(url.database)).is_dir():
        return ": it is a folder, so name a file in it"
    return ": its folder must exist and be writable, also for reading, because SQLite keeps files beside its own"


def typed_error(lock_seconds: float, context: ExceptionContext) -> FineTuningStoreError | None:
    """Return the error of this package for a file that is damaged, or that was locked for too long while it was opened.

    What waits for a lock later is a transaction, which raises StoreBusyError by itself.
    """
    error = context.original_exception
    if is_damage(error):
        return CorruptDataError()
    return StoreBusyError("lock", lock_seconds) if context.connection is None and is_busy(error) else None

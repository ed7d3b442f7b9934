"""The errors of SQLite, by its extended result codes."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.engine import ExceptionContext

from fine_tuning_store.errors import CorruptDataError, DatabaseUnreachableError, FineTuningStoreError, StoreBusyError
from fine_tuning_store.sql.dialects.base import driver_exception
from fine_tuning_store.sql.dialects.sqlite_url import path_of


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


def typed_error(lock_seconds: float, context: ExceptionContext) -> FineTuningStoreError | None:
    """Return the error of this package for a file that is damaged, or that could not be opened or was locked for too long meanwhile.

    What waits for a lock later is a transaction, which raises StoreBusyError by itself.
    """
    error = context.original_exception
    if is_damage(error):
        return CorruptDataError()
    if context.connection is not None:
        return None
    if is_busy(error):
        return StoreBusyError("lock", lock_seconds)
    path = path_of(context.engine.url) if context.engine is not None else None
    if path is not None and (error_code(error) or "").startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return DatabaseUnreachableError(f"cannot open {path!r}: {_why_not_open(Path(path))}")
    return None


def _why_not_open(path: Path) -> str:
    if path.is_dir():
        return "it is a folder, so name a file in it"
    if path.exists() and not os.access(path, os.R_OK):
        return "this process may not read it"
    if not path.exists() and os.access(path.parent, os.W_OK):
        return "there is no such file, and the mode of the URL creates none"
    return "its folder must exist and be writable, also for reading, because SQLite keeps files beside its own"

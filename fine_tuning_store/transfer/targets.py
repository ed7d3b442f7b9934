"""The files that are written: no device, no file that is read, and not the database."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.sql.dialects import database_for
from fine_tuning_store.store import FineTuningStore


def checked_target(store: FineTuningStore, path: str | os.PathLike[str], field: str = "path", *, sources: Iterable[Path] = ()) -> Path:
    """Return the path of a file that may be written, where a symbolic link leads.

    Args:
        store: The store, whose SQLite file must not be overwritten.
        path: The path.
        field: The name of the argument, for the error.
        sources: Files that are read meanwhile.

    Raises:
        InvalidValueError: It is a device, a pipe or a folder, one of the sources, or a file of the database.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise InvalidValueError(field, str(path), "must be a regular file, or a path at which there is nothing")
    engine = store._transactions.engine
    database = database_for(engine.dialect).sole_writer_of(engine.url)
    if isinstance(database, str) and str(target) in (database, *(f"{database}{suffix}" for suffix in ("-wal", "-shm", "-journal"))):
        raise InvalidValueError(field, str(path), "must not be a file of the database")
    if any(target == source.resolve() for source in sources):
        raise InvalidValueError(field, str(path), "must not be the file that is read")
    return target

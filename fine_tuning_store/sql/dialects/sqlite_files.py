"""The files that the connections of a SQLite engine have open.

A file that is replaced or deleted lives on, without a name, for the connections that have it open. What they write is lost with them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.pool import NullPool

from fine_tuning_store.errors import DatabaseUnreachableError
from fine_tuning_store.sql.dialects.sqlite_url import path_of

#: What identifies a file, whatever its name: its device and inode.
Identity = tuple[int, int]

#: The key, in the `info` of a connection, of the function that raises if its files are no longer those of their names.
REQUIRE_FILES: Final = "fine_tuning_store_require_files"


def watch(engine: Engine) -> None:
    """Refuse connections of the engine once its file was replaced or deleted, until the engine is disposed of.

    New ones are refused as well. They would create an empty file, or write to a file that an operator has not yet put in place.
    """
    if isinstance(engine.pool, NullPool) or path_of(engine.url) is None:  # keeps no file open
        return
    files = _Files(engine)
    event.listen(engine, "do_connect", files.before_connect)
    event.listen(engine, "connect", files.after_connect)
    event.listen(engine, "checkout", _check)


def _check(_dbapi_connection: object, record: Any, _proxy: object) -> None:
    require_files(record.info)


def require_files(info: Mapping[str, Any]) -> None:
    """Raise DatabaseUnreachableError if a file of the connection with this `info` was replaced or deleted."""
    require = info.get(REQUIRE_FILES)
    if require is not None:
        require()


class _Files:
    """The database file of an engine, and what each of its connections has open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = engine.pool
        self._path = ""
        self._identity: Identity | None = None  #: of the first connection's file
        self._is_lost = False

    def before_connect(self, *_: object) -> None:
        if self._pool is not self._engine.pool:  # the engine was disposed of
            self._pool, self._identity, self._is_lost = self._engine.pool, None, False
        if self._identity is not None:
            self._require({self._path: self._identity})

    def after_connect(self, dbapi_connection: Any, record: Any) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA database_list")
        name = cursor.fetchone()[2]
        cursor.close()
        if not name:  # in memory
            return
        self._path, log = name, f"{name}-wal"
        self._identity = self._identity or _identity(self._path)
        identities = {self._path: self._identity}
        log_identity = _identity(log)
        if log_identity is not None:  # then it stays the same as long as the connection is open
            identities[log] = log_identity
        record.info[REQUIRE_FILES] = partial(self._require, identities)

    def _require(self, identities: Mapping[str, Identity | None]) -> None:
        for path, identity in identities.items():
            if self._is_lost or identity is None or _identity(path) != identity:
                self._is_lost = True
                raise DatabaseUnreachableError(
                    f"'{path}' was replaced or deleted while this process had it open, so the call did nothing. Put the right file in "
                    "place, without the files -wal and -shm of another one, then restart every process that uses it (or close this store)"
                )


def _identity(path: str) -> Identity | None:
    """Return what identifies the file of this name, None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - at each checkout, where a Path takes twice as long
    except OSError:
        return None
    return found.st_dev, found.st_ino

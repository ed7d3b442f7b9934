"""SQLite changes most of a table by rebuilding it: it drops the old one, and ON DELETE CASCADE takes every child row along.

So foreign keys are off while migrations run. Inside a transaction the pragma does nothing, without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from fine_tuning_store.errors import InvalidValueError, SchemaConflictError
from fine_tuning_store.sql.commit_checks import before_each_commit


@contextmanager
def sqlite_foreign_keys_off(connection: Connection) -> Iterator[None]:
    """Foreign keys off inside the block, where they were on; each commit is refused that would leave a row without its parent."""
    if not _foreign_keys(connection):
        yield
        return
    if not connection.in_transaction():
        _rows(connection, "PRAGMA foreign_keys=OFF")
    if connection.in_transaction() or _foreign_keys(connection):
        raise InvalidValueError("connection", connection, "must not have begun a transaction, inside of which foreign keys stay on")
    before = _orphans(connection)

    def refuse_new_orphans(connection: Connection) -> None:
        new = _orphans(connection) - before
        if new:
            said = ", ".join(f"{count} of {child} without their {parent}" for (child, parent), count in sorted(new.items()))
            raise SchemaConflictError(f"the migration would leave rows whose parent is gone: {said}. This step was rolled back")

    try:
        with before_each_commit(connection, refuse_new_orphans):
            yield
    finally:
        if not connection.closed:
            connection.rollback()  # what was left open, most often by a look at the version, keeps the pragma from taking effect
        if not connection.closed and not connection.invalidated:
            _rows(connection, "PRAGMA foreign_keys=ON")


def _foreign_keys(connection: Connection) -> bool:
    return _rows(connection, "PRAGMA foreign_keys") == [(1,)]


def _orphans(connection: Connection) -> Counter[tuple[str, str]]:
    """How many rows of which table miss their parent in which other. An application without foreign keys may have had some before.

    A key that refers to no unique columns cannot be checked and is left to whoever made it.
    """
    found: Counter[tuple[str, str]] = Counter()
    for (table,) in _rows(connection, "SELECT quote(name) FROM sqlite_master WHERE type = 'table'"):
        try:
            orphans = _rows(connection, f"PRAGMA foreign_key_check({table})")
        except Exception as error:  # the driver's, which is not imported for its class alone
            if "foreign key mismatch" not in str(error):
                raise
        else:
            found.update((child, parent) for child, _, parent, _ in orphans)
    return found


def _rows(connection: Connection, statement: str) -> list[Any]:
    """Past SQLAlchemy, which would begin a transaction."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()]
    finally:
        cursor.close()

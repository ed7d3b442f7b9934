"""A condition for each commit on a connection that migrates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event


@contextmanager
def before_each_commit(connection: Connection, require: Callable[[Connection], None]) -> Iterator[None]:
    """Call a function before each commit inside the block. If it raises, the transaction is rolled back instead."""

    def check(connection: Connection) -> None:
        try:
            require(connection)
        except BaseException:
            if not connection.invalidated:
                connection.connection.rollback()  # for SQLAlchemy the transaction has ended, although its commit raised
            raise

    event.listen(connection, "commit", check)
    try:
        yield
    finally:
        event.remove(connection, "commit", check)

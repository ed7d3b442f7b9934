"""A condition of each commit on a connection that migrates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event


@contextmanager
def before_each_commit(connection: Connection, require: Callable[[Connection], None]) -> Iterator[None]:
    """A block in which a transaction is committed only if this does not raise, and is rolled back otherwise."""

    def check(connection: Connection) -> None:
        try:
            require(connection)
        except BaseException:
            if not connection.invalidated:
                connection.connection.rollback()  # SQLAlchemy takes a commit that raised for the end of the transaction
            raise

    event.listen(connection, "commit", check)
    try:
        yield
    finally:
        event.remove(connection, "commit", check)

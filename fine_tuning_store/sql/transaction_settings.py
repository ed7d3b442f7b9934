"""A setting of PostgreSQL for what a migration does on its connection, and for nobody who uses that session before or after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event, text

_SET = text("SELECT set_config(:name, :value, true)")


@contextmanager
def in_each_transaction(connection: Connection, name: str, value: str) -> Iterator[None]:
    """A block in which each transaction begins with the setting. It holds behind a pooler too, which lends a session to each anew."""

    def begun(connection: Connection) -> None:
        connection.execute(_SET, {"name": name, "value": value})

    connection.commit()  # what has begun already would go without
    event.listen(connection, "begin", begun)
    try:
        yield
    finally:
        connection.rollback()
        event.remove(connection, "begin", begun)

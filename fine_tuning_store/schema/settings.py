"""Settings that a migration makes for itself: neither earlier nor later users of the session see them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event, text

_SET_CONFIG = text("SELECT set_config(:name, :value, true)")


@contextmanager
def set_in_each_transaction(connection: Connection, name: str, value: str) -> Iterator[None]:
    """Set a parameter of PostgreSQL at the beginning of each transaction: behind a pooler each one may run in another session."""

    def set_config(connection: Connection) -> None:
        connection.execute(_SET_CONFIG, {"name": name, "value": value})

    connection.commit()  # the parameter would be missing in a transaction that has begun
    event.listen(connection, "begin", set_config)
    try:
        yield
    finally:
        connection.rollback()
        event.remove(connection, "begin", set_config)


@contextmanager
def set_in_session(connection: Connection, name: str, value: str) -> Iterator[None]:
    """Set a variable of a MariaDB session, and restore it at the end of the block."""
    before = connection.scalar(text(f"SELECT @@SESSION.{name}"))
    statement = text(f"SET SESSION {name} = :value")
    connection.execute(statement, {"value": int(value)})
    connection.commit()
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.rollback()
            connection.execute(statement, {"value": before})
            connection.commit()

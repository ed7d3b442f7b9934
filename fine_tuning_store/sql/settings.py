"""A setting of the database for what a migration does on its connection, and for nobody who uses that session before or after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection, event, text

Setting = Callable[[Connection, str, str], AbstractContextManager[None]]

_SET = text("SELECT set_config(:name, :value, true)")


@contextmanager
def in_each_transaction(connection: Connection, name: str, value: str) -> Iterator[None]:
    """A block in which each transaction of PostgreSQL begins with the setting. A pooler lends a session to each anew."""

    def begun(connection: Connection) -> None:
        connection.execute(_SET, {"name": name, "value": value})

    connection.commit()  # what has begun already would go without
    event.listen(connection, "begin", begun)
    try:
        yield
    finally:
        connection.rollback()
        event.remove(connection, "begin", begun)


@contextmanager
def in_session(connection: Connection, name: str, value: str) -> Iterator[None]:
    """A block in which the session of MariaDB has the setting."""
    before = connection.scalar(text(f"SELECT @@SESSION.{name}"))
    setting = text(f"SET SESSION {name} = :value")
    connection.execute(setting, {"value": int(value)})
    connection.commit()
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.rollback()
            connection.execute(setting, {"value": before})
            connection.commit()

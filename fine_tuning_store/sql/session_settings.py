"""A setting of a PostgreSQL session, on a connection that a migration has to itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

_GET = text("SELECT current_setting(:name)")
_SET = text("SELECT set_config(:name, :value, false)")


@contextmanager
def session_setting(connection: Connection, name: str, value: str) -> Iterator[None]:
    """A block in which the setting has this value, also across commits. What it was before is restored."""
    before = connection.scalar(_GET, {"name": name})
    connection.execute(_SET, {"name": name, "value": value})
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        if not connection.invalidated:
            connection.execute(_SET, {"name": name, "value": before})
            connection.commit()

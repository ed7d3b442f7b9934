"""How long a migration waits for a table that others use.

Who waits for the exclusive lock of a PostgreSQL table stops everybody who comes later, readers too. So a migration waits briefly,
lets them by, and tries again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, text

from fine_tuning_store.sql.dialects import traits_of

#: How long others may stand in line behind a migration, in seconds; and for how long it then lets them by.
LOCK_WAIT_SECONDS: Final = 1

_SET = text("SELECT set_config('lock_timeout', :value, false)")


@contextmanager
def brief_lock_waits(connection: Connection) -> Iterator[None]:
    """A block in which each statement on the connection gives up after this wait. The setting from before is restored."""
    if not traits_of(connection.dialect.name).limits_lock_waits:
        yield
        return
    before = connection.scalar(text("SELECT current_setting('lock_timeout')"))
    connection.execute(_SET, {"value": f"{LOCK_WAIT_SECONDS}s"})
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        if not connection.invalidated:
            connection.execute(_SET, {"value": before})
            connection.commit()

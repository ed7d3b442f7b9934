"""How long a migration waits for a table that others use.

Who waits for the exclusive lock of a PostgreSQL table stops everybody who comes later, readers too. So a migration waits briefly,
lets them by, and tries again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection

from fine_tuning_store.sql.dialects import traits_of
from fine_tuning_store.sql.transaction_settings import in_each_transaction

#: How long others may stand in line behind a migration, in seconds; and for how long it then lets them by.
LOCK_WAIT_SECONDS: Final = 1


@contextmanager
def brief_lock_waits(connection: Connection) -> Iterator[None]:
    """A block in which each statement on the connection gives up after this wait."""
    if not traits_of(connection.dialect.name).limits_lock_waits:
        yield
        return
    with in_each_transaction(connection, "lock_timeout", f"{LOCK_WAIT_SECONDS}s"):
        yield

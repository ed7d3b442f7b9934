"""How long a migration waits for a table that others use.

Who waits for the exclusive lock of a table on PostgreSQL or MariaDB stops everybody who comes later, readers too. So a migration
waits briefly, lets them by, and tries again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import Connection

from fine_tuning_store.sql.dialects import traits_of


@contextmanager
def brief_lock_waits(connection: Connection) -> Iterator[None]:
    """A block in which each statement on the connection gives up after LOCK_WAIT_SECONDS."""
    traits = traits_of(connection.dialect.name)
    with ExitStack() as settings:
        for name, value in traits.lock_waits.items():
            settings.enter_context(traits.setting(connection, name, value))
        yield

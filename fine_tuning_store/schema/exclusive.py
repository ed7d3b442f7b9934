"""What a migration has to itself while it runs: Alembic, and a connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine

from fine_tuning_store.errors import InvalidValueError, SchemaLockTimeoutError
from fine_tuning_store.sql.dialects import traits_of
from fine_tuning_store.sql.waiting import poll

#: How long an upgrade waits for another process that is migrating, in seconds.
LOCK_SECONDS: Final = 60.0

#: Alembic keeps the running migration in module globals: two threads or tasks at once would mix theirs up.
_alembic_in_use = threading.Lock()


@contextmanager
def patience(seconds: object) -> Iterator[Callable[[], float]]:
    """A block that is told what is left of the seconds: they are for all that it waits for together.

    Its SchemaLockTimeoutError tells the whole. Raises InvalidValueError for what is no number of seconds.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise InvalidValueError("lock_timeout", seconds, "must be a number of seconds")
    deadline = time.monotonic() + seconds
    try:
        yield lambda: max(deadline - time.monotonic(), 0)
    except SchemaLockTimeoutError as error:
        raise SchemaLockTimeoutError(seconds, error.holder) from error


@contextmanager
def alembic(engine: Engine, seconds: float) -> Iterator[None]:
    """Alembic for one caller of this process at a time. Raises SchemaLockTimeoutError if that takes too long."""
    if not poll(lambda: _alembic_in_use.acquire(blocking=False), seconds, is_async=engine.dialect.is_async):
        raise SchemaLockTimeoutError(seconds, "another thread or task of this process")
    try:
        yield
    finally:
        _alembic_in_use.release()


@contextmanager
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection that is closed afterwards: nobody is lent the locks and settings that an interrupted migration may leave on it."""
    with engine.connect() as own:
        try:
            yield own
        finally:
            if traits_of(engine.dialect.name).outlives_connections and not own.invalidated:
                own.invalidate()

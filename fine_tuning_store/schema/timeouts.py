"""How long a migration waits: for others that migrate, and for tables that are in use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from fine_tuning_store.errors import InvalidValueError, SchemaLockTimeoutError

#: The default time that an upgrade waits for another process that is migrating, in seconds.
LOCK_SECONDS: Final = 60.0

#: The time that one statement waits for the lock of a table, in seconds. All later statements on the table queue behind a migration
#: that waits, readers included, so it gives up after this time, pauses as long, and tries again.
LOCK_WAIT_SECONDS: Final = 1


@contextmanager
def deadline(seconds: object) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds left until one shared deadline.

    A SchemaLockTimeoutError that leaves the block names the whole time.

    Raises:
        InvalidValueError: The argument is not a number of seconds.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise InvalidValueError("lock_timeout", seconds, "must be a number of seconds")
    end = time.monotonic() + seconds
    try:
        yield lambda: max(end - time.monotonic(), 0)
    except SchemaLockTimeoutError as error:
        raise SchemaLockTimeoutError(seconds, error.holder) from error

"""When a transaction is run again: it lost to another one, or its connection was lost before it could be committed."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError

from fine_tuning_store.errors import ReadOnlyStoreError
from fine_tuning_store.sql.dialects import Database
from fine_tuning_store.sql.waiting import sleep

_logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How often a transaction that loses to others is tried, and for how many seconds new tries are begun.
MAX_ATTEMPTS: Final = 6
RETRY_SECONDS: Final = 30.0
#: For how many seconds after a connection was lost new ones are tried: a server that restarts refuses them at first.
RECONNECT_SECONDS: Final = 5.0


def retry(attempt: Callable[[], T], database: Database, *, is_async: bool, also_disconnected: bool = False, is_lost: bool = False) -> T:
    """Run a transaction, again if it was undone in favor of another one.

    Args:
        attempt: Runs it. It must not raise the error of a lost connection if the transaction may have been committed.
        database: The database.
        is_async: True if its driver is.
        also_disconnected: True to run it again if the connection was lost, or the server refuses writes and another one may not.
        is_lost: True if a connection was lost before.
    """
    started = time.monotonic()
    lost_at = started if is_lost else None
    conflicts, was_refused = 0, False
    for number in count(1):
        try:
            return attempt()
        except DBAPIError as error:
            now = time.monotonic()
            if database.is_retryable(error):
                conflicts += 1
                if conflicts == MAX_ATTEMPTS or now - started > RETRY_SECONDS:
                    raise
                pause = random.uniform(0, 0.005 * 2**conflicts)
            elif also_disconnected and (error.connection_invalidated or (lost_at is not None and isinstance(error, OperationalError))):
                pause = 0.0 if lost_at is None else random.uniform(0.05, 0.25)
                lost_at = now if lost_at is None else lost_at
                if now - lost_at > RECONNECT_SECONDS:
                    raise
            else:
                raise
            _logger.info("attempt %d of a transaction failed (%s): retrying", number, database.error_code(error))
        except ReadOnlyStoreError as error:
            if not also_disconnected or was_refused or not isinstance(error.__cause__, DBAPIError):
                raise
            pause, was_refused = 0.0, True
        sleep(pause, is_async=is_async)
    raise AssertionError  # the loop has no end

"""Running a whole transaction again that the database has undone for another one."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError

from fine_tuning_store.sql.dialects import database_for
from fine_tuning_store.sql.waiting import sleep

T = TypeVar("T")

#: How often a transaction is run before its failure is the caller's, and for how many seconds a new run is begun.
ATTEMPTS = 6
RETRY_SECONDS = 30.0

_logger = logging.getLogger(__name__)


def retry(once: Callable[[], T], dialect: Dialect, *, also_disconnected: bool = False) -> T:
    """Run a transaction until it is not undone for another one, or, where it only reads, for a lost connection."""
    database = database_for(dialect)
    started = time.monotonic()
    for attempt in range(1, ATTEMPTS):
        try:
            return once()
        except DBAPIError as error:
            lost = database.is_retryable(error) or (also_disconnected and error.connection_invalidated)
            if not lost or time.monotonic() - started > RETRY_SECONDS:
                raise
            _logger.info("attempt %d of a transaction failed (%s): running it again", attempt, database.error_code(error))
        sleep(random.uniform(0, 0.005 * 2**attempt), is_async=dialect.is_async)
    return once()

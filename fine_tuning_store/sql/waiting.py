"""Waiting, in the colour of the driver: an async one never blocks its event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sqlalchemy.util import await_

POLL_SECONDS = 0.05


def sleep(seconds: float, *, awaited: bool) -> None:
    """Let so much time pass, awaited where the driver is async: the caller is in a greenlet of SQLAlchemy's then."""
    if awaited:
        await_(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def poll(attempt: Callable[[], bool], seconds: float, *, awaited: bool) -> bool:
    """Try until it succeeds, for so many seconds at most; answer whether it did."""
    deadline = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() >= deadline:
            return False
        sleep(POLL_SECONDS, awaited=awaited)
    return True

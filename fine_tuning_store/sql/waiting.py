"""Waiting that never blocks an event loop: with an async driver each wait is awaited."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.util import await_only, greenlet_spawn  # await_only is what 2.0 and 2.1 have in common

POLL_SECONDS: Final = 0.05


def sleep(seconds: float, *, is_async: bool) -> None:
    """Wait. With an async driver the caller must run in a greenlet of SQLAlchemy's, as every bridged call does."""
    if is_async:
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def poll(attempt: Callable[[], bool], seconds: float, *, is_async: bool) -> bool:
    """Call the function until it returns True, for at most so many seconds. Returns False if it never did."""
    deadline = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() >= deadline:
            return False
        sleep(POLL_SECONDS, is_async=is_async)
    return True


@contextmanager
def run_periodically(function: Callable[[], object], interval: float, *, is_async: bool) -> Iterator[None]:
    """Call the function at an interval in seconds while the block runs: in a thread, or in a task if the driver is async."""
    if is_async:

        def call() -> None:
            while True:
                sleep(interval, is_async=True)
                function()

        task = asyncio.get_running_loop().create_task(greenlet_spawn(call))
        try:
            yield
        finally:
            task.cancel()
            await_only(asyncio.wait([task]))
    else:
        stopped = threading.Event()

        def call_until_stopped() -> None:
            while not stopped.wait(interval):
                function()

        thread = threading.Thread(target=call_until_stopped, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

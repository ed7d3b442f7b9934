"""Waiting without blocking: an async driver never blocks its event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.util import await_, greenlet_spawn

POLL_SECONDS = 0.05

#: How long others may stand in line behind a migration that waits for a table; and for how long it then lets them by.
LOCK_WAIT_SECONDS = 1


def sleep(seconds: float, *, is_async: bool) -> None:
    """Let so much time pass, awaited where the driver is async: the caller is in a greenlet of SQLAlchemy's then."""
    if is_async:
        await_(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def poll(attempt: Callable[[], bool], seconds: float, *, is_async: bool) -> bool:
    """Try until it succeeds, for so many seconds at most; answer whether it did."""
    deadline = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() >= deadline:
            return False
        sleep(POLL_SECONDS, is_async=is_async)
    return True


@contextmanager
def beside(work: Callable[[], object], every: float, *, is_async: bool) -> Iterator[None]:
    """Do some work every so many seconds while the block runs: in a thread, or in a task where the driver is async."""
    if is_async:

        def again() -> None:
            while True:
                sleep(every, is_async=True)
                work()

        task = asyncio.get_running_loop().create_task(greenlet_spawn(again))
        try:
            yield
        finally:
            task.cancel()
            await_(asyncio.wait([task]))
    else:
        stopped = threading.Event()

        def until_stopped() -> None:
            while not stopped.wait(every):
                work()

        thread = threading.Thread(target=until_stopped, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def wait_for(awaitable):
    return await_(awaitable)

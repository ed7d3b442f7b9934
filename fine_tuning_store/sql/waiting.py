"""Waiting that never blocks an event loop: with an async driver each wait is awaited."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from sqlalchemy.util import await_only, greenlet_spawn

T = TypeVar("T")

POLL_SECONDS: Final = 0.05


def wait_for(awaitable: Awaitable[T]) -> T:
    """Await something in sync code that runs in a greenlet of SQLAlchemy's, as every bridged call does.

    SQLAlchemy 2.1 calls its function await_; the older name works in 2.0 and 2.1.
    """
    return await_only(awaitable)


def sleep(seconds: float, *, is_async: bool) -> None:
    """Wait: awaited if the driver is async, see `wait_for`."""
    if is_async:
        wait_for(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def finish(function: Callable[[], T], *, is_async: bool) -> T:
    """Call a function that must not end half-way: a task that is cancelled meanwhile gets its CancelledError when the function is done."""
    if not is_async:
        return function()
    task = asyncio.ensure_future(greenlet_spawn(function))
    cancelled = None
    while not task.done():
        try:
            wait_for(asyncio.wait([task]))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from task.exception()
    return task.result()


def within(seconds: float, function: Callable[[], T]) -> T:
    """Call a function that waits for an async driver. Raises TimeoutError, and cancels what it waits for, after so many seconds."""
    return wait_for(asyncio.wait_for(greenlet_spawn(function), seconds))


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
            wait_for(asyncio.wait([task]))
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

"""Processes that start work at the same moment: each waits at a barrier and returns its result or error.

They are forked from a server process that has only imported the modules they need, so that they start fast and share no state.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from queue import Empty
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.conftest", "alembic.command", "psycopg", "asyncpg", "pymysql", "aiomysql", "aiosqlite"])


def _run_call(barrier: Any, queue: Any, number: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        queue.put((number, function(barrier.wait, *arguments), None))
    except BaseException as error:  # noqa: BLE001 - returned to the test
        queue.put((number, None, "".join(traceback.format_exception(error))))


def at_once(*calls: tuple[Callable[..., Any], tuple[Any, ...]]) -> list[tuple[Any, str | None]]:
    """Run each (function, arguments) in a process of its own.

    The first argument of a function waits until all processes have called it. Returns (result, error) of each call, in order.
    """
    barrier, queue = _context.Barrier(len(calls), timeout=60), _context.Queue()
    processes = [
        _context.Process(target=_run_call, args=(barrier, queue, number, function, arguments))
        for number, (function, arguments) in enumerate(calls)
    ]
    for process in processes:
        process.start()
    results: dict[int, tuple[Any, str | None]] = {}
    while len(results) < len(processes):
        dead = {number for number, process in enumerate(processes) if not process.is_alive()}
        try:
            number, result, error = queue.get(timeout=1)
        except Empty:
            assert dead <= results.keys(), "a process died without a result"
        else:
            results[number] = (result, error)
    for process in processes:
        process.join()
    return [results[number] for number in range(len(calls))]

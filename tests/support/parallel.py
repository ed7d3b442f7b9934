"""Real processes that begin at the same moment: each meets the others at a barrier, and answers what came of it.

They are forked from a server that has imported what they need and done nothing else, so that a start costs little and shares nothing.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from queue import Empty
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.conftest", "alembic.command", "psycopg", "asyncpg", "pymysql", "aiomysql", "aiosqlite"])


def _answering(barrier: Any, answers: Any, number: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        answers.put((number, function(barrier.wait, *arguments), None))
    except BaseException as error:  # noqa: BLE001 - the test that asked looks at it
        answers.put((number, None, "".join(traceback.format_exception(error))))


def at_once(*calls: tuple[Callable[..., Any], tuple[Any, ...]]) -> list[tuple[Any, str | None]]:
    """Run each (function, arguments) in a process; a function is given what waits for all others. Answers and errors, in order."""
    barrier, answers = _context.Barrier(len(calls), timeout=60), _context.Queue()
    processes = [
        _context.Process(target=_answering, args=(barrier, answers, number, function, arguments))
        for number, (function, arguments) in enumerate(calls)
    ]
    for process in processes:
        process.start()
    results: dict[int, tuple[Any, str | None]] = {}
    while len(results) < len(processes):
        dead = {number for number, process in enumerate(processes) if not process.is_alive()}
        try:
            number, answer, error = answers.get(timeout=1)
        except Empty:
            assert dead <= results.keys(), "a process died without an answer"
        else:
            results[number] = (answer, error)
    for process in processes:
        process.join()
    return [results[number] for number in range(len(calls))]

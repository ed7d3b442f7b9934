"""Real processes that begin at the same moment: each is started fresh, meets the others at a barrier, and answers what came of it."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from typing import Any

_context = multiprocessing.get_context("spawn")


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
    results = {}
    for _ in processes:
        number, answer, error = answers.get(timeout=120)
        results[number] = (answer, error)
    for process in processes:
        process.join()
    return [results[number] for number in range(len(calls))]

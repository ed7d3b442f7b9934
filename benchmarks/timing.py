"""Times of calls that take turns."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

WARM_UP, MIN_WARM_UP = 20, 6  #: executions before the timed ones: psycopg prepares the sixth, and PostgreSQL then may plan it for good
ROUNDS, MIN_ROUNDS = 50, 3
ATTEMPTS = 3


def medians(
    first: Callable[[], object], second: Callable[[], object], *, seconds: float, meets_goal: Callable[[float, float], bool]
) -> tuple[float, float]:
    """Return the median time of each call in milliseconds, after both were executed often enough to be prepared and planned.

    Medians that do not meet the goal are measured up to three times, since other load on the machine adds to one side by chance.

    Args:
        first: A call.
        second: The call that it takes turns with.
        seconds: The rounds end after so long, if there were a few.
        meets_goal: Takes both medians.
    """
    calls = (first, second)
    _rounds(calls, WARM_UP, MIN_WARM_UP, seconds)
    for _ in range(ATTEMPTS):
        before, after = (median(times) for times in _rounds(calls, ROUNDS, MIN_ROUNDS, seconds))
        if meets_goal(before, after):
            break
    return before, after


def median_of(call: Callable[[], object], *, seconds: float) -> float:
    """Return the median time of one call in milliseconds, after it was executed as often as for `medians`."""
    _rounds((call,), WARM_UP, MIN_WARM_UP, seconds)
    return median(_rounds((call,), ROUNDS, MIN_ROUNDS, seconds)[0])


def _rounds(calls: tuple[Callable[[], object], ...], most: int, least: int, seconds: float) -> list[list[float]]:
    """Execute each call in turn, `most` times or as often as the seconds allow. Returns the milliseconds of each."""
    times: list[list[float]] = [[] for _ in calls]
    end = perf_counter() + seconds
    for number in range(most):
        if number >= least and perf_counter() > end:
            break
        for call, taken in zip(calls, times, strict=True):
            start = perf_counter()
            call()
            taken.append((perf_counter() - start) * 1000)
    return times

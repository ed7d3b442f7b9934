"""What is measured, and how: every call of both sides once a round, in random order."""

from __future__ import annotations

import random
from collections.abc import Callable
from inspect import isawaitable
from itertools import product
from statistics import median
from time import perf_counter_ns
from typing import Any

from benchmarks.bare import Bare
from benchmarks.jobs import METADATA, ORGANIZATIONS, job_id
from fine_tuning_store import Hyperparameters

Call = Callable[[], object]

#: The ratio that each operation must keep: of the sync store to the bare driver, of an async one to the sync store.
OPERATIONS = ("get", "create", "transition", "list of 100")
GOALS = {
    "sqlite": {"get": 3.0, "create": 3.2, "transition": 3.1, "list of 100": 1.2},
    "postgresql": {"get": 1.7, "create": 1.5, "transition": 1.5, "list of 100": 1.3},
    "aiosqlite": dict.fromkeys(OPERATIONS, 4.5),  # each statement hops to a thread and back, several times
    "asyncpg": dict.fromkeys(OPERATIONS, 1.2),
    "psycopg_async": dict.fromkeys(OPERATIONS, 1.2),
}


def calls(store: Any, jobs: int, moving: list[str]) -> dict[str, Call]:
    """Each operation on the first `jobs` jobs of a store of either face; an async one's answers are to be awaited.

    A transition uses up an id of `moving`.
    """
    scoped = {organization: store.for_organization(organization) for organization in ORGANIZATIONS}
    given = Hyperparameters(n_epochs=3, learning_rate_multiplier=1.8)

    def create() -> object:
        return store.jobs.create(
            organization_id=any_organization(),
            model="gpt-4o-mini",
            training_file="file-abc",
            validation_file="file-def",
            hyperparameters=given,
            suffix="benchmark",
            metadata=METADATA,
        )

    return {
        "get": lambda: store.jobs.get(any_id(jobs)),
        "create": create,
        "transition": lambda: store.jobs.enqueue(moving.pop()),
        "list of 100": lambda: scoped[any_organization()].jobs.list(limit=100),
    }


def bare_calls(bare: Bare, jobs: int, moving: list[str]) -> dict[str, Call]:
    """The same of the bare driver."""
    return {
        "get": lambda: bare.get(any_id(jobs)),
        "create": lambda: bare.create(any_organization()),
        "transition": lambda: bare.enqueue(moving.pop()),
        "list of 100": lambda: bare.page(any_organization()),
    }


def any_id(jobs: int) -> str:
    return job_id(random.randrange(jobs))


def any_organization() -> str:
    return random.choice(ORGANIZATIONS)


async def measured(ours: dict[str, Call], theirs: dict[str, Call], rounds: int) -> dict[str, tuple[float, float]]:
    """The median time of each call in microseconds, ours and theirs. What is awaitable is awaited within its time."""
    times: dict[tuple[str, int], list[int]] = {turn: [] for turn in product(ours, (0, 1))}
    turns = list(times)
    for _ in range(rounds):
        random.shuffle(turns)
        for name, side in turns:
            call = (ours, theirs)[side][name]
            start = perf_counter_ns()
            answer = call()
            if isawaitable(answer):
                await answer
            times[name, side].append(perf_counter_ns() - start)
    return {name: (median(times[name, 0]) / 1000, median(times[name, 1]) / 1000) for name in ours}

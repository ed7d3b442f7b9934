"""The measurement: in each round every call of both sides runs once, in random order."""

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

OPERATIONS = ("get", "create", "transition", "claim", "list of 100")
#: The limit of each operation's ratio: of the sync store to the bare driver, or of an async store to the sync one.
GOALS = {
    "sqlite": {"get": 2.5, "create": 2.2, "transition": 2.5, "claim": 2.5, "list of 100": 1.15},
    "postgresql": {"get": 1.5, "create": 1.3, "transition": 1.3, "claim": 1.4, "list of 100": 1.15},
    "aiosqlite": dict.fromkeys(OPERATIONS, 4.5),  # each statement switches to a thread and back several times
    "asyncpg": dict.fromkeys(OPERATIONS, 1.2),
    "psycopg_async": dict.fromkeys(OPERATIONS, 1.2),
}


def calls(store: Any, jobs: int, transition_ids: list[str]) -> dict[str, Call]:
    """Return each operation on the first `jobs` jobs of a sync or async store. Results of an async one must be awaited.

    Each transition removes an id from `transition_ids`.
    """
    scoped = {organization: store.for_organization(organization) for organization in ORGANIZATIONS}
    hyperparameters = Hyperparameters(n_epochs=3, learning_rate_multiplier=1.8)

    def create() -> object:
        return store.jobs.create(
            organization_id=any_organization(),
            model="gpt-4o-mini",
            training_file="file-abc",
            validation_file="file-def",
            hyperparameters=hyperparameters,
            suffix="benchmark",
            metadata=METADATA,
        )

    return {
        "get": lambda: store.jobs.get(any_id(jobs)),
        "create": create,
        "transition": lambda: store.jobs.enqueue(transition_ids.pop()),
        "claim": lambda: store.leases.claim("worker-1"),
        "list of 100": lambda: scoped[any_organization()].jobs.list(limit=100),
    }


def bare_calls(bare: Bare, jobs: int, transition_ids: list[str]) -> dict[str, Call]:
    """Return the same operations on the bare driver."""
    return {
        "get": lambda: bare.get(any_id(jobs)),
        "create": lambda: bare.create(any_organization()),
        "transition": lambda: bare.enqueue(transition_ids.pop()),
        "claim": lambda: bare.claim("worker-2", 60),
        "list of 100": lambda: bare.page(any_organization()),
    }


def any_id(jobs: int) -> str:
    return job_id(random.randrange(jobs))


def any_organization() -> str:
    return random.choice(ORGANIZATIONS)


async def measure_medians(measured: dict[str, Call], baseline: dict[str, Call], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median time of each call and of its baseline in microseconds. Awaiting an awaitable result is included."""
    times: dict[tuple[str, int], list[int]] = {turn: [] for turn in product(measured, (0, 1))}
    turns = list(times)
    for _ in range(rounds):
        random.shuffle(turns)
        for name, side in turns:
            call = (measured, baseline)[side][name]
            start = perf_counter_ns()
            result = call()
            if isawaitable(result):
                await result
            times[name, side].append(perf_counter_ns() - start)
    return {name: (median(times[name, 0]) / 1000, median(times[name, 1]) / 1000) for name in measured}

"""What is measured, and how: every call of both sides once a round, in random order."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product
from statistics import median
from time import perf_counter_ns

from benchmarks.bare import Bare
from benchmarks.jobs import METADATA, ORGANIZATIONS, job_id
from fine_tuning_store import FineTuningStore, Hyperparameters

Call = Callable[[], object]

#: The ratio to the bare driver that each operation must keep.
GOALS = {
    "sqlite": {"get": 3.0, "create": 3.2, "move": 3.1, "list of 100": 1.2},
    "postgresql": {"get": 1.7, "create": 1.5, "move": 1.5, "list of 100": 1.3},
}


def operations(store: FineTuningStore, bare: Bare, jobs: int, moving: list[str]) -> dict[str, tuple[Call, Call]]:
    """Each operation as a call of ours and one of the bare driver, on the first `jobs` jobs. A move uses up an id of `moving`."""
    scoped = {organization: store.for_organization(organization) for organization in ORGANIZATIONS}
    given = Hyperparameters(n_epochs=3, learning_rate_multiplier=1.8)

    def any_id() -> str:
        return job_id(random.randrange(jobs))

    def any_organization() -> str:
        return random.choice(ORGANIZATIONS)

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
        "get": (lambda: store.jobs.get(any_id()), lambda: bare.get(any_id())),
        "create": (create, lambda: bare.create(any_organization())),
        "move": (lambda: store.jobs.enqueue(moving.pop()), lambda: bare.enqueue(moving.pop())),
        "list of 100": (lambda: scoped[any_organization()].jobs.list(limit=100), lambda: bare.page(any_organization())),
    }


def measured(sides: dict[str, tuple[Call, Call]], rounds: int) -> dict[str, tuple[float, float]]:
    """The median time of each call in microseconds, ours and bare."""
    times: dict[tuple[str, int], list[int]] = {turn: [] for turn in product(sides, (0, 1))}
    turns = list(times)
    for _ in range(rounds):
        random.shuffle(turns)
        for name, side in turns:
            call = sides[name][side]
            start = perf_counter_ns()
            call()
            times[name, side].append(perf_counter_ns() - start)
    return {name: (median(times[name, 0]) / 1000, median(times[name, 1]) / 1000) for name in sides}

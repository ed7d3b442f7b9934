"""The async API has the same names, arguments and results as the sync API, and type checkers infer them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from fine_tuning_store import (
    AsyncCheckpointPermissionRepository,
    AsyncFineTuningJobCheckpointRepository,
    AsyncFineTuningJobEventRepository,
    AsyncFineTuningJobRepository,
    AsyncFineTuningJobStatistics,
    AsyncFineTuningStore,
    AsyncJobTransitionRepository,
    AsyncLease,
    AsyncLeaseRepository,
    AsyncRetention,
    AsyncUnitOfWork,
    CheckpointPermissionRepository,
    FineTuningJobCheckpointRepository,
    FineTuningJobEventRepository,
    FineTuningJobRepository,
    FineTuningJobStatistics,
    FineTuningStore,
    JobTransitionRepository,
    Lease,
    LeaseRepository,
    Retention,
    UnitOfWork,
)
from fine_tuning_store.aio import AsyncSchema
from fine_tuning_store.schema import Schema

PAIRS: list[tuple[type[Any], type[Any]]] = [
    (FineTuningJobRepository, AsyncFineTuningJobRepository),
    (FineTuningJobEventRepository, AsyncFineTuningJobEventRepository),
    (FineTuningJobCheckpointRepository, AsyncFineTuningJobCheckpointRepository),
    (CheckpointPermissionRepository, AsyncCheckpointPermissionRepository),
    (JobTransitionRepository, AsyncJobTransitionRepository),
    (FineTuningJobStatistics, AsyncFineTuningJobStatistics),
    (LeaseRepository, AsyncLeaseRepository),
    (Lease, AsyncLease),
    (Retention, AsyncRetention),
    (Schema, AsyncSchema),
]
REPOSITORIES = ("jobs", "transitions", "events", "checkpoints", "checkpoint_permissions", "statistics", "leases")
#: Methods that return an async iterator instead of an awaitable.
ITERATED = {(FineTuningJobRepository, "iterate")}
#: What waits for no database, or is a block.
NOT_AWAITED = {"bind", "keep_alive"}


def public(kind: type[Any]) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def methods(kind: type[Any]) -> set[str]:
    return {name for name in public(kind) if callable(getattr(kind, name))}


@pytest.mark.parametrize(("sync", "async_"), PAIRS)
def test_sync_and_async_classes_have_the_same_methods(sync: type[Any], async_: type[Any]) -> None:
    assert methods(async_) == methods(sync)


def test_both_stores_and_both_units_have_the_same_members() -> None:
    assert public(AsyncFineTuningStore) == public(FineTuningStore)
    assert public(AsyncUnitOfWork) == public(UnitOfWork) == {*REPOSITORIES, "connection"}


@pytest.mark.parametrize(
    ("sync", "async_", "name"), [(sync, async_, name) for sync, async_ in PAIRS for name in sorted(methods(sync) - NOT_AWAITED)]
)
def test_a_method_takes_and_returns_the_same_sync_and_async(sync: type[Any], async_: type[Any], name: str) -> None:
    sync_method, async_method = getattr(sync, name), getattr(async_, name)
    expected, found = inspect.signature(sync_method), inspect.signature(async_method)

    assert list(found.parameters.values()) == list(expected.parameters.values())
    assert async_method.__doc__
    if (sync, name) in ITERATED:
        (row,) = get_args(get_type_hints(sync_method)["return"])
        returned = get_type_hints(async_method)["return"]
        assert (get_origin(returned), get_args(returned)) == (AsyncIterator, (row,))
        assert get_origin(get_type_hints(sync_method)["return"]) is Iterator
    else:
        assert inspect.iscoroutinefunction(async_method)
        assert found.return_annotation == expected.return_annotation


@pytest.mark.parametrize("name", ["from_url", "for_organization", "close", "run_in_transaction", "begin", "__init__"])
def test_sync_and_async_stores_take_the_same_arguments(name: str) -> None:
    expected, found = (inspect.signature(getattr(kind, name)).parameters for kind in (FineTuningStore, AsyncFineTuningStore))

    assert list(found) == list(expected)
    assert [(each.kind, each.default) for each in found.values()] == [(each.kind, each.default) for each in expected.values()]


@pytest.mark.slow  # .ci/run checks these files with mypy, too
def test_a_users_type_checker_sees_the_exact_types_and_finds_wrong_arguments() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "tests/typing/right.py", "tests/typing/wrong.py"]

    assert subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False).stdout == ""

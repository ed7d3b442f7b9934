"""The async face has every name, argument and answer of the sync one, and a user's type checker sees them."""

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
    AsyncUnitOfWork,
    CheckpointPermissionRepository,
    FineTuningJobCheckpointRepository,
    FineTuningJobEventRepository,
    FineTuningJobRepository,
    FineTuningJobStatistics,
    FineTuningStore,
    UnitOfWork,
)
from fine_tuning_store.aio import AsyncSchema
from fine_tuning_store.schema import Schema

PAIRS: list[tuple[type[Any], type[Any]]] = [
    (FineTuningJobRepository, AsyncFineTuningJobRepository),
    (FineTuningJobEventRepository, AsyncFineTuningJobEventRepository),
    (FineTuningJobCheckpointRepository, AsyncFineTuningJobCheckpointRepository),
    (CheckpointPermissionRepository, AsyncCheckpointPermissionRepository),
    (FineTuningJobStatistics, AsyncFineTuningJobStatistics),
    (Schema, AsyncSchema),
]
#: What differs in more than being awaited.
ITERATED = {(FineTuningJobRepository, "iterate")}


def public(kind: type[Any]) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("sync", "awaited"), PAIRS)
def test_both_faces_have_the_same_methods(sync: type[Any], awaited: type[Any]) -> None:
    assert public(awaited) == public(sync)


def test_both_stores_and_both_units_have_the_same_members() -> None:
    assert public(AsyncFineTuningStore) == public(FineTuningStore)
    repositories = {"jobs", "events", "checkpoints", "checkpoint_permissions", "transitions", "statistics"}
    assert public(AsyncUnitOfWork) == public(UnitOfWork) == {*repositories, "connection"}


@pytest.mark.parametrize(("sync", "awaited", "name"), [(sync, awaited, name) for sync, awaited in PAIRS for name in sorted(public(sync))])
def test_a_method_takes_and_returns_the_same_sync_and_async(sync: type[Any], awaited: type[Any], name: str) -> None:
    ours, theirs = getattr(sync, name), getattr(awaited, name)
    expected, found = inspect.signature(ours), inspect.signature(theirs)

    assert list(found.parameters.values()) == list(expected.parameters.values())
    assert theirs.__doc__
    if (sync, name) in ITERATED:
        (row,) = get_args(get_type_hints(ours)["return"])
        answer = get_type_hints(theirs)["return"]
        assert (get_origin(answer), get_args(answer)) == (AsyncIterator, (row,))
        assert get_origin(get_type_hints(ours)["return"]) is Iterator
    else:
        assert inspect.iscoroutinefunction(theirs)
        assert found.return_annotation == expected.return_annotation


@pytest.mark.parametrize("name", ["from_url", "for_organization", "close", "run_in_transaction", "begin", "__init__"])
def test_a_store_takes_the_same_arguments_on_both_faces(name: str) -> None:
    expected, found = (inspect.signature(getattr(kind, name)).parameters for kind in (FineTuningStore, AsyncFineTuningStore))

    assert list(found) == list(expected)
    assert [(each.kind, each.default) for each in found.values()] == [(each.kind, each.default) for each in expected.values()]


@pytest.mark.slow  # .ci/run has mypy look at these files as well
def test_a_users_type_checker_sees_the_exact_types_and_finds_wrong_arguments() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "tests/typing/right.py", "tests/typing/wrong.py"]

    assert subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False).stdout == ""

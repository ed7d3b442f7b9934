"""A purge that is killed (SIGKILL) anywhere is completed by the next one, and its memory does not grow with the number of jobs."""

from __future__ import annotations

import os
import signal
import tracemalloc
from collections.abc import Callable
from itertools import count
from typing import Any

from sqlalchemy import Engine, event, func, select

from fine_tuning_store import FineTuningStore, PurgeResult
from fine_tuning_store.sql.models import JOB_CHILDREN
from tests.support.factories import a_job
from tests.support.parallel import at_once

LATER = 9_000_000_000


def add_ended(store: FineTuningStore, number: int) -> None:
    """Add jobs with children, each second one ended."""
    for start in range(0, number, 1000):
        store.jobs.add_many(
            a_job(
                id=f"ftjob-{n:06}",
                status="running" if n % 2 else "failed",
                created_at=n,
                finished_at=None if n % 2 else n,
                metadata={"a": "b"},
                result_files=("f",),
            )
            for n in range(start, min(start + 1000, number))
        )


def kill_purges(wait: Callable[[], object], url: str) -> int:
    """Kill purges after ever more statements until one ends by itself, and return the number of kills."""
    for last_statement in count(1, 3):
        child = os.fork()
        if child == 0:
            statements = count(1)

            def die(*_: object) -> None:
                if next(statements) == last_statement:  # noqa: B023 - of this child
                    os.kill(os.getpid(), signal.SIGKILL)

            event.listen(Engine, "after_cursor_execute", die)
            with FineTuningStore.from_url(url) as store:
                store.retention.purge(finished_before=LATER, batch_size=20, dry_run=False)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            return last_statement // 3
    raise AssertionError


def test_a_purge_that_is_killed_anywhere_is_completed_by_the_next(store: FineTuningStore, url: str) -> None:
    add_ended(store, 1000)

    ((kills, failure),) = at_once((kill_purges, (url,)))

    assert failure is None
    assert kills > 5
    assert store.retention.purge(finished_before=LATER) == PurgeResult()
    assert store.jobs.count() == store.jobs.count(status="running") == 500
    with store.engine.connect() as connection:
        of_others = {
            table.name: connection.scalar(select(func.count()).where(table.c.job_id.in_([f"ftjob-{n:06}" for n in range(0, 1000, 2)])))
            for table in JOB_CHILDREN
        }
    assert set(of_others.values()) == {0}, of_others


def test_the_memory_of_a_purge_does_not_grow_with_the_number_of_jobs(store: FineTuningStore) -> None:
    def peak(number: int, **options: Any) -> int:
        add_ended(store, number)
        tracemalloc.start()
        purged = store.retention.purge(finished_before=LATER, batch_size=100, dry_run=False, **options)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert purged.jobs == number // 2
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM fine_tuning_jobs")
        return highest

    for options in ({}, {"before_delete": lambda jobs: None}):
        peak(1000, **options)  # builds the statements
        few, many = peak(1000, **options), peak(20_000, **options)

        assert many < few * 1.5 + 500_000

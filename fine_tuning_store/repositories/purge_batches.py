"""How a purge works on a few jobs: functions of a transaction, and the number of jobs of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from fine_tuning_store.sql.models import JOB_CHILDREN, events
from fine_tuning_store.sql.queries import retention as queries
from fine_tuning_store.sql.queries.jobs import DELETE_CHILDREN, DELETE_ENDED_JOB
from fine_tuning_store.transactions import Transaction

#: A transaction should take no longer, so that no other one waits for long.
SLOW_SECONDS: Final = 1.0


class Purged(NamedTuple):
    """What a transaction did."""

    ids: tuple[str, ...] = ()
    """The jobs that were deleted, or whose events were."""
    events: int = 0
    locked: int = 0
    referenced: tuple[str, ...] = ()


def next_size(size: int, largest: int, seconds: float) -> int:
    """Return the number of jobs of the next transaction: half of `size` if that took too many seconds, or twice as many."""
    if seconds > SLOW_SECONDS:
        return max(1, size // 2)
    return min(largest, size * 2) if seconds < SLOW_SECONDS / 2 else size


def events_of(transaction: Transaction, ids: Sequence[str]) -> dict[str, int]:
    """Return the number of events of each of these jobs that has any."""
    rows = transaction.execute_unscoped(queries.EVENTS_PER_JOB, job_ids=list(ids))
    return {row.job_id: row.events for row in rows}


def purge_jobs(transaction: Transaction, ids: Sequence[str], before: int) -> Purged:
    """Delete the jobs, and everything that belongs to them, that ended before a time and are not locked."""
    locked, purged = _lock(transaction, ids, before)
    if not purged:
        return Purged(locked=locked)
    events_deleted = sum(events_of(transaction, purged).values())
    of_jobs = [{"job_id": id} for id in purged]  # each by a statement of its own: of one for many, MariaDB may read all rows, and wait
    transaction.execute_unscoped(DELETE_ENDED_JOB, of_jobs)
    if not transaction.database.enforces_foreign_keys:
        for table in JOB_CHILDREN:  # unscoped: the jobs that show whose they are are gone
            transaction.execute_unscoped(DELETE_CHILDREN[table], of_jobs)
    return Purged(tuple(purged), events_deleted, locked)


def purge_events(transaction: Transaction, ids: Sequence[str], before: int) -> Purged:
    """Delete the events of the jobs that ended before a time and are not locked. Their `event_count` stays: no position is used twice."""
    locked, purged = _lock(transaction, ids, before)
    if not purged:
        return Purged(locked=locked)
    events_deleted = sum(events_of(transaction, purged).values())
    transaction.execute_unscoped(DELETE_CHILDREN[events], [{"job_id": id} for id in purged])
    return Purged(tuple(purged), events_deleted, locked)


def _lock(transaction: Transaction, ids: Sequence[str], before: int) -> tuple[int, list[str]]:
    """Lock jobs, and return the number of those that others have locked, and the ids of those that are locked now."""
    free = list(transaction.execute(queries.LOCK_ENDED, job_ids=list(ids), before=before).scalars())
    others = sorted(set(ids) - set(free))
    if not others:
        return 0, free
    return transaction.execute(queries.COUNT_ENDED, job_ids=others, before=before).scalar_one(), free

"""Retention: ended jobs, or their events, are deleted after a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from inspect import iscoroutine
from typing import Any, Final

from sqlalchemy.exc import DBAPIError

from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.domain.job_validation import check_page_size, check_status
from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.retention import PurgeResult
from fine_tuning_store.domain.validation import check_integer, check_time
from fine_tuning_store.engine_transactions import EngineTransactions
from fine_tuning_store.errors import InvalidValueError, OutcomeUnknownError, ReadOnlyStoreError, StoreBusyError
from fine_tuning_store.repositories.base import Repository
from fine_tuning_store.repositories.job_pages import fetch_existing
from fine_tuning_store.repositories.purge_batches import Purged, events_of, next_size, purge_events, purge_jobs
from fine_tuning_store.repositories.purge_keys import pages_of_ids
from fine_tuning_store.sql.waiting import wait_for
from fine_tuning_store.transactions import Transaction

#: How many transactions in a row may fail because of a lock, before the purge gives up.
MAX_BUSY: Final = 12
#: How many ids of referenced jobs are kept.
MAX_IDS: Final = 100


class Retention(Repository):
    """Delete what is older than the service wants to keep. It works in transactions of its own, so only a store has it."""

    _source: EngineTransactions

    def __init__(self, source: EngineTransactions) -> None:
        if not isinstance(source, EngineTransactions):
            raise TypeError(f"Retention purges in transactions of its own, not in a {type(source).__name__}: use store.retention")
        super().__init__(source)

    def purge(
        self,
        *,
        finished_before: int | datetime,
        statuses: JobStatus | str | Iterable[JobStatus | str] | None = None,
        organization_id: str | None = None,
        events_only: bool = False,
        limit: int | None = None,
        batch_size: int = 200,
        dry_run: bool = True,
        progress: Callable[[PurgeResult], object] | None = None,
        before_delete: Callable[[tuple[FineTuningJob, ...]], object] | None = None,
    ) -> PurgeResult:
        """Delete ended jobs and everything that belongs to them, or their events alone.

        Jobs are deleted in many short transactions, those that finished first at first. A purge that was interrupted is continued by
        calling it again. A job that another transaction has locked, or that a row of another table refers to, is left and counted.

        Args:
            finished_before: Unix seconds, or a datetime with a time zone. Jobs that finished earlier are deleted. An ended job without a
                `finished_at`, as some imported ones are, counts as finished when it was created.
            statuses: One or several of the ended statuses, None for all of them.
            organization_id: Restricts the purge to one organization.
            events_only: True to delete the events of the jobs and leave the jobs. The positions of later events continue after those that
                were deleted.
            limit: The number of jobs after which the purge ends.
            batch_size: The number of jobs of a transaction, 1 to 1000. A transaction has fewer of them while transactions wait for locks
                or take longer than a second.
            dry_run: False to delete. Otherwise the purge only counts.
            progress: A function that is called after each transaction, with the result so far.
            before_delete: A function that is called with the jobs of each transaction before they, or their events, are deleted, for
                example to export them. It may use the store. If it raises an exception, the purge ends, and these jobs are not deleted.
                What is written to them during the call is deleted with them. Jobs that are left are passed to it by the next purge again.

        Returns:
            The numbers of jobs and events.

        Raises:
            InvalidValueError: An argument is wrong, or a status is not an ended one.
            ReadOnlyStoreError: The store is read-only, and this is no dry run.
            StoreBusyError: A lock was not free several times in a row, or no connection of the pool was free. What was deleted before
                stays deleted.
        """
        before = check_time("finished_before", finished_before)
        for name, value in (("events_only", events_only), ("dry_run", dry_run)):
            if not isinstance(value, bool):
                raise InvalidValueError(name, value, "must be True or False")
        if not dry_run and self._source.read_only:
            raise ReadOnlyStoreError
        purge = _Purge(
            self._source,
            before,
            work=purge_events if events_only else purge_jobs,
            largest=check_page_size("batch_size", batch_size),
            limit=None if limit is None else check_integer("limit", limit, 1),
            progress=progress,
            before_delete=before_delete,
        )
        pages = pages_of_ids(self._source, before, _check_statuses(statuses), self._organization(organization_id), batch_size)
        for ids in pages:
            per_job = self._source.read(partial(events_of, ids=ids)) if dry_run or events_only else {}
            wanted = [id for id in ids if id in per_job] if events_only else ids
            if not (purge.count(wanted, per_job) if dry_run else purge.delete(wanted)):
                break
        return purge.result


def _check_statuses(statuses: object) -> tuple[JobStatus, ...]:
    if statuses is None:
        return ENDED
    words = (statuses,) if isinstance(statuses, str) or not isinstance(statuses, Iterable) else tuple(statuses)
    checked = {check_status(word, "statuses") for word in words}
    if not checked or not checked <= {*ENDED}:
        raise InvalidValueError("statuses", statuses, f"must be one or several of {', '.join(ENDED)}")
    return tuple(status for status in ENDED if status in checked)


class _Purge:
    """A purge under way."""

    def __init__(
        self,
        source: EngineTransactions,
        before: int,
        *,
        work: Callable[[Transaction, list[str], int], Purged],
        largest: int,
        limit: int | None,
        progress: Callable[[PurgeResult], object] | None,
        before_delete: Callable[[tuple[FineTuningJob, ...]], object] | None,
    ) -> None:
        self.result = PurgeResult()
        self._source = source
        self._before = before
        self._work = work
        self._size = self._largest = largest
        self._limit = limit
        self._progress = progress
        self._before_delete = before_delete
        self._busy = 0  # transactions in a row

    def count(self, ids: list[str], events: dict[str, int]) -> bool:
        """Add jobs to the result of a dry run. Returns False at the limit."""
        counted = ids[: self._room(len(ids))]
        self._add(Purged(tuple(counted), sum(events.get(id, 0) for id in counted)))
        return self._goes_on(len(ids) - len(counted))

    def delete(self, ids: list[str]) -> bool:
        """Delete jobs, or their events, in as many transactions as they need. Returns False at the limit."""
        while ids:
            number = self._room(min(len(ids), self._size))
            if not number:
                break
            part, ids = ids[:number], ids[number:]
            if self._before_delete is not None:
                self._call(self._before_delete, self._source.read(partial(fetch_existing, ids=part)))
            for purged in self._purge(part):
                self._add(purged)
        return self._goes_on(len(ids))

    def _room(self, number: int) -> int:
        return number if self._limit is None else min(number, self._limit - self.result.jobs)

    def _goes_on(self, left: int) -> bool:
        if left:
            self.result = replace(self.result, has_more=True)
        return not left

    def _add(self, purged: Purged) -> None:
        result = self.result
        self.result = replace(
            result,
            jobs=result.jobs + len(purged.ids),
            events=result.events + purged.events,
            locked=result.locked + purged.locked,
            referenced=result.referenced + len(purged.referenced),
            referenced_ids=(*result.referenced_ids, *purged.referenced)[:MAX_IDS],
        )
        if self._progress is not None:
            self._call(self._progress, self.result)

    def _call(self, function: Callable[[Any], object], value: object) -> None:
        """Call a function of the host, and await it if it is async and the driver is."""
        called = function(value)
        if not iscoroutine(called):
            return
        if not self._source.engine.dialect.is_async:
            called.close()
            raise TypeError("purge takes functions that are not async: for async ones use AsyncFineTuningStore")
        wait_for(called)

    def _purge(self, ids: list[str]) -> Iterator[Purged]:
        """Run a transaction, or two with one half each if it waits for too long, or a row of another table refers to a job."""
        database, started = self._source.database, time.monotonic()
        try:
            purged = self._attempt(ids)
        except StoreBusyError as error:
            if error.waited_for != "lock":
                raise
            yield from self._divide(ids, error)
        except DBAPIError as error:
            if database.is_busy(error):  # on an engine of the host
                yield from self._divide(ids, error)
            elif not database.is_referenced(error):
                raise
            elif len(ids) == 1:
                yield Purged(referenced=(ids[0],))
            else:
                yield from self._halves(ids)
        else:
            self._busy = 0
            if len(ids) >= self._size:
                self._size = next_size(self._size, self._largest, time.monotonic() - started)
            yield purged

    def _divide(self, ids: list[str], error: Exception) -> Iterator[Purged]:
        self._busy += 1
        if self._busy == MAX_BUSY:
            raise error
        self._size = max(1, min(self._size, len(ids)) // 2)
        if len(ids) == 1:
            yield Purged(locked=1)
        else:
            yield from self._halves(ids)

    def _halves(self, ids: list[str]) -> Iterator[Purged]:
        middle = len(ids) // 2
        yield from self._purge(ids[:middle])
        yield from self._purge(ids[middle:])

    def _attempt(self, ids: list[str]) -> Purged:
        runs: list[Purged] = []

        def work(transaction: Transaction) -> Purged:
            runs.append(self._work(transaction, ids, self._before))
            return runs[-1]

        try:
            return self._source.write(work)
        except OutcomeUnknownError:
            unknown = runs[-1]
        again = self._source.write(work)
        if {*unknown.ids} & {*again.ids}:
            return again
        return Purged(unknown.ids + again.ids, unknown.events + again.events, again.locked)  # the first one was committed

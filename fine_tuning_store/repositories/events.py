"""The repository of events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fine_tuning_store.domain import job_validation
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.history_validation import taken_event, validate_events_for_storage
from fine_tuning_store.domain.page import Page
from fine_tuning_store.domain.validation import integer
from fine_tuning_store.errors import CursorNotFoundError
from fine_tuning_store.repositories.base import Repository, reads, writes
from fine_tuning_store.repositories.event_writes import append_events, new_event
from fine_tuning_store.repositories.job_writes import find, require_job
from fine_tuning_store.sql import record_mapping, record_statements
from fine_tuning_store.sql.record_statements import NEWEST_EVENTS, NEWEST_EVENTS_AFTER, OLDEST_EVENTS_AFTER
from fine_tuning_store.transactions import Statement, Transaction


class FineTuningJobEventRepository(Repository):
    """What happens to jobs. Each event has a position in its job, counted from 1 without gaps in the order of commits.

    Every method raises JobNotFoundError for a job that is not there.
    """

    @writes
    def append(
        self, unit: Transaction, job_id: str, message: str, *, level: str = "info", type: str | None = "message", data: Any = None
    ) -> FineTuningJobEvent:
        """Write an event of now behind those that the job has. `level`, `type` are words of up to 64 characters, `data` any JSON."""
        return append_events(unit, job_validation.job_id(job_id, "job_id"), [new_event(unit, message, level, type, data)])[0]

    @writes
    def import_many(self, unit: Transaction, job_id: str, events: Iterable[FineTuningJobEvent]) -> tuple[FineTuningJobEvent, ...]:
        """Write up to 10,000 events as they came, with ids and times of their own, in the order given: the oldest first.

        Raises InvalidValueError if the job has an event of one of the ids already, and then writes none.
        """
        job_validation.job_id(job_id, "job_id")
        kept = validate_events_for_storage(events)
        if not kept:
            require_job(unit, job_id)
            return ()
        find(unit, job_id, locked=True)  # whoever else imports the same ids comes after us
        positions = {event.id: position for position, event in enumerate(kept)}
        for start in range(0, len(kept), job_validation.MAX_PAGE_SIZE):
            wanted = [event.id for event in kept[start : start + job_validation.MAX_PAGE_SIZE]]
            taken = unit.run_for_all(record_statements.TAKEN_EVENTS, of_job=job_id, event_ids=wanted).scalars().first()
            if taken is not None:
                raise taken_event(positions[taken], taken)
        return append_events(unit, job_id, kept)

    @reads
    def list(self, unit: Transaction, job_id: str, *, after: str | None = None, limit: int = 20) -> Page[FineTuningJobEvent]:
        """A page of a job's events, the newest first, behind the event `after`. `limit` is 1 to 1000.

        Raises CursorNotFoundError if the job has no event `after`.
        """
        job_validation.page_size("limit", limit)
        job_validation.job_id(job_id, "job_id")
        if after is None:
            return _page(unit, NEWEST_EVENTS, job_id, limit)
        row = unit.run(record_statements.EVENT_POSITION, of_job=job_id, event_id=job_validation.job_id(after, "after")).first()
        if row is None:
            require_job(unit, job_id)
            raise CursorNotFoundError(after)
        return _page(unit, NEWEST_EVENTS_AFTER, job_id, limit, after_position=row.position)

    @reads
    def tail(self, unit: Transaction, job_id: str, after_position: int = 0, *, limit: int = 100) -> Page[FineTuningJobEvent]:
        """A page of a job's events, the oldest first, behind a position. `limit` is 1 to 1000.

        Who asks again with the position of the last event that it saw misses none, also of those that were committed late.
        """
        job_validation.page_size("limit", limit)
        integer("after_position", after_position, 0)
        return _page(unit, OLDEST_EVENTS_AFTER, job_validation.job_id(job_id, "job_id"), limit, after_position=after_position)


def _page(unit: Transaction, statement: Statement, job_id: str, limit: int, **key: Any) -> Page[FineTuningJobEvent]:
    found = [record_mapping.event_from_row(row) for row in unit.run(statement, of_job=job_id, row_limit=limit + 1, **key)]
    if not found:
        require_job(unit, job_id)
    return Page(tuple(found[:limit]), has_more=len(found) > limit)

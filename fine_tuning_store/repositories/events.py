"""The repository of events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from fine_tuning_store.domain.event import FineTuningJobEvent, NewEvent
from fine_tuning_store.domain.history_validation import check_new_events, duplicate, validate_events
from fine_tuning_store.domain.job_validation import check_id, check_page_size
from fine_tuning_store.domain.page import Page
from fine_tuning_store.domain.validation import check_integer
from fine_tuning_store.repositories.base import Repository
from fine_tuning_store.repositories.event_writes import append_events, new_event
from fine_tuning_store.repositories.job_reads import fetch_child_cursor, fetch_child_page, fetch_children, require_job
from fine_tuning_store.sql.queries import events as queries
from fine_tuning_store.transactions import Transaction


class FineTuningJobEventRepository(Repository):
    """The events of jobs. Each has a position in its job, counted from 1 without gaps in the order of commits.

    Every method raises JobNotFoundError for an unknown job.
    """

    def append(
        self, job_id: str, message: str, *, level: str = "info", type: str | None = "message", data: Any = None
    ) -> FineTuningJobEvent:
        """Append an event with a new id and the present time.

        Args:
            job_id: The id of the job.
            message: A text for the job's user.
            level: A word of up to 64 characters, usually `info`, `warn` or `error`.
            type: A word of up to 64 characters, usually `message` or `metrics`.
            data: A JSON value.

        Returns:
            The event as stored, with its position.

        Raises:
            JobNotFoundError: There is no such job.
            InvalidValueError: A value cannot be stored.
        """
        job_id = check_id(job_id, "job_id")

        def write(transaction: Transaction) -> FineTuningJobEvent:
            return append_events(transaction, job_id, [new_event(transaction.clock, message, level, type, data)])[0]

        return self._source.write(write)

    def append_many(self, job_id: str, events: Iterable[NewEvent]) -> tuple[FineTuningJobEvent, ...]:
        """Append several events with new ids and the present time, in the given order.

        Args:
            job_id: The id of the job.
            events: At most 10,000 dicts with the arguments of `append`: `message` and, if needed, `level`, `type` and `data`.

        Returns:
            The events as stored, with their positions.

        Raises:
            JobNotFoundError: There is no such job.
            InvalidValueError: A value cannot be stored. No event is stored then.
        """
        job_id = check_id(job_id, "job_id")
        given = check_new_events(events)

        def write(transaction: Transaction) -> tuple[FineTuningJobEvent, ...]:
            new = [new_event(transaction.clock, **event, path=f"events[{position}].") for position, event in enumerate(given)]
            return _append_all(transaction, job_id, new)

        return self._source.write(write)

    def import_many(self, job_id: str, events: Iterable[FineTuningJobEvent]) -> tuple[FineTuningJobEvent, ...]:
        """Store events from elsewhere with their own ids and times, in the given order, oldest first.

        They get the positions after those of the job's events. An event that the job already has is left as it is, so that an import can
        be repeated.

        Args:
            job_id: The id of the job.
            events: At most 10,000 events.

        Returns:
            The events as stored, with their positions.

        Raises:
            JobNotFoundError: There is no such job.
            InvalidValueError: A value cannot be stored, or the job has a different event of the same id. No event is stored then.
        """
        job_id = check_id(job_id, "job_id")
        validated = validate_events(events)
        return self._source.write(lambda transaction: _import(transaction, job_id, validated))

    def list(self, job_id: str, *, after: str | None = None, limit: int = 20) -> Page[FineTuningJobEvent]:
        """Return a page of a job's events, newest first.

        Args:
            job_id: The id of the job.
            after: The id of the event that the page begins after, usually the `last_id` of the page before.
            limit: The size of the page, 1 to 1000.

        Raises:
            JobNotFoundError: There is no such job.
            CursorNotFoundError: The job has no event with the id `after`.
        """
        limit = check_page_size("limit", limit)
        job_id = check_id(job_id, "job_id")
        if after is not None:
            after = check_id(after, "after")

        def read(transaction: Transaction) -> Page[FineTuningJobEvent]:
            if after is None:
                return fetch_child_page(transaction, queries.NEWEST_EVENTS, queries.event_from_row, job_id, limit)
            key = fetch_child_cursor(transaction, queries.EVENT_POSITION, job_id, after)
            return fetch_child_page(transaction, queries.NEWEST_EVENTS_AFTER, queries.event_from_row, job_id, limit, **key)

        return self._source.read(read)

    def tail(self, job_id: str, after_position: int = 0, *, limit: int = 100) -> Page[FineTuningJobEvent]:
        """Return a page of a job's events after a position, oldest first.

        A reader that passes the position of the last event that it has seen misses none, not even those that are committed late.

        Args:
            job_id: The id of the job.
            after_position: The position that the page begins after, 0 for the first page.
            limit: The size of the page, 1 to 1000.

        Raises:
            JobNotFoundError: There is no such job.
        """
        limit = check_page_size("limit", limit)
        after_position = check_integer("after_position", after_position, 0)
        job_id = check_id(job_id, "job_id")
        return self._source.read(
            lambda transaction: fetch_child_page(
                transaction, queries.OLDEST_EVENTS_AFTER, queries.event_from_row, job_id, limit, after_position=after_position
            )
        )


def _import(transaction: Transaction, job_id: str, events: tuple[FineTuningJobEvent, ...]) -> tuple[FineTuningJobEvent, ...]:
    if events:
        require_job(transaction, job_id, locked=True)  # an import of the same ids at the same time waits here
    stored = fetch_children(transaction, queries.EVENTS_BY_IDS, queries.event_from_row, job_id, [event.id for event in events])
    for index, event in enumerate(events):
        if event.id in stored and replace(event, job_id=job_id, position=stored[event.id].position) != stored[event.id]:
            raise duplicate("events", index, event.id)
    new = [event for event in events if event.id not in stored]
    if new or not events:
        stored |= {event.id: event for event in _append_all(transaction, job_id, new)}
    return tuple(stored[event.id] for event in events)


def _append_all(transaction: Transaction, job_id: str, events: Sequence[FineTuningJobEvent]) -> tuple[FineTuningJobEvent, ...]:
    if events:
        return append_events(transaction, job_id, events)
    require_job(transaction, job_id)
    return ()

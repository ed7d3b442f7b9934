"""How events are appended, by the repository of events and by the transitions of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fine_tuning_store.domain import ids
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.history_validation import validate_event
from fine_tuning_store.domain.ids import Clock
from fine_tuning_store.errors import JobNotFoundError
from fine_tuning_store.repositories.job_reads import require_visible
from fine_tuning_store.sql.batches import batches
from fine_tuning_store.sql.models import events as events_table
from fine_tuning_store.sql.queries import events as queries
from fine_tuning_store.transactions import Transaction


def new_event(
    clock: Clock, message: str, level: str = "info", type: str | None = "message", data: Any = None, *, path: str = ""
) -> FineTuningJobEvent:
    """Return a validated event with a new id and the present time. `path` stands before the field in errors."""
    id, created_at = clock.new_id(ids.EVENT)
    return validate_event(FineTuningJobEvent(id=id, created_at=created_at, message=message, level=level, type=type, data=data), path)


def append_events(transaction: Transaction, job_id: str, new: Sequence[FineTuningJobEvent]) -> tuple[FineTuningJobEvent, ...]:
    """Write events after those of the job, whose row is locked until the commit. Raises JobNotFoundError."""
    require_visible(transaction, job_id)
    count = _take_positions(transaction, job_id, len(new))
    events = tuple(replace(event, job_id=job_id, position=position) for position, event in enumerate(new, count - len(new) + 1))
    for batch in batches(events_table, [queries.event_row(event) for event in events]):
        transaction.execute(queries.INSERT_EVENTS, batch)
    for event in events:
        transaction.written.add(events_table, job_id, event.id)
    return events


def _take_positions(transaction: Transaction, job_id: str, new_events: int) -> int:
    """Return how many events the job has with the new ones."""
    if transaction.connection.dialect.update_returning:
        count = transaction.execute(queries.COUNT_EVENTS_RETURNING, job_id=job_id, new_events=new_events).scalar()
    else:
        is_found = transaction.execute(queries.COUNT_EVENTS, job_id=job_id, new_events=new_events).rowcount
        count = transaction.execute(queries.EVENT_COUNT, job_id=job_id).scalar() if is_found else None
    if count is None:
        raise JobNotFoundError(job_id)
    return int(count)

"""How events are appended, by the repository of events and by the moves of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fine_tuning_store.domain import ids
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.history_validation import validate_event_for_storage
from fine_tuning_store.errors import JobNotFoundError
from fine_tuning_store.sql import record_mapping, record_statements
from fine_tuning_store.transactions import Transaction


def new_event(unit: Transaction, message: str, level: str = "info", type: str | None = "message", data: Any = None) -> FineTuningJobEvent:
    """An event of now, checked."""
    id, created_at = unit.clock.new_id(ids.EVENT)
    return validate_event_for_storage(
        "", FineTuningJobEvent(id=id, created_at=created_at, message=message, level=level, type=type, data=data)
    )


def take_positions(unit: Transaction, job_id: str, number: int) -> int:
    """Lock the job, raise its count of events, and answer the last position before the new ones. Raises JobNotFoundError."""
    if not unit.run(record_statements.COUNT_EVENTS, of_job=job_id, new_events=number).rowcount:
        raise JobNotFoundError(job_id)
    count: int = unit.run(record_statements.EVENT_COUNT, of_job=job_id).scalar_one()
    return count - number


def append_events(unit: Transaction, job_id: str, added: Sequence[FineTuningJobEvent]) -> tuple[FineTuningJobEvent, ...]:
    """Write events behind those that the job has."""
    before = take_positions(unit, job_id, len(added))
    placed = tuple(replace(event, job_id=job_id, position=before + number) for number, event in enumerate(added, 1))
    unit.run(record_statements.INSERT_EVENTS, [record_mapping.event_row(event) for event in placed])
    return placed

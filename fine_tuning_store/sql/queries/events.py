"""The statements of events, and the mapping of their rows. Each Select joins the jobs, so that it can be scoped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Integer, bindparam, insert, select, update

from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.sql.functions import as_text
from fine_tuning_store.sql.models import events, jobs
from fine_tuning_store.sql.queries.jobs import JOB_ID
from fine_tuning_store.sql.queries.values import constructor, json_or_empty, json_or_none, raising_corrupt_data
from fine_tuning_store.sql.query_tags import tagged

_event = constructor(FineTuningJobEvent)

_OF_THE_JOB = events.c.job_id == JOB_ID
_AFTER_POSITION: BindParameter[int] = bindparam("after_position")

#: The columns in the order of the fields.
COLUMNS = (
    *(events.c.id, events.c.created_at, events.c.message, events.c.level, events.c.type, as_text(events.c.data)),
    *(events.c.job_id, events.c.position, as_text(events.c.extra)),
)
_PAGE = (
    select(*COLUMNS).join_from(events, jobs, jobs.c.id == events.c.job_id).where(_OF_THE_JOB).limit(bindparam("row_limit", type_=Integer))
)
_NEWEST_FIRST = _PAGE.order_by(events.c.position.desc())
NEWEST_EVENTS = tagged("newest_events", _NEWEST_FIRST)
NEWEST_EVENTS_AFTER = tagged("newest_events_after", _NEWEST_FIRST.where(events.c.position < _AFTER_POSITION))
OLDEST_EVENTS_AFTER = tagged("oldest_events_after", _PAGE.where(events.c.position > _AFTER_POSITION).order_by(events.c.position))
EVENT_POSITION = tagged(
    "event_position",
    select(events.c.position.label("after_position"))
    .join_from(events, jobs, jobs.c.id == events.c.job_id)
    .where(_OF_THE_JOB, events.c.id == bindparam("after_id")),
)
#: Not joined with the job, which the caller has locked.
EVENTS_BY_IDS = tagged("events_by_ids", select(*COLUMNS).where(_OF_THE_JOB, events.c.id.in_(bindparam("child_ids", expanding=True))))

#: Takes the next positions of a job. It locks the job's row until the commit, so that positions are in the order of commits.
COUNT_EVENTS = tagged(
    "count_events", update(jobs).where(jobs.c.id == JOB_ID).values(event_count=jobs.c.event_count + bindparam("new_events"))
)
COUNT_EVENTS_RETURNING = COUNT_EVENTS.returning(jobs.c.event_count)
EVENT_COUNT = tagged("event_count", select(jobs.c.event_count).where(jobs.c.id == JOB_ID))
INSERT_EVENTS = tagged(f"insert_{events.name}", insert(events))


@raising_corrupt_data(events, 0)
def event_from_row(row: Sequence[Any]) -> FineTuningJobEvent:
    """Return the event of a row of a page."""
    id, created_at, message, level, type, data, job_id, position, extra = row
    return _event(id, created_at, message, level, type, json_or_none(data), job_id, position, json_or_empty(extra))


def event_row(event: FineTuningJobEvent) -> dict[str, Any]:
    """Return the row of an event."""
    return {
        "job_id": event.job_id,
        "position": event.position,
        "id": event.id,
        "created_at": event.created_at,
        "level": event.level,
        "type": event.type,
        "message": event.message,
        "data": event.data,
        "extra": event.extra or None,
    }

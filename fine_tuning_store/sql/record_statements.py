"""The statements of events, checkpoints and permissions. Each Select names the jobs, so that it can be held to an organization."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Insert,
    Integer,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    insert,
    select,
    union_all,
    update,
)

from fine_tuning_store.sql.query_tags import named, tagged_by_name
from fine_tuning_store.sql.statements import behind, in_order
from fine_tuning_store.sql.tables import checkpoints, events, jobs, permissions
from fine_tuning_store.sql.types import as_text

_JOB_ID: BindParameter[str] = bindparam("of_job")
_LIMIT: BindParameter[int] = bindparam("row_limit", type_=Integer)


def _joined(table: Table, *columns: ColumnElement[Any]) -> Select[Any]:
    return select(*columns).join_from(table, jobs, jobs.c.id == table.c.job_id)


# Events

EVENT_COLUMNS = (
    *(events.c.id, events.c.created_at, events.c.message, events.c.level, events.c.type, as_text(events.c.data)),
    *(events.c.job_id, events.c.position, as_text(events.c.extra)),
)
_EVENTS = _joined(events, *EVENT_COLUMNS).where(events.c.job_id == _JOB_ID).limit(_LIMIT)
_newest_events = _EVENTS.order_by(events.c.position.desc())
NEWEST_EVENTS = named("newest_events", _newest_events)
NEWEST_EVENTS_AFTER = named("newest_events_after", _newest_events.where(events.c.position < bindparam("after_position")))
OLDEST_EVENTS_AFTER = named(
    "oldest_events_after", _EVENTS.where(events.c.position > bindparam("after_position")).order_by(events.c.position)
)
EVENT_POSITION = named(
    "event_position", _joined(events, events.c.position).where(events.c.job_id == _JOB_ID, events.c.id == bindparam("event_id"))
)
TAKEN_EVENTS = named(
    "taken_events", select(events.c.id).where(events.c.job_id == _JOB_ID, events.c.id.in_(bindparam("event_ids", expanding=True)))
)

#: Takes the next positions of a job and, by locking its row, the turn to commit them.
COUNT_EVENTS: Update = named(
    "count_events", update(jobs).where(jobs.c.id == _JOB_ID).values(event_count=jobs.c.event_count + bindparam("new_events"))
)
EVENT_COUNT = named("event_count", select(jobs.c.event_count).where(jobs.c.id == _JOB_ID))
INSERT_EVENTS: Insert = named(f"insert_{events.name}", insert(events))

# Checkpoints

CHECKPOINT_COLUMNS = (
    *(checkpoints.c.id, checkpoints.c.created_at, checkpoints.c.model, checkpoints.c.job_id, checkpoints.c.step_number),
    *(as_text(checkpoints.c.metrics), as_text(checkpoints.c.extra)),
)
_checkpoints = (
    _joined(checkpoints, *CHECKPOINT_COLUMNS)
    .where(checkpoints.c.job_id == _JOB_ID)
    .order_by(checkpoints.c.step_number.desc(), checkpoints.c.id.desc())
    .limit(_LIMIT)
)
CHECKPOINTS = named("checkpoints", _checkpoints)
_STEP: BindParameter[int] = bindparam("after_step")
CHECKPOINTS_AFTER = named(
    "checkpoints_after",
    _checkpoints.where(
        checkpoints.c.step_number <= _STEP, (checkpoints.c.step_number < _STEP) | (checkpoints.c.id < bindparam("after_id"))
    ),
)
CHECKPOINT_STEP = named(
    "checkpoint_step",
    _joined(checkpoints, checkpoints.c.step_number).where(checkpoints.c.job_id == _JOB_ID, checkpoints.c.id == bindparam("checkpoint_id")),
)

# Permissions

_final = jobs.alias("final")
PERMISSION_COLUMNS = (
    *(permissions.c.id, permissions.c.created_at, permissions.c.project_id, permissions.c.model),
    *(permissions.c.organization_id, permissions.c.job_id),
)
_MODEL: BindParameter[str] = bindparam("model")
_ORGANIZATION: BindParameter[str] = bindparam("organization_id")
_bears_the_model = jobs.c.id.in_(
    union_all(
        select(_final.c.id).where(_final.c.fine_tuned_model == _MODEL),
        select(checkpoints.c.job_id).where(checkpoints.c.model == _MODEL),
    )
)
#: The newest job of an organization whose final model or whose checkpoint bears a name.
JOB_OF_MODEL = named(
    "job_of_model",
    select(jobs.c.id, jobs.c.organization_id)
    .where(_bears_the_model, jobs.c.organization_id == _ORGANIZATION)
    .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
    .limit(1),
)
#: Whether one organization has such a job, or several.
ORGANIZATIONS_OF_MODEL = named("organizations_of_model", select(jobs.c.organization_id).where(_bears_the_model).distinct().limit(2))
_OF_MODEL = _joined(permissions, *PERMISSION_COLUMNS).where(permissions.c.digest == bindparam("digest"), permissions.c.model == _MODEL)
PERMISSIONS_OF_PROJECTS = named(
    "permissions_of_projects",
    _OF_MODEL.where(
        permissions.c.organization_id == _ORGANIZATION,
        permissions.c.project_id.in_(bindparam("project_ids", expanding=True)),
    ).with_for_update(of=permissions),
)
PERMISSION_CURSOR = named(
    "permission_cursor",
    _joined(permissions, permissions.c.created_at, permissions.c.id).where(
        permissions.c.id == bindparam("permission_id"),
        permissions.c.digest == bindparam("digest"),
        permissions.c.organization_id == _ORGANIZATION,
    ),
)
DELETE_PERMISSION = named("delete_permission", delete(permissions).where(permissions.c.id == bindparam("permission_id")))
DELETE_PERMISSION_OF_MODEL = DELETE_PERMISSION.where(permissions.c.digest == bindparam("digest"))


@cache
@tagged_by_name
def permissions_page(*, project: bool, after: bool, descending: bool) -> Select[Any]:
    """A page of the permissions of an organization's model."""
    statement = _OF_MODEL.where(permissions.c.organization_id == _ORGANIZATION)
    if project:
        statement = statement.where(permissions.c.project_id == bindparam("project_id"))
    key = permissions.c.created_at, permissions.c.id
    if after:
        statement = statement.where(*behind(*key, descending=descending))
    return statement.order_by(*in_order(*key, descending=descending)).limit(_LIMIT)

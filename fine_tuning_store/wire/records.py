"""Events, checkpoints, permissions and lists as the API's JSON, in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, TypeVar

from fine_tuning_store.domain.checkpoint import CheckpointPermission, FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.history_validation import (
    CHECKPOINT_MEMBERS,
    EVENT_MEMBERS,
    validate_checkpoint_for_storage,
    validate_event_for_storage,
)
from fine_tuning_store.domain.page import Identified, Page
from fine_tuning_store.domain.validation import ID_LENGTH, integer, text
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.wire.members import given, object_of, required, whole

T = TypeVar("T", bound=Identified)


def event_to_wire(event: FineTuningJobEvent) -> dict[str, Any]:
    """The event as the API's JSON object."""
    return {
        "object": event.object,
        "id": event.id,
        "created_at": event.created_at,
        "level": event.level,
        "message": event.message,
        "data": deepcopy(event.data),
        "type": event.type,
        **deepcopy(dict(event.extra)),
    }


def event_from_wire(payload: Mapping[str, Any]) -> FineTuningJobEvent:
    """The event that a payload describes; it belongs to no job yet. Raises InvalidValueError."""
    members = object_of(payload, "fine_tuning.job.event")
    return validate_event_for_storage(
        "",
        FineTuningJobEvent(
            id=required(members, "id"),
            created_at=whole(required(members, "created_at")),
            message=required(members, "message"),
            level=given(members, "level", "info"),
            type=members.get("type"),
            data=members.get("data"),
            extra={name: value for name, value in members.items() if name not in EVENT_MEMBERS},
        ),
    )


def checkpoint_to_wire(checkpoint: FineTuningJobCheckpoint) -> dict[str, Any]:
    """The checkpoint as the API's JSON object."""
    return {
        "object": checkpoint.object,
        "id": checkpoint.id,
        "created_at": checkpoint.created_at,
        "fine_tuned_model_checkpoint": checkpoint.fine_tuned_model_checkpoint,
        "fine_tuning_job_id": checkpoint.fine_tuning_job_id,
        "metrics": deepcopy(dict(checkpoint.metrics)),
        "step_number": checkpoint.step_number,
        **deepcopy(dict(checkpoint.extra)),
    }


def checkpoint_from_wire(payload: Mapping[str, Any]) -> FineTuningJobCheckpoint:
    """The checkpoint that a payload describes. Raises InvalidValueError."""
    members = object_of(payload, "fine_tuning.job.checkpoint")
    return validate_checkpoint_for_storage(
        FineTuningJobCheckpoint(
            id=required(members, "id"),
            created_at=whole(required(members, "created_at")),
            fine_tuned_model_checkpoint=required(members, "fine_tuned_model_checkpoint"),
            fine_tuning_job_id=required(members, "fine_tuning_job_id"),
            step_number=whole(required(members, "step_number")),
            metrics=given(members, "metrics", {}),
            extra={name: value for name, value in members.items() if name not in CHECKPOINT_MEMBERS},
        )
    )


def permission_to_wire(permission: CheckpointPermission) -> dict[str, Any]:
    """The permission as the API's JSON object. Its model stands only in the path of the API."""
    return {
        "object": permission.object,
        "id": permission.id,
        "created_at": permission.created_at,
        "project_id": permission.project_id,
    }


def permission_from_wire(payload: Mapping[str, Any]) -> CheckpointPermission:
    """The permission that a payload describes. Raises InvalidValueError."""
    members = object_of(payload, "checkpoint.permission")
    return CheckpointPermission(
        id=text("id", required(members, "id"), ID_LENGTH, 1),
        created_at=integer("created_at", whole(required(members, "created_at"))),
        project_id=text("project_id", required(members, "project_id"), ID_LENGTH, 1),
    )


def page_to_wire(page: Page[T], to_wire: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A page as the API's list envelope, its rows written by `to_wire`."""
    return {
        "object": "list",
        "data": [to_wire(row) for row in page.data],
        "first_id": page.first_id,
        "last_id": page.last_id,
        "has_more": page.has_more,
    }


def page_from_wire(payload: Mapping[str, Any], from_wire: Callable[[Mapping[str, Any]], T]) -> Page[T]:
    """The page that a list envelope holds, its rows read by `from_wire`. Raises InvalidValueError."""
    members = object_of(payload, "list")
    rows = required(members, "data")
    if not isinstance(rows, list):
        raise InvalidValueError("data", type(rows).__name__, "must be a list")
    return Page(tuple(from_wire(row) for row in rows), has_more=bool(members.get("has_more")))

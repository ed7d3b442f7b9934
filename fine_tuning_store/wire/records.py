"""The JSON shapes of events, checkpoints, permissions and lists, in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, TypeVar

from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.history_validation import (
    CHECKPOINT_MEMBERS,
    EVENT_MEMBERS,
    validate_checkpoint,
    validate_event,
)
from fine_tuning_store.domain.page import HasId, Page
from fine_tuning_store.domain.permission import CheckpointPermission
from fine_tuning_store.domain.validation import MAX_ID_LENGTH, check_integer, check_text
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.wire.members import given, object_of, required, seconds, whole

T = TypeVar("T", bound=HasId)


def event_to_wire(event: FineTuningJobEvent) -> dict[str, Any]:
    """Return the event as the API's JSON object."""
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
    """Return the event of a JSON object of the API, which does not name its job. Raises InvalidValueError."""
    members = object_of(payload, "fine_tuning.job.event")
    return validate_event(
        FineTuningJobEvent(
            id=required(members, "id"),
            created_at=seconds("created_at", required(members, "created_at")),
            message=required(members, "message"),
            level=given(members, "level", "info"),
            type=members.get("type"),
            data=members.get("data"),
            extra={name: value for name, value in members.items() if name not in EVENT_MEMBERS},
        ),
    )


def checkpoint_to_wire(checkpoint: FineTuningJobCheckpoint) -> dict[str, Any]:
    """Return the checkpoint as the API's JSON object."""
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
    """Return the checkpoint of a JSON object of the API. Raises InvalidValueError."""
    members = object_of(payload, "fine_tuning.job.checkpoint")
    return validate_checkpoint(
        FineTuningJobCheckpoint(
            id=required(members, "id"),
            created_at=seconds("created_at", required(members, "created_at")),
            fine_tuned_model_checkpoint=required(members, "fine_tuned_model_checkpoint"),
            fine_tuning_job_id=required(members, "fine_tuning_job_id"),
            step_number=whole(required(members, "step_number")),
            metrics=given(members, "metrics", {}),
            extra={name: value for name, value in members.items() if name not in CHECKPOINT_MEMBERS},
        )
    )


def permission_to_wire(permission: CheckpointPermission) -> dict[str, Any]:
    """Return the permission as the API's JSON object. Its model is named by the path of the API only."""
    return {
        "object": permission.object,
        "id": permission.id,
        "created_at": permission.created_at,
        "project_id": permission.project_id,
    }


def permission_from_wire(payload: Mapping[str, Any]) -> CheckpointPermission:
    """Return the permission of a JSON object of the API. Raises InvalidValueError."""
    members = object_of(payload, "checkpoint.permission")
    return CheckpointPermission(
        id=check_text("id", required(members, "id"), MAX_ID_LENGTH, 1),
        created_at=check_integer("created_at", seconds("created_at", required(members, "created_at"))),
        project_id=check_text("project_id", required(members, "project_id"), MAX_ID_LENGTH, 1),
    )


def page_to_wire(page: Page[T], to_wire: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """Return a page as the API's list object. `to_wire` is the function that writes its rows, such as `job_to_wire`."""
    return {
        "object": "list",
        "data": [to_wire(row) for row in page.data],
        "first_id": page.first_id,
        "last_id": page.last_id,
        "has_more": page.has_more,
    }


def page_from_wire(payload: Mapping[str, Any], from_wire: Callable[[Mapping[str, Any]], T]) -> Page[T]:
    """Return the page of a list object of the API. `from_wire` is the function that reads its rows. Raises InvalidValueError.

    Some servers send null for an empty list.
    """
    members = object_of(payload, "list")
    rows = [] if members.get("data", ()) is None else required(members, "data")
    if not isinstance(rows, list):
        raise InvalidValueError("data", type(rows).__name__, "must be a list")
    return Page(tuple(from_wire(row) for row in rows), has_more=bool(members.get("has_more")))

"""The rules of stored events, checkpoints, permissions and transitions. Every error names the field at fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent, NewEvent
from fine_tuning_store.domain.job_validation import check_status
from fine_tuning_store.domain.permission import CheckpointPermission
from fine_tuning_store.domain.transition import JobTransition, TransitionNotes
from fine_tuning_store.domain.validation import (
    MAX_ID_LENGTH,
    MAX_WORD_LENGTH,
    check_integer,
    check_json,
    check_json_object,
    check_long_text,
    check_name,
    check_optional_long_text,
    check_optional_text,
    check_text,
    refuse_members,
)
from fine_tuning_store.errors import InvalidValueError

MAX_PROJECTS: Final = 1000
MAX_RECORDS: Final = 10_000  # of one call
_OPTIONAL: Final = sorted(NewEvent.__optional_keys__)

EVENT_MEMBERS: Final = ("object", "id", "created_at", "message", "level", "type", "data")


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_HasId)

CHECKPOINT_MEMBERS: Final = (
    *("object", "id", "created_at", "fine_tuned_model_checkpoint", "fine_tuning_job_id", "step_number", "metrics"),
)


def validate_event(event: object, path: str = "") -> FineTuningJobEvent:
    """Return a copy of an event as it can be stored. `path` stands before the field in errors, for example `events[3].`."""
    if not isinstance(event, FineTuningJobEvent):
        raise InvalidValueError(path.rstrip(".") or "event", type(event).__name__, "must be a FineTuningJobEvent")
    return replace(
        event,
        id=check_text(f"{path}id", event.id, MAX_ID_LENGTH, 1),
        created_at=check_integer(f"{path}created_at", event.created_at),
        message=check_long_text(f"{path}message", event.message),
        level=check_text(f"{path}level", event.level, MAX_WORD_LENGTH),
        type=check_optional_text(f"{path}type", event.type, MAX_WORD_LENGTH),
        data=check_json(f"{path}data", event.data),
        extra=_check_extra(f"{path}extra", event.extra, EVENT_MEMBERS),
    )


def validate_events(events: object) -> tuple[FineTuningJobEvent, ...]:
    """Return copies of at most 10,000 events with different ids."""
    return _validate_many("events", events, validate_event)


def _validate_many(field: str, values: object, validate: Callable[[object, str], R]) -> tuple[R, ...]:
    """Return copies of at most 10,000 records with different ids."""
    copies = tuple(validate(value, f"{field}[{position}].") for position, value in enumerate(_check_number(field, values)))
    seen: set[str] = set()
    for position, copy in enumerate(copies):
        if copy.id in seen:
            raise duplicate(field, position, copy.id)
        seen.add(copy.id)
    return copies


def duplicate(field: str, position: int, id: str) -> InvalidValueError:
    """Return the error for a record whose id its job already has, for a different one."""
    return InvalidValueError(f"{field}[{position}].id", id, "must be new to its job, or that of the same one")


def check_new_events(events: object) -> list[NewEvent]:
    """Return at most 10,000 dicts of the arguments of `append`, whose values are not checked yet."""
    new = _check_number("events", events)
    for position, event in enumerate(new):
        if not isinstance(event, Mapping) or "message" not in event or not event.keys() <= {"message", *_OPTIONAL}:
            raise InvalidValueError(f"events[{position}]", event, f"must be a dict of message and, if needed, {', '.join(_OPTIONAL)}")
    return new


def _check_number(field: str, values: object) -> list[Any]:
    several = list(check_many(field, values))
    if len(several) > MAX_RECORDS:
        raise InvalidValueError(field, len(several), f"must be at most {MAX_RECORDS}")
    return several


def check_many(field: str, values: object) -> Iterable[Any]:
    """Return an iterable that is not a string."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidValueError(field, type(values).__name__, f"must be several {field}")
    return values


def validate_checkpoint(checkpoint: object, path: str = "") -> FineTuningJobCheckpoint:
    """Return a copy of a checkpoint as it can be stored. `path` stands before the field in errors."""
    if not isinstance(checkpoint, FineTuningJobCheckpoint):
        raise InvalidValueError(path.rstrip(".") or "checkpoint", type(checkpoint).__name__, "must be a FineTuningJobCheckpoint")
    return replace(
        checkpoint,
        id=check_text(f"{path}id", checkpoint.id, MAX_ID_LENGTH, 1),
        created_at=check_integer(f"{path}created_at", checkpoint.created_at),
        fine_tuned_model_checkpoint=check_name(f"{path}fine_tuned_model_checkpoint", checkpoint.fine_tuned_model_checkpoint),
        fine_tuning_job_id=check_text(f"{path}fine_tuning_job_id", checkpoint.fine_tuning_job_id, MAX_ID_LENGTH, 1),
        step_number=check_integer(f"{path}step_number", checkpoint.step_number),
        metrics=check_json_object(f"{path}metrics", checkpoint.metrics),
        extra=_check_extra(f"{path}extra", checkpoint.extra, CHECKPOINT_MEMBERS),
    )


def validate_checkpoints(job_id: str, checkpoints: object) -> tuple[FineTuningJobCheckpoint, ...]:
    """Return copies of at most 10,000 checkpoints of a job with different ids."""
    copies = _validate_many("checkpoints", checkpoints, validate_checkpoint)
    for position, copy in enumerate(copies):
        _require_job(f"checkpoints[{position}].fine_tuning_job_id", copy.fine_tuning_job_id, job_id)
    return copies


def validate_permissions(job_id: str, permissions: object) -> tuple[CheckpointPermission, ...]:
    """Return copies of at most 10,000 permissions of a job with different ids. They may still lack their organization."""
    copies = _validate_many("permissions", permissions, _validate_permission)
    for position, copy in enumerate(copies):
        if copy.job_id is not None:
            _require_job(f"permissions[{position}].job_id", copy.job_id, job_id)
    return tuple(replace(copy, job_id=job_id) for copy in copies)


def _validate_permission(permission: object, path: str) -> CheckpointPermission:
    if not isinstance(permission, CheckpointPermission):
        raise InvalidValueError(path.rstrip("."), type(permission).__name__, "must be a CheckpointPermission")
    return replace(
        permission,
        id=check_text(f"{path}id", permission.id, MAX_ID_LENGTH, 1),
        created_at=check_integer(f"{path}created_at", permission.created_at),
        project_id=check_text(f"{path}project_id", permission.project_id, MAX_ID_LENGTH, 1),
        fine_tuned_model_checkpoint=check_name(f"{path}fine_tuned_model_checkpoint", permission.fine_tuned_model_checkpoint),
    )


def validate_transitions(job_id: str, transitions: object) -> tuple[JobTransition, ...]:
    """Return copies of at most 10,000 transitions of a job with different ids, whose positions follow each other."""
    copies = _validate_many("transitions", transitions, validate_transition)
    for index, copy in enumerate(copies):
        _require_job(f"transitions[{index}].job_id", copy.job_id, job_id)
        if index and copy.position != copies[index - 1].position + 1:
            raise InvalidValueError(f"transitions[{index}].position", copy.position, "must be the one after that of the transition before")
    return copies


def validate_transition(transition: object, path: str = "") -> JobTransition:
    """Return a copy of a transition as it can be stored. `path` stands before the field in errors."""
    if not isinstance(transition, JobTransition):
        raise InvalidValueError(path.rstrip("."), type(transition).__name__, "must be a JobTransition")
    return replace(
        transition,
        id=check_text(f"{path}id", transition.id, MAX_ID_LENGTH, 1),
        job_id=check_text(f"{path}job_id", transition.job_id, MAX_ID_LENGTH, 1),
        position=check_integer(f"{path}position", transition.position, 1),
        transition=check_text(f"{path}transition", transition.transition, MAX_WORD_LENGTH, 1),
        from_status=check_status(transition.from_status, f"{path}from_status"),
        to_status=check_status(transition.to_status, f"{path}to_status"),
        at=check_integer(f"{path}at", transition.at),
        actor=check_optional_text(f"{path}actor", transition.actor, MAX_ID_LENGTH, 1),
        reason=check_optional_long_text(f"{path}reason", transition.reason),
        attempt=check_integer(f"{path}attempt", transition.attempt, 0),
    )


def _require_job(field: str, value: str, job_id: str) -> None:
    if value != job_id:
        raise InvalidValueError(field, value, "must be the id of the job of the call")


def check_projects(project_ids: object) -> tuple[str, ...]:
    """Return the ids of 1 to 1000 projects, without duplicates."""
    if isinstance(project_ids, (str, Mapping)) or not isinstance(project_ids, Iterable):
        raise InvalidValueError("project_ids", project_ids, "must be a list of project ids")
    ids = tuple(dict.fromkeys(check_text(f"project_ids[{position}]", id, MAX_ID_LENGTH, 1) for position, id in enumerate(project_ids)))
    if not 1 <= len(ids) <= MAX_PROJECTS:
        raise InvalidValueError("project_ids", len(ids), f"must name 1 to {MAX_PROJECTS} projects")
    return ids


def _check_extra(field: str, value: object, members: tuple[str, ...]) -> dict[str, object]:
    extra = check_json_object(field, value)
    refuse_members(field, extra, members)
    return extra


def check_transition_notes(transition: str, notes: TransitionNotes) -> TransitionNotes:
    """Return the notes of a transition. Raises InvalidValueError, and TypeError for an unknown one."""
    for name in notes:
        if name not in TransitionNotes.__annotations__:
            raise TypeError(f"{transition}() has no argument {name!r}: use {', '.join(TransitionNotes.__annotations__)}")
    return {
        "message": check_optional_long_text("message", notes.get("message")),
        "actor": check_optional_text("actor", notes.get("actor"), MAX_ID_LENGTH, 1),
        "reason": check_optional_long_text("reason", notes.get("reason")),
    }

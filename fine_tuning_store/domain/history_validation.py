"""The rules of stored events, checkpoints and permissions. Every error names the field at fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent, NewEvent
from fine_tuning_store.domain.transition import TransitionNotes
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
MAX_EVENTS: Final = 10_000
_OPTIONAL: Final = sorted(NewEvent.__optional_keys__)

EVENT_MEMBERS: Final = ("object", "id", "created_at", "message", "level", "type", "data")
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
    copies = tuple(validate_event(event, f"events[{position}].") for position, event in enumerate(_check_number(events)))
    seen: set[str] = set()
    for position, event in enumerate(copies):
        if event.id in seen:
            raise duplicate_event(position, event.id)
        seen.add(event.id)
    return copies


def check_new_events(events: object) -> list[NewEvent]:
    """Return at most 10,000 dicts of the arguments of `append`, whose values are not checked yet."""
    new = _check_number(events)
    for position, event in enumerate(new):
        if not isinstance(event, Mapping) or "message" not in event or not event.keys() <= {"message", *_OPTIONAL}:
            raise InvalidValueError(f"events[{position}]", event, f"must be a dict of message and, if needed, {', '.join(_OPTIONAL)}")
    return new


def _check_number(events: object) -> list[Any]:
    several = list(check_many("events", events))
    if len(several) > MAX_EVENTS:
        raise InvalidValueError("events", len(several), f"must be at most {MAX_EVENTS}")
    return several


def check_many(field: str, values: object) -> Iterable[Any]:
    """Return an iterable that is not a string."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidValueError(field, type(values).__name__, f"must be several {field}")
    return values


def duplicate_event(position: int, id: str) -> InvalidValueError:
    """Return the error for an event whose id its job already has."""
    return InvalidValueError(f"events[{position}].id", id, "must be new to its job")


def validate_checkpoint(checkpoint: object) -> FineTuningJobCheckpoint:
    """Return a copy of a checkpoint as it can be stored."""
    if not isinstance(checkpoint, FineTuningJobCheckpoint):
        raise InvalidValueError("checkpoint", type(checkpoint).__name__, "must be a FineTuningJobCheckpoint")
    return replace(
        checkpoint,
        id=check_text("id", checkpoint.id, MAX_ID_LENGTH, 1),
        created_at=check_integer("created_at", checkpoint.created_at),
        fine_tuned_model_checkpoint=check_name("fine_tuned_model_checkpoint", checkpoint.fine_tuned_model_checkpoint),
        fine_tuning_job_id=check_text("fine_tuning_job_id", checkpoint.fine_tuning_job_id, MAX_ID_LENGTH, 1),
        step_number=check_integer("step_number", checkpoint.step_number),
        metrics=check_json_object("metrics", checkpoint.metrics),
        extra=_check_extra("extra", checkpoint.extra, CHECKPOINT_MEMBERS),
    )


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

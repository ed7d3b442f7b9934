"""What a stored event, checkpoint or permission must be. Every refusal names its field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.validation import (
    ID_LENGTH,
    TEXT_LENGTH,
    WORD_LENGTH,
    integer,
    json_object,
    json_value,
    name,
    optional_text,
    text,
)
from fine_tuning_store.errors import InvalidValueError

PROJECTS: Final = 1000
EVENTS: Final = 10_000

EVENT_MEMBERS: Final = ("object", "id", "created_at", "message", "level", "type", "data")
CHECKPOINT_MEMBERS: Final = (
    *("object", "id", "created_at", "fine_tuned_model_checkpoint", "fine_tuning_job_id", "step_number", "metrics"),
)


def validate_event_for_storage(field: str, event: object) -> FineTuningJobEvent:
    """An event as it can be stored; `field` is the path of a refusal, with its dot."""
    if not isinstance(event, FineTuningJobEvent):
        raise InvalidValueError(field.rstrip(".") or "event", type(event).__name__, "must be a FineTuningJobEvent")
    return replace(
        event,
        id=text(f"{field}id", event.id, ID_LENGTH, 1),
        created_at=integer(f"{field}created_at", event.created_at),
        message=text(f"{field}message", event.message, TEXT_LENGTH),
        level=text(f"{field}level", event.level, WORD_LENGTH),
        type=optional_text(f"{field}type", event.type, WORD_LENGTH),
        data=json_value(f"{field}data", event.data),
        extra=_extra(f"{field}extra", event.extra, EVENT_MEMBERS),
    )


def validate_events_for_storage(events: object) -> tuple[FineTuningJobEvent, ...]:
    """Several events, at most 10,000, no id twice."""
    if isinstance(events, str) or not isinstance(events, Iterable):
        raise InvalidValueError("events", type(events).__name__, "must be several events")
    kept = tuple(validate_event_for_storage(f"events[{position}].", event) for position, event in enumerate(events))
    if len(kept) > EVENTS:
        raise InvalidValueError("events", len(kept), f"must be at most {EVENTS}")
    seen: set[str] = set()
    for position, event in enumerate(kept):
        if event.id in seen:
            raise taken_event(position, event.id)
        seen.add(event.id)
    return kept


def taken_event(position: int, id: str) -> InvalidValueError:
    """The refusal of an event that the job has already."""
    return InvalidValueError(f"events[{position}].id", id, "must be new to its job")


def validate_checkpoint_for_storage(checkpoint: object) -> FineTuningJobCheckpoint:
    """A checkpoint as it can be stored."""
    if not isinstance(checkpoint, FineTuningJobCheckpoint):
        raise InvalidValueError("checkpoint", type(checkpoint).__name__, "must be a FineTuningJobCheckpoint")
    return replace(
        checkpoint,
        id=text("id", checkpoint.id, ID_LENGTH, 1),
        created_at=integer("created_at", checkpoint.created_at),
        fine_tuned_model_checkpoint=name("fine_tuned_model_checkpoint", checkpoint.fine_tuned_model_checkpoint),
        fine_tuning_job_id=text("fine_tuning_job_id", checkpoint.fine_tuning_job_id, ID_LENGTH, 1),
        step_number=integer("step_number", checkpoint.step_number),
        metrics=json_object("metrics", checkpoint.metrics),
        extra=_extra("extra", checkpoint.extra, CHECKPOINT_MEMBERS),
    )


def projects(project_ids: object) -> tuple[str, ...]:
    """Ids of projects, 1 to 1000, each once."""
    if isinstance(project_ids, (str, Mapping)) or not isinstance(project_ids, Iterable):
        raise InvalidValueError("project_ids", project_ids, "must be a list of project ids")
    ids = tuple(dict.fromkeys(text(f"project_ids[{position}]", id, ID_LENGTH, 1) for position, id in enumerate(project_ids)))
    if not 1 <= len(ids) <= PROJECTS:
        raise InvalidValueError("project_ids", len(ids), f"must name 1 to {PROJECTS} projects")
    return ids


def _extra(field: str, value: object, members: tuple[str, ...]) -> dict[str, object]:
    extra = json_object(field, value)
    for member in members:
        if member in extra:
            raise InvalidValueError(f"{field}.{member}", extra[member], "is a member of its own")
    return extra

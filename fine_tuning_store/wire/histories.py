"""The JSON of histories: the objects of the API, with what only the store knows beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.history import JobHistory
from fine_tuning_store.domain.history_validation import validate_transition
from fine_tuning_store.domain.job import STORE_MEMBERS, FineTuningJob
from fine_tuning_store.domain.transition import JobTransition
from fine_tuning_store.domain.validation import below, check_name, check_object
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.wire.jobs import job_from_wire, job_to_wire, job_with_members
from fine_tuning_store.wire.members import object_of, required
from fine_tuning_store.wire.records import (
    checkpoint_from_wire,
    checkpoint_to_wire,
    event_from_wire,
    event_to_wire,
    permission_from_wire,
    permission_to_wire,
)

T = TypeVar("T")

#: The members of a job that are not on the wire. A lease is not copied.
_STORE: Final = tuple(name for name in (*STORE_MEMBERS, "wire_status") if name not in ("worker_id", "lease_expires_at"))
_TRANSITION: Final = ("id", "position", "transition", "from_status", "to_status", "at", "actor", "reason", "attempt")
_PARTS: Final = ("job", "store", "events", "checkpoints", "permissions", "transitions")
MODEL: Final = "fine_tuned_model_checkpoint"


def history_to_wire(history: JobHistory) -> dict[str, Any]:
    """Return the history as one JSON object."""
    job = job_to_wire(history.job)
    if job["metadata"] is not None:
        job["metadata"] = dict(sorted(job["metadata"].items()))  # databases return the pairs in any order
    return {
        "job": job,
        "store": {name: getattr(history.job, name) for name in _STORE},
        "events": [event_to_wire(event) for event in history.events],
        "checkpoints": [checkpoint_to_wire(checkpoint) for checkpoint in history.checkpoints],
        "permissions": [{**permission_to_wire(each), MODEL: each.fine_tuned_model_checkpoint} for each in history.permissions],
        "transitions": [{name: getattr(transition, name) for name in _TRANSITION} for transition in history.transitions],
    }


def history_from_wire(payload: Mapping[str, Any], organization_id: str | None = None) -> JobHistory:
    """Return the history of a JSON object, or of a job of the API alone.

    Args:
        payload: The JSON object.
        organization_id: If given, it replaces that of the job.

    Raises:
        InvalidValueError: A part is not what it should be, or has a value that cannot be stored. `field` names it.
    """
    members = object_of(payload)
    if "job" not in members:
        return JobHistory(job=job_from_wire(members, organization_id))
    for name in members:
        if name not in _PARTS:
            raise InvalidValueError(str(name), members[name], f"is not a part of a history: {', '.join(_PARTS)}")
    job = _job(members, organization_id)
    return JobHistory(
        job=job,
        events=_all(members, "events", event_from_wire),
        checkpoints=_all(members, "checkpoints", lambda each: _checkpoint(each, job)),
        permissions=_all(members, "permissions", lambda each: _permission(each, job)),
        transitions=_all(members, "transitions", lambda each: _transition(each, job)),
    )


def _job(members: Mapping[str, Any], organization_id: str | None) -> FineTuningJob:
    kept = dict(check_object("store", members.get("store") or {}))
    for name, value in kept.items():
        if name not in _STORE:
            raise InvalidValueError(f"store.{name}", value, f"is not one of {', '.join(_STORE)}")
    status, _, word = str(kept.pop("wire_status", None) or "").partition(":")
    try:
        return job_with_members(check_object("job", members["job"]), organization_id, {word: status} if word else None, kept)
    except InvalidValueError as error:
        raise error if error.field == "job" else below("store." if error.field in kept else "job.", error) from None


def _checkpoint(payload: Any, job: FineTuningJob) -> FineTuningJobCheckpoint:
    checkpoint = checkpoint_from_wire(payload)
    if checkpoint.fine_tuning_job_id != job.id:
        raise InvalidValueError("fine_tuning_job_id", checkpoint.fine_tuning_job_id, "must be the id of the job of the history")
    return checkpoint


def _permission(payload: Any, job: FineTuningJob) -> Any:
    model = check_name(MODEL, required(object_of(payload), MODEL))
    permission = permission_from_wire(payload)
    return replace(permission, fine_tuned_model_checkpoint=model, organization_id=job.organization_id, job_id=job.id)


def _transition(payload: Any, job: FineTuningJob) -> JobTransition:
    members = object_of(payload)
    for name in members:
        if name not in _TRANSITION:
            raise InvalidValueError(str(name), members[name], "is not a member of a transition")
    given: dict[str, Any] = {name: members.get(name) for name in _TRANSITION}
    return validate_transition(JobTransition(job_id=job.id, **given))


def _all(members: Mapping[str, Any], name: str, read: Callable[[Any], T]) -> tuple[T, ...]:
    values = members.get(name) or ()
    if not isinstance(values, (list, tuple)):
        raise InvalidValueError(name, type(values).__name__, "must be a list")
    found = []
    for position, value in enumerate(values):
        try:
            found.append(read(value))
        except InvalidValueError as error:
            raise below(f"{name}[{position}].", error) from None
    return tuple(found)

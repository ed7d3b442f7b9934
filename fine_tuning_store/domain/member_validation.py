"""The rules of the members of a job that have a structure of their own: its error, its integrations, its method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fine_tuning_store.domain.grader_validation import check_grader
from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS, JobError, Method
from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.plain_values import model_members
from fine_tuning_store.domain.validation import (
    MAX_NAME_LENGTH,
    MAX_WORD_LENGTH,
    check_integer,
    check_json,
    check_json_object,
    check_optional_long_text,
    check_optional_text,
    check_text,
    refuse_members,
)
from fine_tuning_store.errors import InvalidValueError

MAX_INTEGRATIONS: Final = 5
#: What is kept of a Weights & Biases block. An API key among its members is dropped, never stored.
WANDB_MEMBERS: Final = ("project", "name", "entity", "tags", "run_id")


def check_error(value: object) -> JobError:
    """Return a copy of the error of a failed job. Raises InvalidValueError if all of its members are empty."""
    if not isinstance(value, JobError):
        raise InvalidValueError("error", value, "must be a JobError object")
    extra = _without_nulls(check_json_object("error.extra", value.extra))
    for name in _ERROR_COLUMNS:
        if isinstance(extra.get(name), str) or getattr(value, name) != _error_text(extra.get(name)):
            refuse_members("error.extra", extra, (name,))
    error = JobError(
        code=check_optional_long_text("error.code", value.code),
        message=check_optional_long_text("error.message", value.message),
        param=check_optional_long_text("error.param", value.param),
        extra=extra,
    )
    if error == JobError():
        raise InvalidValueError("error", value, "must have a code, a message or a param")
    return error


_ERROR_COLUMNS: Final = ("code", "message", "param")


def error_from_payload(value: object) -> JobError | None:
    """Return the error of a job's JSON object, a value that `check_json` has returned.

    None, an empty value, and an object of nulls all mean that there is none.

    A value that is no object becomes the message. A code, message or param that is no text is kept in `extra` too.
    """
    members = _without_nulls(value) if isinstance(value, dict) else value
    if not members:
        return None
    if not isinstance(members, dict):
        return JobError(message=_error_text(members))
    extra = {name: member for name, member in members.items() if name not in _ERROR_COLUMNS or not isinstance(member, str)}
    return JobError(**{name: _error_text(members.get(name)) for name in _ERROR_COLUMNS}, extra=extra)


def _error_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def check_kept_members(kept: dict[str, Any], status: JobStatus, error: JobError | None) -> dict[str, Any]:
    """Return the KEPT_MEMBERS that still belong to the status and the error of a job."""
    counting: dict[str, Any] = {}
    if "finished_at" in kept:
        finished_at = check_integer("extra.finished_at", kept["finished_at"])
        if status not in ENDED:
            counting["finished_at"] = finished_at
    if "error" in kept:
        if not kept["error"] or isinstance(kept["error"], dict):
            refuse_members("extra", kept, ("error",))
        if error == error_from_payload(kept["error"]):
            counting["error"] = kept["error"]
    return counting


def check_wire_status(value: object, status: JobStatus) -> str | None:
    """Return a status and the word that another server sent for it, 1 to 64 characters after a colon, if it is the status of the job."""
    if value is None:
        return None
    mapped, _, word = check_text("wire_status", value).partition(":")
    if mapped not in tuple(JobStatus) or word == mapped:
        raise InvalidValueError("wire_status", value, "must be a status, a colon, and another server's word, such as running:training")
    check_text("wire_status", word, MAX_WORD_LENGTH, 1)
    return f"{mapped}:{word}" if mapped == status else None


def check_integrations(value: object, *, for_create: bool = False) -> tuple[Any, ...]:
    """Return a copy of the integrations without secrets: only the WANDB_MEMBERS of a Weights & Biases block are kept.

    They are stored as one JSON value, and limited in size as one.

    With `for_create` the rules of a create request apply: at most 5, of type wandb, with a project.
    """
    if not isinstance(value, (list, tuple)):
        raise InvalidValueError("integrations", type(value).__name__, "must be a list")
    if for_create and len(value) > MAX_INTEGRATIONS:
        raise InvalidValueError("integrations", len(value), f"must have at most {MAX_INTEGRATIONS} entries")
    known = [_known_members(f"integrations[{position}]", member, for_create=for_create) for position, member in enumerate(value)]
    return tuple(check_json("integrations", known))


def _known_members(field: str, value: object, *, for_create: bool) -> Mapping[str, Any]:
    """Return what is kept of an integration, which is checked only with `for_create`."""
    value = model_members(value) or value
    if not isinstance(value, Mapping):
        raise InvalidValueError(field, type(value).__name__, "must be an object")
    block = value.get("wandb")
    if for_create:
        if value.get("type") != "wandb" or not isinstance(block, Mapping):
            raise InvalidValueError(f"{field}.type", value.get("type"), 'must be "wandb", with an object of that name beside it')
        check_text(f"{field}.wandb.project", block.get("project"), MAX_NAME_LENGTH, 1)
        for name in ("name", "entity", "run_id"):
            check_optional_text(f"{field}.wandb.{name}", block.get(name), MAX_NAME_LENGTH)
        _check_tags(f"{field}.wandb.tags", block.get("tags"))
        _refuse_unknown(f"{field}.", value, ("type", "wandb"))
        _refuse_unknown(f"{field}.wandb.", block, WANDB_MEMBERS)
    if value.get("type") != "wandb" and "wandb" not in value:
        return value
    if isinstance(block, Mapping):
        return {"type": "wandb", "wandb": _known_wandb(block)}
    return {"type": "wandb", **_known_wandb(value)}  # other servers keep the members flat


def _refuse_unknown(path: str, members: Mapping[str, Any], known: Sequence[str]) -> None:
    for name, value in members.items():
        if name not in known and value is not None:  # the value may be the key of an account
            raise InvalidValueError(f"{path}{name}", type(value).__name__, f"is not one of {', '.join(known)}")


def _check_tags(field: str, value: object) -> None:
    if not (value is None or isinstance(value, (list, tuple))):
        raise InvalidValueError(field, value, "must be a list of strings")
    for position, tag in enumerate(value or ()):
        check_text(f"{field}[{position}]", tag)


def _known_wandb(members: Mapping[str, Any]) -> dict[str, Any]:
    return {member: members[member] for member in WANDB_MEMBERS if member in members}


def validate_method(value: object) -> Method:
    """Return a copy of a method as it can be stored, of any type."""
    if not isinstance(value, Method):
        raise InvalidValueError("method", value, "must be a Method object")
    type = check_text("method.type", value.type, MAX_WORD_LENGTH, 1)
    if type == "type":
        raise InvalidValueError("method.type", type, "must be the name of a method")
    extra = _without_nulls(check_json_object("method.extra", value.extra))
    refuse_members("method.extra", extra, ("type",))
    block = check_json_object(f"method.extra.{type}", extra.pop(type, {}))
    refuse_members(f"method.extra.{type}", block, ("hyperparameters", "grader", "response_format"))
    return Method(
        type=type,
        grader=check_json("method.grader", value.grader),
        response_format=check_json("method.response_format", value.response_format),
        extra={**extra, type: block} if block else extra,
    )


def _without_nulls(members: dict[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in members.items() if value is not None}


def method_for_create(value: object) -> Method:
    """Return a copy of a method that the API offers, with the members of its type and no others."""
    method = validate_method(value)
    if method.type not in METHOD_HYPERPARAMETERS:
        raise InvalidValueError("method.type", method.type, f"must be one of {', '.join(METHOD_HYPERPARAMETERS)}")
    if method.extra:
        raise InvalidValueError("method", next(iter(method.extra)), "has an unknown member")
    if method.type == "reinforcement":
        if not isinstance(method.grader, dict) or not method.grader:
            raise InvalidValueError("method.reinforcement.grader", method.grader, "must be an object: the method needs a grader")
        check_grader("method.reinforcement.grader", method.grader)
    else:
        for name in ("grader", "response_format"):
            if getattr(method, name) is not None:
                raise InvalidValueError(f"method.{name}", getattr(method, name), f"does not belong to the {method.type} method")
    return method

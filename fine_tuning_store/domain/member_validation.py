"""The rules of the members of a job that have a structure of their own: its error, its integrations, its method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS, JobError, Method
from fine_tuning_store.domain.validation import (
    MAX_NAME_LENGTH,
    MAX_TEXT_LENGTH,
    MAX_WORD_LENGTH,
    check_json,
    check_json_object,
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
    refuse_members("error.extra", extra, ("code", "message", "param"))
    error = JobError(
        code=check_optional_text("error.code", value.code, MAX_TEXT_LENGTH),
        message=check_optional_text("error.message", value.message, MAX_TEXT_LENGTH),
        param=check_optional_text("error.param", value.param, MAX_TEXT_LENGTH),
        extra=extra,
    )
    if error == JobError():
        raise InvalidValueError("error", value, "must have a code, a message or a param")
    return error


def check_integrations(value: object, *, for_create: bool = False) -> tuple[Any, ...]:
    """Return a copy of the integrations without secrets: only the WANDB_MEMBERS of a Weights & Biases block are kept.

    With `for_create` the rules of a create request apply: at most 5, of type wandb, with a project.
    """
    if not isinstance(value, (list, tuple)):
        raise InvalidValueError("integrations", type(value).__name__, "must be a list")
    if for_create and len(value) > MAX_INTEGRATIONS:
        raise InvalidValueError("integrations", len(value), f"must have at most {MAX_INTEGRATIONS} entries")
    return tuple(_check_integration(f"integrations[{position}]", member, for_create=for_create) for position, member in enumerate(value))


def _check_integration(field: str, value: object, *, for_create: bool) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValueError(field, type(value).__name__, "must be an object")
    block = value.get("wandb")
    if for_create:
        if value.get("type") != "wandb" or not isinstance(block, Mapping):
            raise InvalidValueError(f"{field}.type", value.get("type"), 'must be "wandb", with an object of that name beside it')
        check_text(f"{field}.wandb.project", block.get("project"), MAX_NAME_LENGTH, 1)
    if value.get("type") != "wandb" and "wandb" not in value:
        return check_json_object(field, value)
    if isinstance(block, Mapping):
        return {"type": "wandb", "wandb": check_json_object(f"{field}.wandb", _known_wandb(block))}
    return {"type": "wandb", **check_json_object(field, _known_wandb(value))}  # other servers keep the members flat


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
    else:
        for name in ("grader", "response_format"):
            if getattr(method, name) is not None:
                raise InvalidValueError(f"method.{name}", getattr(method, name), f"does not belong to the {method.type} method")
    return method

"""Create requests: what a client of the API sends, as the arguments of `create`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from fine_tuning_store.domain.grader_validation import check_grader
from fine_tuning_store.domain.hyperparameters import hyperparameters_from_request, merged_hyperparameters
from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS, Hyperparameters, Method
from fine_tuning_store.domain.job_validation import JobRequest, validate_for_create
from fine_tuning_store.domain.validation import check_choice, check_json_object, check_object
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.wire.members import object_of, required, whole

_MEMBERS: Final = tuple(JobRequest.__annotations__)


def job_request_from_wire(payload: Mapping[str, Any]) -> JobRequest:
    """Return the arguments of `create` for a create request, with its values checked.

    Null is the same as absent. Hyperparameters are read from the block of the method and from the deprecated place at the top, which must
    not contradict each other. Blocks of other methods than that of `method.type` are ignored.

    Args:
        payload: The JSON object that a client sent.

    Raises:
        InvalidValueError: A member is unknown, missing or outside of its range. `field` names it as the API does.
    """
    members = _without_nulls(object_of(payload))
    for name in members:
        if name not in _MEMBERS:
            raise InvalidValueError(str(name), members[name], "is not a member of a create request")
    for name in sorted(JobRequest.__required_keys__):
        required(members, name)
    method, nested = _method(members.get("method"))
    top = _hyperparameters("hyperparameters", members.get("hyperparameters"), "supervised" if method is None else method.type)
    request = {name: members.get(name) for name in _MEMBERS}
    request |= {"method": method, "seed": whole(members.get("seed"))}
    request["hyperparameters"] = merged_hyperparameters(top, nested) if top and nested else top or nested
    validate_for_create("ftjob-", 0, None, request)
    return cast("JobRequest", request)


def grader_from_wire(payload: Any) -> dict[str, Any]:
    """Return a grader with its shape checked, as `create` checks the one of a reinforcement job.

    Raises:
        InvalidValueError: It is no object, or lacks a member of its type. `field` begins with `grader`.
    """
    grader = check_json_object("grader", payload)
    check_grader("grader", grader)
    return grader


def _without_nulls(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in members.items() if member is not None}


def _hyperparameters(field: str, value: Any, method: str) -> Hyperparameters | None:
    return None if value is None else hyperparameters_from_request(field, check_json_object(field, value), method)


def _method(value: Any) -> tuple[Method | None, Hyperparameters | None]:
    if value is None:
        return None, None
    members = _without_nulls(check_object("method", value))
    type = check_choice("method.type", members.pop("type", None), METHOD_HYPERPARAMETERS)
    blocks = {name: check_object(f"method.{name}", members.pop(name)) for name in METHOD_HYPERPARAMETERS if name in members}
    for name, member in members.items():
        raise InvalidValueError(f"method.{name}", member, "is not a member of a method")
    block = _without_nulls(blocks.get(type, {}))
    nested = _hyperparameters(f"method.{type}.hyperparameters", block.pop("hyperparameters", None), type)
    if type != "reinforcement":
        for name in ("grader", "response_format"):
            if name in block:
                raise InvalidValueError(f"method.{type}.{name}", block[name], f"does not belong to the {type} method")
    method = Method(type=type, grader=block.pop("grader", None), response_format=block.pop("response_format", None))
    for name, member in block.items():
        raise InvalidValueError(f"method.{type}.{name}", member, "is not a member of this method")
    return method, nested

"""Create requests: what a client of the API sends, as the arguments of `create`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from fine_tuning_store.domain.hyperparameters import hyperparameters_from_request
from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS, Hyperparameters, Method
from fine_tuning_store.domain.job_validation import JobRequest, validate_for_create
from fine_tuning_store.domain.validation import check_choice, check_json_object, check_object
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.wire.members import object_of, required

_MEMBERS: Final = tuple(JobRequest.__annotations__)


def job_request_from_wire(payload: Mapping[str, Any]) -> JobRequest:
    """Return the arguments of `create` for a create request, with its values checked.

    Hyperparameters are read from the block of the method, or from the deprecated place at the top, but not from both.

    Args:
        payload: The JSON object that a client sent.

    Raises:
        InvalidValueError: A member is unknown, missing or outside of its range. `field` names it as the API does.
    """
    payload = object_of(payload)
    for name in payload:
        if name not in _MEMBERS:
            raise InvalidValueError(str(name), payload[name], "is not a member of a create request")
    for name in sorted(JobRequest.__required_keys__):
        required(payload, name)
    method, nested = _method(payload.get("method"))
    top = _hyperparameters("hyperparameters", payload.get("hyperparameters"), "supervised" if method is None else method.type)
    if top is not None and nested is not None:
        raise InvalidValueError("hyperparameters", payload["hyperparameters"], "must not be given beside those of the method")
    request = {name: payload.get(name) for name in _MEMBERS}
    request |= {"method": method, "hyperparameters": top if nested is None else nested}
    validate_for_create("ftjob-", 0, None, request)
    return cast("JobRequest", request)


def _hyperparameters(field: str, value: Any, method: str) -> Hyperparameters | None:
    return None if value is None else hyperparameters_from_request(field, check_json_object(field, value), method)


def _method(value: Any) -> tuple[Method | None, Hyperparameters | None]:
    if value is None:
        return None, None
    members = {name: member for name, member in check_object("method", value).items() if member is not None}
    type = members.pop("type", None)
    type = check_choice("method.type", type, METHOD_HYPERPARAMETERS)
    block = dict(check_object(f"method.{type}", members.pop(type, {})))
    for name, member in members.items():
        raise InvalidValueError(f"method.{name}", member, f"does not belong to the {type} method")
    nested = _hyperparameters(f"method.{type}.hyperparameters", block.pop("hyperparameters", None), type)
    if type != "reinforcement":
        for name in ("grader", "response_format"):
            if block.get(name) is not None:
                raise InvalidValueError(f"method.{type}.{name}", block[name], f"does not belong to the {type} method")
    method = Method(type=type, grader=block.pop("grader", None), response_format=block.pop("response_format", None))
    for name, member in block.items():
        raise InvalidValueError(f"method.{type}.{name}", member, "is not a member of this method")
    return method, nested

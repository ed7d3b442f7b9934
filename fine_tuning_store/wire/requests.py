"""Create requests: what a client of the API sends, as the arguments of `create`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypedDict

from fine_tuning_store.domain.hyperparameters import read_asked_hyperparameters
from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS, Hyperparameters, Method
from fine_tuning_store.domain.job_validation import check_request
from fine_tuning_store.domain.validation import json_object
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.wire.members import required

MEMBERS: Final = (
    *("model", "training_file", "validation_file", "hyperparameters", "method"),
    *("suffix", "seed", "integrations", "metadata"),
)


class JobRequest(TypedDict):
    """The arguments of `FineTuningJobRepository.create` that a client may give."""

    model: str
    training_file: str
    validation_file: str | None
    hyperparameters: Hyperparameters | None
    method: Method | None
    suffix: str | None
    seed: int | None
    integrations: list[dict[str, Any]] | None
    metadata: dict[str, str] | None


def job_request_from_wire(payload: Mapping[str, Any]) -> JobRequest:
    """The arguments of `create` for a create request, held to the contract's ranges (contract 2.1).

    Hyperparameters are taken from the method's block, or from the deprecated place at the top, but not from both. Raises
    InvalidValueError, which names the member as the API does.
    """
    if not isinstance(payload, Mapping):
        raise InvalidValueError("payload", type(payload).__name__, "must be an object")
    for name in payload:
        if name not in MEMBERS:
            raise InvalidValueError(str(name), payload[name], "is not a member of a create request")
    method, nested = _method(payload.get("method"))
    top = _hyperparameters("hyperparameters", payload.get("hyperparameters"), "supervised" if method is None else method.type)
    if top is not None and nested is not None:
        raise InvalidValueError("hyperparameters", payload["hyperparameters"], "must not be given beside those of the method")
    request = JobRequest(
        model=required(payload, "model"),
        training_file=required(payload, "training_file"),
        validation_file=payload.get("validation_file"),
        hyperparameters=top if nested is None else nested,
        method=method,
        suffix=payload.get("suffix"),
        seed=payload.get("seed"),
        integrations=payload.get("integrations"),
        metadata=payload.get("metadata"),
    )
    check_request(**request)
    return request


def _hyperparameters(field: str, value: Any, method: str) -> Hyperparameters | None:
    return None if value is None else read_asked_hyperparameters(field, json_object(field, value), method)


def _method(value: Any) -> tuple[Method | None, Hyperparameters | None]:
    if value is None:
        return None, None
    members = {name: member for name, member in json_object("method", value).items() if member is not None}
    type = members.pop("type", None)
    if not isinstance(type, str) or type not in METHOD_HYPERPARAMETERS:
        raise InvalidValueError("method.type", type, f"must be one of {', '.join(METHOD_HYPERPARAMETERS)}")
    block = json_object(f"method.{type}", members.pop(type, {}))
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

"""The filters of a list of jobs: checked, and turned into the shape of a statement and its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict, cast

from fine_tuning_store.domain import job_validation
from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.validation import integer, name
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.sql.mapping import pair_digest
from fine_tuning_store.sql.statements import JobQuery

Order = Literal["desc", "asc"]


class JobFilters(TypedDict, total=False):
    """What a list of jobs can be narrowed by; all of it holds at once. None is no filter."""

    organization_id: str | None
    status: JobStatus | str | Iterable[JobStatus | str] | None  #: one status, or any of several
    model: str | None
    fine_tuned_model: str | None
    training_file: str | None
    method: str | None  #: a method's type; jobs from before methods existed have none
    metadata: Mapping[str, str] | None  #: pairs that a job must all have; an empty value matches an empty value
    has_metadata: bool | None  #: True: at least one pair; False: none at all
    created_since: int | None  #: Unix seconds, inclusive
    created_until: int | None  #: Unix seconds, exclusive


_NAMES = ("model", "fine_tuned_model", "training_file")


def shape_of(filters: JobFilters, order: object, organization_id: str | None) -> tuple[JobQuery, dict[str, Any]]:
    """The shape of a list and its parameters. Raises InvalidValueError for a wrong value, TypeError for an unknown filter."""
    for filter in filters:
        if filter not in JobFilters.__annotations__:
            raise TypeError(f"a list of jobs has no filter {filter!r}: use {', '.join(JobFilters.__annotations__)}")
    given = {filter: value for filter, value in filters.items() if value is not None}
    parameters: dict[str, Any] = {member: name(member, given[member]) for member in _NAMES if member in given}
    if organization_id is not None:
        parameters["organization_id"] = organization_id
    if "method" in given:
        parameters["method_type"] = _method_type(given["method"])
    equal = frozenset(parameters)
    pairs = job_validation.metadata_pairs(given.get("metadata")) or {}
    parameters |= _bound_pairs(pairs)
    for bound in ("created_since", "created_until"):
        if bound in given:
            parameters[bound] = integer(bound, given[bound])
    if "has_metadata" in given and not isinstance(given["has_metadata"], bool):
        raise InvalidValueError("has_metadata", given["has_metadata"], "must be True or False")
    shape = JobQuery(
        equal=equal,
        statuses=_statuses(given["status"]) if "status" in given else (),
        pairs=len(pairs),
        has_metadata=cast("bool | None", given.get("has_metadata")),
        since="created_since" in given,
        until="created_until" in given,
        descending=is_descending(order),
    )
    return shape, parameters


def is_descending(order: object) -> bool:
    """Whether an order is newest first."""
    if order not in ("desc", "asc"):
        raise InvalidValueError("order", order, 'must be "desc" (newest first) or "asc"')
    return order == "desc"


def _bound_pairs(pairs: Mapping[str, str]) -> dict[str, Any]:
    """The pairs as parameters, and the digest of the first, which leads."""
    bound: dict[str, Any] = {}
    for position, (key, value) in enumerate(pairs.items()):
        bound |= {f"key_{position}": key, f"value_{position}": value}
        if position == 0:
            bound["digest_0"] = pair_digest(key, value)
    return bound


def _method_type(value: object) -> str:
    if not isinstance(value, str) or value not in METHOD_HYPERPARAMETERS:
        raise InvalidValueError("method", value, f"must be one of {', '.join(METHOD_HYPERPARAMETERS)}")
    return value


def _statuses(value: object) -> tuple[JobStatus, ...]:
    words = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if not words:
        raise InvalidValueError("status", value, "must name at least one status")
    wanted = {job_validation.job_status(word) for word in words}
    return tuple(status for status in JobStatus if status in wanted)

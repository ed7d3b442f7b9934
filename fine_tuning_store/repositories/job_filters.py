"""The filters of jobs, in lists and statistics: how they are checked, and how they become a query and its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypedDict, cast

from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS
from fine_tuning_store.domain.job_validation import check_metadata, check_status
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.validation import check_name, check_time
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.sql.queries.job_rows import pair_digest
from fine_tuning_store.sql.queries.jobs import JobQuery

Order = Literal["desc", "asc"]


class JobFilters(TypedDict, total=False):
    """The filters of lists and statistics of jobs. A job must match all of them. None is no filter.

    Attributes:
        organization_id: The id of an organization.
        status: One status, or any of several.
        model: The name of the base model.
        fine_tuned_model: The name of the fine-tuned model.
        training_file: A file id.
        method: The type of the method, such as `dpo`. Jobs from before methods existed have none.
        metadata: Pairs that a job must all have.
        has_metadata: True for jobs with at least one pair, False for those without any.
        created_since: Unix seconds or a datetime with a time zone, inclusive.
        created_until: Unix seconds or a datetime with a time zone, exclusive.
    """

    organization_id: str | None
    status: JobStatus | str | Iterable[JobStatus | str] | None
    model: str | None
    fine_tuned_model: str | None
    training_file: str | None
    method: str | None
    metadata: Mapping[str, str] | None
    has_metadata: bool | None
    created_since: int | datetime | None
    created_until: int | datetime | None


#: Filters that compare a column of the same name.
_NAMES: Final = ("model", "fine_tuned_model", "training_file")


def job_query(filters: JobFilters, order: object, organization_id: str | None) -> tuple[JobQuery, dict[str, Any]]:
    """Return the query of a list of jobs and its parameters.

    Raises InvalidValueError for a wrong value, and TypeError for an unknown filter.
    """
    for name in filters:
        if name not in JobFilters.__annotations__:
            raise TypeError(f"there is no filter {name!r} of jobs: use {', '.join(JobFilters.__annotations__)}")
    given = {name: value for name, value in filters.items() if value is not None}
    parameters: dict[str, Any] = {name: check_name(name, given[name]) for name in _NAMES if name in given}
    if organization_id is not None:
        parameters["organization_id"] = organization_id
    if "method" in given:
        parameters["method_type"] = _check_method(given["method"])
    equal = frozenset(parameters)
    pairs = check_metadata(given.get("metadata")) or {}
    parameters |= _bound_pairs(pairs)
    for name in ("created_since", "created_until"):
        if name in given:
            parameters[name] = check_time(name, given[name])
    if "has_metadata" in given and not isinstance(given["has_metadata"], bool):
        raise InvalidValueError("has_metadata", given["has_metadata"], "must be True or False")
    query = JobQuery(
        equal=equal,
        statuses=_check_statuses(given["status"]) if "status" in given else (),
        pairs=len(pairs),
        has_metadata=cast("bool | None", given.get("has_metadata")),
        since="created_since" in given,
        until="created_until" in given,
        descending=is_descending(order),
    )
    return query, parameters


def is_descending(order: object) -> bool:
    """Return True for newest first. Raises InvalidValueError for an unknown order."""
    if order not in ("desc", "asc"):
        raise InvalidValueError("order", order, 'must be "desc" (newest first) or "asc"')
    return order == "desc"


def _bound_pairs(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return the pairs as parameters, with the digest that stands for each in the indexes."""
    bound: dict[str, Any] = {}
    for position, (key, value) in enumerate(pairs.items()):
        bound |= {f"key_{position}": key, f"value_{position}": value, f"digest_{position}": pair_digest(key, value)}
    return bound


def _check_method(value: object) -> str:
    if not isinstance(value, str) or value not in METHOD_HYPERPARAMETERS:
        raise InvalidValueError("method", value, f"must be one of {', '.join(METHOD_HYPERPARAMETERS)}")
    return value


def _check_statuses(value: object) -> tuple[JobStatus, ...]:
    words = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if not words:
        raise InvalidValueError("status", value, "must name at least one status")
    statuses = {check_status(word) for word in words}
    return tuple(status for status in JobStatus if status in statuses)

"""The filters of jobs, in lists and statistics: how they are checked, and how they become a query and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypedDict, cast

from fine_tuning_store.domain.hyperparameters import STORABLE_RANGES, validate_hyperparameters
from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS, Hyperparameters
from fine_tuning_store.domain.job_validation import check_metadata, check_status
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.validation import (
    MAX_NAME_LENGTH,
    check_choice,
    check_integer,
    check_long_text,
    check_name,
    check_text,
    check_time,
)
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.sql.queries.job_conditions import JobQuery, OrderBy
from fine_tuning_store.sql.queries.job_rows import pair_digest

Order = Literal["desc", "asc"]
Time = int | datetime


class JobFilters(TypedDict, total=False):
    """The filters of lists and statistics of jobs. A job must match all of them. None is no filter.

    A time is in Unix seconds or a datetime with a time zone. `..._since` is inclusive, `..._until` exclusive.

    Attributes:
        organization_id: The id of an organization.
        status: One status, or any of several.
        model: The name of the base model.
        fine_tuned_model: The name of the fine-tuned model.
        method: The type of the method, such as `dpo`. Jobs from before methods existed have none.
        training_file: A file id.
        validation_file: A file id.
        result_file: The id of one of the result files.
        suffix: The suffix of the fine-tuned model's name.
        metadata: Pairs that a job must all have.
        has_metadata: True for jobs with at least one pair, False for those without any.
        error_code: The code of the error of a failed job.
        hyperparameters_at_least: Lower limits, such as `Hyperparameters(n_epochs=4)`. `"auto"` never matches.
        hyperparameters_at_most: Upper limits, likewise.
        attempt: The number of starts.
        created_since: The earliest time of creation.
        created_until: The time before which a job was created.
        finished_since: The earliest time of the end.
        finished_until: The time before which a job ended.
        updated_since: The earliest time of the last change.
        updated_until: The time before which a job was last changed.
    """

    organization_id: str | None
    status: JobStatus | str | Iterable[JobStatus | str] | None
    model: str | None
    fine_tuned_model: str | None
    method: str | None
    training_file: str | None
    validation_file: str | None
    result_file: str | None
    suffix: str | None
    metadata: Mapping[str, str] | None
    has_metadata: bool | None
    error_code: str | None
    hyperparameters_at_least: Hyperparameters | None
    hyperparameters_at_most: Hyperparameters | None
    attempt: int | None
    created_since: Time | None
    created_until: Time | None
    finished_since: Time | None
    finished_until: Time | None
    updated_since: Time | None
    updated_until: Time | None


#: The checks of the filters that compare a column of the same name.
_COLUMNS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    **dict.fromkeys(("model", "fine_tuned_model", "training_file", "validation_file"), check_name),
    "suffix": lambda field, value: check_text(field, value, MAX_NAME_LENGTH),
    "attempt": lambda field, value: check_integer(field, value, 0),
}
#: The checks of the filters that compare a column of another table.
_OTHERS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "result_file": check_name,
    "error_code": check_long_text,
}
_TIMES: Final = ("created", "finished", "updated")


def job_query(
    filters: JobFilters, order: object, organization_id: str | None, order_by: object = "created_at"
) -> tuple[JobQuery, dict[str, Any]]:
    """Return the query of a list of jobs and its parameters.

    Raises InvalidValueError for a wrong value, and TypeError for an unknown filter.
    """
    for name in filters:
        if name not in JobFilters.__annotations__:
            raise TypeError(f"there is no filter {name!r} of jobs: use {', '.join(JobFilters.__annotations__)}")
    given: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    parameters: dict[str, Any] = {name: check(name, given[name]) for name, check in _COLUMNS.items() if name in given}
    if organization_id is not None:
        parameters["organization_id"] = organization_id
    if "method" in given:
        parameters["method_type"] = _check_method(given["method"])
    equal = frozenset(parameters)
    parameters |= {name: check(name, given[name]) for name, check in _OTHERS.items() if name in given}
    pairs = check_metadata(given.get("metadata")) or {}
    times = _check_times(given)
    at_least, at_most = (_check_limits(f"hyperparameters_{limit}", given) for limit in ("at_least", "at_most"))
    if "has_metadata" in given and not isinstance(given["has_metadata"], bool):
        raise InvalidValueError("has_metadata", given["has_metadata"], "must be True or False")
    query = JobQuery(
        equal=equal,
        statuses=_check_statuses(given["status"]) if "status" in given else (),
        pairs=len(pairs),
        has_metadata=cast("bool | None", given.get("has_metadata")),
        result_file="result_file" in given,
        error_code="error_code" in given,
        times=frozenset(times),
        at_least=frozenset(at_least),
        at_most=frozenset(at_most),
        order_by=_check_order_by(order_by),
        descending=is_descending(order),
    )
    limits = {f"at_least_{name}": value for name, value in at_least.items()} | {f"at_most_{name}": value for name, value in at_most.items()}
    return query, parameters | _bound_pairs(pairs) | times | limits


def is_descending(order: object) -> bool:
    """Return True for newest first. Raises InvalidValueError for an unknown order."""
    return check_choice("order", order, ("desc", "asc"), 'must be "desc" (newest first) or "asc"') == "desc"


def _check_order_by(order_by: object) -> OrderBy:
    return check_choice("order_by", order_by, ("created_at", "finished_at"), 'must be "created_at" or "finished_at"')


def _check_times(given: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits of times in Unix seconds. Raises InvalidValueError, also if no time can be within both limits."""
    names = [f"{name}_{limit}" for name in _TIMES for limit in ("since", "until")]
    times = {name: check_time(name, given[name]) for name in names if name in given}
    for name in _TIMES:
        since, until = f"{name}_since", f"{name}_until"
        if since in times and until in times and times[since] > times[until]:
            raise InvalidValueError(since, given[since], f"must not be after {until}")
    return times


def _check_limits(field: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of hyperparameters by their names."""
    if field not in given:
        return {}
    limits = validate_hyperparameters(given[field])
    for name, value in (("reasoning_effort", limits.reasoning_effort), *limits.extra.items()):
        if value is not None or name in limits.extra:
            raise InvalidValueError(f"{field}.{name}", value, f"cannot be compared: use {', '.join(STORABLE_RANGES)}")
    found = {name: getattr(limits, name) for name in STORABLE_RANGES if getattr(limits, name) is not None}
    for name, value in found.items():
        if value == "auto":
            raise InvalidValueError(f"{field}.{name}", value, "must be a number")
    if not found:
        raise InvalidValueError(field, given[field], f"must have at least one of {', '.join(STORABLE_RANGES)}")
    return found


def _bound_pairs(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return the pairs as parameters, with the digest that stands for each in the indexes."""
    bound: dict[str, Any] = {}
    for position, (key, value) in enumerate(pairs.items()):
        bound |= {f"key_{position}": key, f"value_{position}": value, f"digest_{position}": pair_digest(key, value)}
    return bound


def _check_method(value: object) -> str:
    return check_choice("method", value, METHOD_HYPERPARAMETERS)


def _check_statuses(value: object) -> tuple[JobStatus, ...]:
    words = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if not words:
        raise InvalidValueError("status", value, "must name at least one status")
    statuses = {check_status(word) for word in words}
    return tuple(status for status in JobStatus if status in statuses)

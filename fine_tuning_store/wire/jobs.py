"""The JSON shape of jobs, in and out.

Reading is lenient: it accepts every shape that the OpenAI API, its documentation and Azure have sent since 2023. Nothing is lost:
`job_from_wire(job_to_wire(job)) == job`, unknown members come back through `extra`, and statuses of other servers through `wire_status`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, Final, Literal

from fine_tuning_store.domain.hyperparameters import hyperparameters_from_payload
from fine_tuning_store.domain.job import (
    HYPERPARAMETERS,
    KEPT_MEMBERS,
    METHOD_HYPERPARAMETERS,
    FineTuningJob,
    Hyperparameters,
    Method,
)
from fine_tuning_store.domain.job_validation import WIRE_MEMBERS, check_status, validate_for_storage
from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.member_validation import error_from_payload
from fine_tuning_store.domain.validation import MAX_JSON_DEPTH, check_json, check_json_object, check_object, check_text
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.wire.members import given, object_of, required, seconds, whole

Profile = Literal["latest", "2023-09", "azure"]

#: Statuses of other versions of the API, and of Azure: each is read as the status whose transitions the job still allows.
FOREIGN_STATUSES: Mapping[str, JobStatus] = MappingProxyType(
    {
        "created": JobStatus.VALIDATING_FILES,
        "pending": JobStatus.QUEUED,
        "pausing": JobStatus.RUNNING,
        "resuming": JobStatus.QUEUED,
    }
)


def job_to_wire(job: FineTuningJob, profile: Profile = "latest") -> dict[str, Any]:
    """Return the job as the API's JSON object, a new dict.

    Args:
        job: The job.
        profile: `latest` has the 23 members of 2025 and the job's unknown ones. `2023-09` has exactly the 14 members of the first version,
            with n_epochs as the only hyperparameter. `azure` says `pending` for queued, -1 for `"auto"`, and `suffix`. All of them say the
            status in the word of the server that the job was imported from, until its status changes.

    Raises:
        InvalidValueError: There is no such profile.
    """
    write = _PROFILES.get(profile) if isinstance(profile, str) else None
    if write is None:
        raise InvalidValueError("profile", profile, f"must be one of {', '.join(_PROFILES)}")
    return write(job)


def job_from_wire(
    payload: Mapping[str, Any], organization_id: str | None = None, *, statuses: Mapping[str, JobStatus | str] | None = None
) -> FineTuningJob:
    """Return the job of a JSON object of the API.

    Args:
        payload: The JSON object.
        organization_id: If given, it replaces that of the payload.
        statuses: Words of other servers for the status, such as `{"training": "running"}`. `job_to_wire` writes them again.

    Raises:
        InvalidValueError: The payload is not a job, or has a value that cannot be stored. `field` names the member.
    """
    return job_with_members(payload, organization_id, statuses, {})


def job_with_members(
    payload: Mapping[str, Any], organization_id: str | None, statuses: Mapping[str, JobStatus | str] | None, kept: Mapping[str, Any]
) -> FineTuningJob:
    """Return the job of a JSON object of the API, with members that are not on the wire."""
    payload = object_of(payload, "fine_tuning.job")
    method, hyperparameters = _method_in(payload)
    suffix = payload.get("user_provided_suffix")
    status, wire_status = _status_in(required(payload, "status"), {} if statuses is None else statuses)
    finished_at = seconds("finished_at", payload.get("finished_at"))
    sent_error = check_json("error", payload.get("error"))
    error = error_from_payload(sent_error)
    extra = {name: value for name, value in payload.items() if name not in _READ}
    if finished_at is not None and not status.is_ended:
        extra["finished_at"] = finished_at
    if error is not None and not isinstance(sent_error, dict):
        extra["error"] = sent_error
    job = FineTuningJob(
        id=required(payload, "id"),
        created_at=seconds("created_at", required(payload, "created_at")),
        finished_at=finished_at if status.is_ended else None,
        error=error,
        fine_tuned_model=_name_in(payload, "fine_tuned_model"),
        hyperparameters=hyperparameters,
        model=required(payload, "model"),
        organization_id=_name_in(payload, "organization_id") if organization_id is None else organization_id,
        result_files=given(payload, "result_files", ()),
        status=status,
        trained_tokens=whole(payload.get("trained_tokens")),
        training_file=required(payload, "training_file"),
        validation_file=_name_in(payload, "validation_file"),
        seed=whole(payload.get("seed")),
        integrations=given(payload, "integrations", ()),
        metadata=payload.get("metadata"),
        method=method,
        suffix=payload.get("suffix") if suffix is None else suffix,
        estimated_finish=seconds("estimated_finish", payload.get("estimated_finish")),
        usage_metrics=payload.get("usage_metrics"),
        shared_with_openai=payload.get("shared_with_openai"),
        eval_id=payload.get("eval_id"),
        wire_status=wire_status,
        extra=extra,
        **kept,
    )
    return validate_for_storage(job)


_READ: Final = frozenset((*WIRE_MEMBERS, "suffix"))


def _status_in(word: Any, statuses: Mapping[str, JobStatus | str]) -> tuple[JobStatus, str | None]:
    """Return the status that a word means, and the `wire_status` if it is another server's word."""
    given = {name: check_status(status, f"statuses.{name}") for name, status in check_object("statuses", statuses).items()}
    if not isinstance(word, str):
        raise InvalidValueError("status", word, "must be a string")
    status = given.get(word) or FOREIGN_STATUSES.get(word) or _own_status(word)
    return status, None if word == status else f"{status}:{word}"


def _own_status(word: str) -> JobStatus:
    if word in tuple(JobStatus):
        return JobStatus(word)
    known = ", ".join((*JobStatus, *FOREIGN_STATUSES))
    rule = f'must be one of {known}; say what another word means, as in job_from_wire(payload, statuses={{"training": "running"}})'
    raise InvalidValueError("status", word, rule)


def _name_in(payload: Mapping[str, Any], name: str) -> Any:
    """Return a member, None if it is null, absent or empty: some servers send an empty string for what they do not have."""
    value = payload.get(name)
    return None if isinstance(value, str) and not value else value


def _method_in(payload: Mapping[str, Any]) -> tuple[Method | None, Hyperparameters]:
    """Return the method and its hyperparameters. Those of its own block take precedence over those at the top."""
    top = check_json_object("hyperparameters", given(payload, "hyperparameters", {}))
    method = payload.get("method")
    if method is None:
        return None, hyperparameters_from_payload(top)
    rest = {name: member for name, member in check_json_object("method", method, MAX_JSON_DEPTH + 2).items() if member is not None}
    type = rest.pop("type", None) or next((name for name in METHOD_HYPERPARAMETERS if name in rest), "supervised")
    check_text("method.type", type)
    block = check_json_object(f"method.{type}", rest.pop(type, {}), MAX_JSON_DEPTH + 1)
    inner = check_json_object(f"method.{type}.hyperparameters", block.pop("hyperparameters", None) or {})
    nested = {name: member for name, member in inner.items() if member is not None}
    grader, response_format = block.pop("grader", None), block.pop("response_format", None)
    extra = {**rest, type: block} if block else rest
    read = Method(type=type, grader=grader, response_format=response_format, extra=extra)
    return read, hyperparameters_from_payload({**top, **nested})


def _latest(job: FineTuningJob) -> dict[str, Any]:
    mirrored = job.method is None or job.method.type == "supervised"
    return {
        "object": job.object,
        "id": job.id,
        "model": job.model,
        "created_at": job.created_at,
        "finished_at": _finished_at_out(job),
        "fine_tuned_model": job.fine_tuned_model,
        "organization_id": job.organization_id,
        "result_files": [*job.result_files],
        "status": _status_out(job),
        "validation_file": job.validation_file,
        "training_file": job.training_file,
        "hyperparameters": _hyperparameters_out(job.hyperparameters) if mirrored else None,
        "trained_tokens": job.trained_tokens,
        "error": _error_out(job),
        "user_provided_suffix": job.suffix,
        "seed": job.seed,
        "estimated_finish": job.estimated_finish,
        "integrations": deepcopy([*job.integrations]),
        "metadata": None if job.metadata is None else dict(job.metadata),
        "usage_metrics": deepcopy(job.usage_metrics),
        "shared_with_openai": job.shared_with_openai,
        "eval_id": job.eval_id,
        "method": None if job.method is None else _method_out(job.method, job.hyperparameters),
        **{name: deepcopy(value) for name, value in job.extra.items() if name not in KEPT_MEMBERS},
    }


def _first(job: FineTuningJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "object": job.object,
        "created_at": job.created_at,
        "finished_at": _finished_at_out(job),
        "error": _error_out(job),
        "fine_tuned_model": job.fine_tuned_model,
        "hyperparameters": {"n_epochs": _hyperparameters_out(job.hyperparameters).get("n_epochs", "auto")},
        "model": job.model,
        "organization_id": job.organization_id,
        "result_files": [*job.result_files],
        "status": _status_out(job),
        "trained_tokens": job.trained_tokens,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
    }


def _azure(job: FineTuningJob) -> dict[str, Any]:
    written = _latest(job)
    written["suffix"] = written.pop("user_provided_suffix")
    if written["status"] == job.status == JobStatus.QUEUED:
        written["status"] = "pending"
    hyperparameters = _hyperparameters_out(job.hyperparameters)
    written["hyperparameters"] = {name: -1 if value == "auto" else value for name, value in hyperparameters.items()}
    if job.method is not None:
        written["method"][job.method.type]["hyperparameters"] = dict(written["hyperparameters"])
    return written


_PROFILES: Mapping[str, Callable[[FineTuningJob], dict[str, Any]]] = MappingProxyType(
    {"latest": _latest, "2023-09": _first, "azure": _azure}
)


def _status_out(job: FineTuningJob) -> str:
    """Return the word of the server that the job was imported from, if its status is still the one that the word was read as."""
    status, _, word = (job.wire_status or "").partition(":")
    return word if status == job.status else str(job.status)


def _finished_at_out(job: FineTuningJob) -> Any:
    return job.finished_at if job.status in ENDED else job.extra.get("finished_at", job.finished_at)


def _error_out(job: FineTuningJob) -> Any:
    error, kept = job.error, job.extra.get("error")
    if error is None:
        return None
    if kept is not None and error == error_from_payload(kept):
        return deepcopy(kept)
    return {"code": error.code, "message": error.message, "param": error.param, **deepcopy(dict(error.extra))}


def _hyperparameters_out(hyperparameters: Hyperparameters) -> dict[str, Any]:
    values = {name: getattr(hyperparameters, name) for name in HYPERPARAMETERS}
    return {name: value for name, value in values.items() if value is not None} | deepcopy(dict(hyperparameters.extra))


def _method_out(method: Method, hyperparameters: Hyperparameters) -> dict[str, Any]:
    rest = deepcopy(dict(method.extra))
    block = {**rest.pop(method.type, {}), "hyperparameters": _hyperparameters_out(hyperparameters)}
    for name in ("grader", "response_format"):
        value = getattr(method, name)
        if value is not None:
            block[name] = deepcopy(value)
    return {"type": method.type, method.type: block, **rest}

"""The JSON shape of jobs, in and out.

Reading is lenient: it accepts every shape that the OpenAI API, its documentation and Azure have sent since 2023. Nothing is lost:
`job_from_wire(job_to_wire(job)) == job`, and unknown members come back through `extra`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, Final, Literal

from fine_tuning_store.domain.hyperparameters import hyperparameters_from_payload
from fine_tuning_store.domain.job import HYPERPARAMETERS, METHOD_HYPERPARAMETERS, FineTuningJob, Hyperparameters, JobError, Method
from fine_tuning_store.domain.job_validation import WIRE_MEMBERS, check_status, validate_for_storage
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.validation import MAX_JSON_DEPTH, check_json_object, check_text
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.wire.members import given, object_of, required, whole

Profile = Literal["latest", "2023-09", "azure"]

#: Statuses of other versions of the API and of other servers.
FOREIGN_STATUSES: Mapping[str, JobStatus] = MappingProxyType(
    {"created": JobStatus.VALIDATING_FILES, "pending": JobStatus.QUEUED, "pausing": JobStatus.RUNNING}
)


def job_to_wire(job: FineTuningJob, profile: Profile = "latest") -> dict[str, Any]:
    """Return the job as the API's JSON object, a new dict.

    Args:
        job: The job.
        profile: `latest` has the 23 members of 2025 and the job's unknown ones. `2023-09` has exactly the 14 members of the first version,
            with n_epochs as the only hyperparameter. `azure` says `pending` for queued, -1 for `"auto"`, and `suffix`.

    Raises:
        InvalidValueError: There is no such profile.
    """
    write = _PROFILES.get(profile) if isinstance(profile, str) else None
    if write is None:
        raise InvalidValueError("profile", profile, f"must be one of {', '.join(_PROFILES)}")
    return write(job)


def job_from_wire(payload: Mapping[str, Any], organization_id: str | None = None) -> FineTuningJob:
    """Return the job of a JSON object of the API.

    Args:
        payload: The JSON object.
        organization_id: If given, it replaces that of the payload.

    Raises:
        InvalidValueError: The payload is not a job, or has a value that cannot be stored. `field` names the member.
    """
    object_of(payload, "fine_tuning.job")
    method, hyperparameters = _method_in(payload)
    suffix = payload.get("user_provided_suffix")
    owner = payload.get("organization_id") if organization_id is None else organization_id
    job = FineTuningJob(
        id=required(payload, "id"),
        created_at=whole(required(payload, "created_at")),
        finished_at=whole(payload.get("finished_at")),
        error=_error_in(payload.get("error")),
        fine_tuned_model=payload.get("fine_tuned_model"),
        hyperparameters=hyperparameters,
        model=required(payload, "model"),
        organization_id=owner,
        result_files=given(payload, "result_files", ()),
        status=_status_in(required(payload, "status")),
        trained_tokens=whole(payload.get("trained_tokens")),
        training_file=required(payload, "training_file"),
        validation_file=payload.get("validation_file"),
        seed=whole(payload.get("seed")),
        integrations=given(payload, "integrations", ()),
        metadata=payload.get("metadata"),
        method=method,
        suffix=payload.get("suffix") if suffix is None else suffix,
        estimated_finish=whole(payload.get("estimated_finish")),
        usage_metrics=payload.get("usage_metrics"),
        shared_with_openai=payload.get("shared_with_openai"),
        eval_id=payload.get("eval_id"),
        extra={name: value for name, value in payload.items() if name not in _READ},
    )
    return validate_for_storage(job)


_READ: Final = frozenset((*WIRE_MEMBERS, "suffix"))


def _status_in(word: Any) -> JobStatus:
    foreign = FOREIGN_STATUSES.get(word) if isinstance(word, str) else None
    return foreign or check_status(word)


def _error_in(value: Any) -> JobError | None:
    """Return the error of a payload. Null, an empty object and an object of nulls all mean that there is none."""
    if value is None:
        return None
    members = {name: member for name, member in check_json_object("error", value).items() if member is not None}
    if not members:
        return None
    code, message, param = (members.pop(name, None) for name in ("code", "message", "param"))
    return JobError(code=code, message=message, param=param, extra=members)


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
        "finished_at": job.finished_at,
        "fine_tuned_model": job.fine_tuned_model,
        "organization_id": job.organization_id,
        "result_files": [*job.result_files],
        "status": str(job.status),
        "validation_file": job.validation_file,
        "training_file": job.training_file,
        "hyperparameters": _hyperparameters_out(job.hyperparameters) if mirrored else None,
        "trained_tokens": job.trained_tokens,
        "error": _error_out(job.error),
        "user_provided_suffix": job.suffix,
        "seed": job.seed,
        "estimated_finish": job.estimated_finish,
        "integrations": deepcopy([*job.integrations]),
        "metadata": None if job.metadata is None else dict(job.metadata),
        "usage_metrics": deepcopy(job.usage_metrics),
        "shared_with_openai": job.shared_with_openai,
        "eval_id": job.eval_id,
        "method": None if job.method is None else _method_out(job.method, job.hyperparameters),
        **deepcopy(dict(job.extra)),
    }


def _first(job: FineTuningJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "object": job.object,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "error": _error_out(job.error),
        "fine_tuned_model": job.fine_tuned_model,
        "hyperparameters": {"n_epochs": _hyperparameters_out(job.hyperparameters).get("n_epochs", "auto")},
        "model": job.model,
        "organization_id": job.organization_id,
        "result_files": [*job.result_files],
        "status": str(job.status),
        "trained_tokens": job.trained_tokens,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
    }


def _azure(job: FineTuningJob) -> dict[str, Any]:
    written = _latest(job)
    written["suffix"] = written.pop("user_provided_suffix")
    if job.status is JobStatus.QUEUED:
        written["status"] = "pending"
    hyperparameters = _hyperparameters_out(job.hyperparameters)
    written["hyperparameters"] = {name: -1 if value == "auto" else value for name, value in hyperparameters.items()}
    if job.method is not None:
        written["method"][job.method.type]["hyperparameters"] = dict(written["hyperparameters"])
    return written


_PROFILES: Mapping[str, Callable[[FineTuningJob], dict[str, Any]]] = MappingProxyType(
    {"latest": _latest, "2023-09": _first, "azure": _azure}
)


def _error_out(error: JobError | None) -> dict[str, Any] | None:
    if error is None:
        return None
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

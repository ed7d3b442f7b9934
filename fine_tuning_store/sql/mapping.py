"""Between rows and domain objects: the only module that sees both."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, make_dataclass
from hashlib import sha256
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, String, cast, select

from fine_tuning_store.domain.hyperparameters import STORABLE_RANGES
from fine_tuning_store.domain.job import FineTuningJob, Hyperparameters, JobError, Method
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.sql.tables import errors, hyperparameters, jobs, metadata, result_files
from fine_tuning_store.sql.types import as_text, json_map

T = TypeVar("T")


def builder(kind: type[T]) -> Callable[..., T]:
    """A constructor for stored values: takes every field by position and checks nothing.

    A frozen dataclass sets its fields one guarded call at a time; a mutable twin with the same slots takes them at once and then
    becomes the real class. Ten times as fast, and rows need no checks (measured; see docs/decisions).
    """
    twin: Any = None

    def build(*values: Any) -> T:
        nonlocal twin
        if twin is None:  # made on first use, which keeps the import of this package cheap
            twin = make_dataclass(kind.__name__, [field.name for field in fields(kind)], slots=True)  # type: ignore[arg-type]
        draft: Any = twin(*values)
        draft.__class__ = kind
        return draft  # type: ignore[no-any-return]

    return build


_job = builder(FineTuningJob)
_hyperparameters = builder(Hyperparameters)
_error = builder(JobError)
_method = builder(Method)
_STATUSES = {status.value: status for status in JobStatus}


def job_columns() -> tuple[ColumnElement[Any], ...]:
    """What a read fetches for each job, in the order in which `job_from_row` takes it apart."""
    return (
        *(jobs.c.id, jobs.c.created_at, jobs.c.finished_at, jobs.c.fine_tuned_model, jobs.c.model, jobs.c.organization_id),
        *(jobs.c.status, jobs.c.trained_tokens, jobs.c.training_file, jobs.c.validation_file, jobs.c.seed),
        *(jobs.c.suffix, jobs.c.estimated_finish, jobs.c.shared_with_openai, jobs.c.eval_id),
        *(as_text(jobs.c.integrations), as_text(jobs.c.usage_metrics), as_text(jobs.c.extra)),
        *(jobs.c.method_type, as_text(jobs.c.method_grader), as_text(jobs.c.method_response_format), as_text(jobs.c.method_extra)),
        *(errors.c.job_id, errors.c.code, errors.c.message, errors.c.param, as_text(errors.c.extra)),
        *(hyperparameters.c[name] for name in (*STORABLE_RANGES, "reasoning_effort")),
        as_text(hyperparameters.c.extra),
        select(json_map(cast(result_files.c.position, String), result_files.c.file_id))
        .where(result_files.c.job_id == jobs.c.id)
        .scalar_subquery(),
        select(json_map(metadata.c.key, metadata.c.value)).where(metadata.c.job_id == jobs.c.id).scalar_subquery(),
    )


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def object_from(text: str | None) -> dict[str, Any]:
    """A JSON object from its column, empty where there is none."""
    return {} if text is None else json.loads(text)


#: Decodes what an aggregate made, with no white space before it, in a third of the time of `json.loads`.
_decode = json.JSONDecoder().raw_decode


def _files(text: str | None) -> tuple[str, ...]:
    if text is None or text == "{}":
        return ()
    by_position: dict[str, str] = _decode(text)[0]
    try:
        return tuple([by_position[str(position)] for position in range(len(by_position))])
    except KeyError:  # somebody else's hand left a gap
        return tuple(by_position[position] for position in sorted(by_position, key=int))


def job_from_row(row: Sequence[Any]) -> FineTuningJob:
    """A job from a row of `job_columns`."""
    # fmt: off
    (
        id, created_at, finished_at, fine_tuned_model, model, organization_id,
        status, trained_tokens, training_file, validation_file, seed,
        suffix, estimated_finish, shared_with_openai, eval_id,
        integrations, usage_metrics, extra,
        method_type, grader, response_format, method_extra,
        error_of, code, message, param, error_extra,
        n_epochs, batch_size, learning_rate_multiplier, beta, compute_multiplier, eval_interval, eval_samples, reasoning_effort,
        hyperparameters_extra, files, pairs,
    ) = row
    return _job(
        id, created_at, finished_at,
        None if error_of is None else _error(code, message, param, object_from(error_extra)),
        fine_tuned_model,
        _hyperparameters(
            "auto" if n_epochs == -1 else n_epochs,
            "auto" if batch_size == -1 else batch_size,
            "auto" if learning_rate_multiplier == -1 else learning_rate_multiplier,
            "auto" if beta == -1 else beta,
            "auto" if compute_multiplier == -1 else compute_multiplier,
            "auto" if eval_interval == -1 else eval_interval,
            "auto" if eval_samples == -1 else eval_samples,
            reasoning_effort, object_from(hyperparameters_extra),
        ),
        model, organization_id, _files(files), _STATUSES[status], trained_tokens, training_file, validation_file, seed,
        () if integrations is None else tuple(json.loads(integrations)),
        None if pairs is None or pairs == "{}" else _decode(pairs)[0],
        None if method_type is None else _method(method_type, _loaded(grader), _loaded(response_format), object_from(method_extra)),
        suffix, estimated_finish, _loaded(usage_metrics), shared_with_openai, eval_id, object_from(extra),
    )
    # fmt: on


@dataclass(frozen=True, slots=True)
class JobRows:
    """The rows of one job, a table a field."""

    job: dict[str, Any]
    hyperparameters: dict[str, Any]
    error: dict[str, Any] | None
    result_files: list[dict[str, Any]]
    metadata: list[dict[str, Any]]


def rows_of_job(job: FineTuningJob) -> JobRows:
    """The rows that keep a job whose members were checked."""
    method = job.method
    return JobRows(
        job={
            "id": job.id,
            "organization_id": job.organization_id,
            "created_at": job.created_at,
            "status": job.status.value,
            "finished_at": job.finished_at,
            "model": job.model,
            "fine_tuned_model": job.fine_tuned_model,
            "training_file": job.training_file,
            "validation_file": job.validation_file,
            "trained_tokens": job.trained_tokens,
            "seed": job.seed,
            "suffix": job.suffix,
            "estimated_finish": job.estimated_finish,
            "shared_with_openai": job.shared_with_openai,
            "eval_id": job.eval_id,
            "method_type": method and method.type,
            "method_grader": method and method.grader,
            "method_response_format": method and method.response_format,
            "method_extra": (method and method.extra) or None,
            "integrations": job.integrations or None,
            "usage_metrics": job.usage_metrics,
            "extra": job.extra or None,
        },
        hyperparameters={"job_id": job.id, **hyperparameter_values(job.hyperparameters), "extra": job.hyperparameters.extra or None},
        error=None if job.error is None else error_row(job.id, job.error),
        result_files=result_file_rows(job.id, job.result_files),
        metadata=metadata_rows(job),
    )


def hyperparameter_values(given: Hyperparameters) -> dict[str, Any]:
    """The typed columns of hyperparameters, `"auto"` as -1."""
    values: dict[str, Any] = {name: getattr(given, name) for name in STORABLE_RANGES}
    values = {name: -1 if value == "auto" else value for name, value in values.items()}
    values["reasoning_effort"] = given.reasoning_effort
    return values


def error_row(job_id: str, error: JobError) -> dict[str, Any]:
    """The row of a job's error."""
    return {"job_id": job_id, "code": error.code, "message": error.message, "param": error.param, "extra": error.extra or None}


def result_file_rows(job_id: str, files: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a job's result files, numbered from 0."""
    return [{"job_id": job_id, "position": position, "file_id": file_id} for position, file_id in enumerate(files)]


def numbered_pairs(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The metadata rows of one job as the parameters of one statement: `key_0`, `value_0`, `key_1` ..."""
    pairs = {f"{name}_{number}": row[name] for number, row in enumerate(rows) for name in ("key", "value", "digest")}
    return {**rows[0], **pairs}


def pair_digest(key: str, value: str) -> int:
    """64 bits that stand for a metadata pair in an index. Two pairs may share them, so who looks one up compares the pair as well."""
    return int.from_bytes(sha256(f"{key}\0{value}".encode()).digest()[:8], "big", signed=True)


def metadata_rows(job: FineTuningJob) -> list[dict[str, Any]]:
    """The rows of a job's metadata."""
    return [
        {
            "job_id": job.id,
            "key": key,
            "value": value,
            "digest": pair_digest(key, value),
            "organization_id": job.organization_id,
            "created_at": job.created_at,
        }
        for key, value in (job.metadata or {}).items()
    ]

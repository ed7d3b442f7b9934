"""The mapping between a FineTuningJob and its rows.

Most members are stored in the column of `fine_tuning_jobs` with the name of the field; they need no mention here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import FromClause, Select, String, cast, select

from fine_tuning_store.domain.hyperparameters import STORABLE_RANGES
from fine_tuning_store.domain.job import HYPERPARAMETERS, FineTuningJob, Hyperparameters, JobError, Method
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.sql.functions import as_text, json_map
from fine_tuning_store.sql.models import job_errors, job_hyperparameters, job_metadata, job_result_files, jobs
from fine_tuning_store.sql.queries.values import constructor, json_object, json_or_empty, raising_corrupt_data
from fine_tuning_store.sql.types import Json

_hyperparameters = constructor(Hyperparameters)
_error = constructor(JobError)
_method = constructor(Method)
_STATUSES = {status.value: status for status in JobStatus}

#: The members that are mapped one by one.
_MAPPED = ("error", "hyperparameters", "method", "result_files", "metadata", "status", "integrations", "extra")
#: The members that are stored as they are, in a column with the same name; of these, the JSON values.
_COLUMNS = tuple(field.name for field in fields(FineTuningJob) if field.name not in _MAPPED)
assert set(_COLUMNS) <= set(jobs.columns.keys()), "a field of FineTuningJob has no column in sql/models.py and is not in _MAPPED"
_JSON_COLUMNS = tuple(place for place, name in enumerate(_COLUMNS) if isinstance(jobs.c[name].type, Json))
_job = constructor(FineTuningJob, (*_MAPPED, *_COLUMNS))


def select_jobs(jobs: FromClause) -> Select[Any]:
    """Return what a read selects from the jobs, or from rows of them, in the order in which `job_from_row` takes it apart."""
    return select(
        *(job_errors.c.job_id, job_errors.c.code, job_errors.c.message, job_errors.c.param, as_text(job_errors.c.extra)),
        *(jobs.c.method_type, as_text(jobs.c.method_grader), as_text(jobs.c.method_response_format), as_text(jobs.c.method_extra)),
        select(json_map(cast(job_result_files.c.position, String), job_result_files.c.file_id))
        .where(job_result_files.c.job_id == jobs.c.id)
        .scalar_subquery(),
        select(json_map(job_metadata.c.key, job_metadata.c.value)).where(job_metadata.c.job_id == jobs.c.id).scalar_subquery(),
        *(jobs.c.status, as_text(jobs.c.integrations), as_text(jobs.c.extra), as_text(job_hyperparameters.c.extra)),
        *(job_hyperparameters.c[name] for name in HYPERPARAMETERS),
        *(as_text(jobs.c[name]) if isinstance(jobs.c[name].type, Json) else jobs.c[name] for name in _COLUMNS),
    ).select_from(
        jobs.outerjoin(job_errors, job_errors.c.job_id == jobs.c.id).outerjoin(
            job_hyperparameters, job_hyperparameters.c.job_id == jobs.c.id
        )
    )


#: Decodes the text of an aggregate, which begins with no white space, in a quarter of the time of `json.loads`.
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # missing in the stubs


@lru_cache(maxsize=64)
def _positions(number: int) -> tuple[str, ...]:
    """Return the keys of the aggregate of so many result files."""
    return tuple(map(str, range(number)))


_HYPERPARAMETER_COUNT = len(HYPERPARAMETERS)
#: `get` with the value itself as the default replaces -1 and keeps all others.
_AUTO = {-1: "auto"}


@raising_corrupt_data(jobs, _COLUMNS.index("id") - len(_COLUMNS))
def job_from_row(row: Sequence[Any]) -> FineTuningJob:
    """Return the job of a row of `select_jobs`. What most rows need is written in line: a call takes as long as the rest of a member."""
    # fmt: off
    (
        error_id, code, message, param, error_extra,
        method_type, grader, response_format, method_extra,
        files, pairs, status, integrations, extra, hyperparameters_extra, *columns,
    ) = row
    # fmt: on
    hyperparameters = columns[:_HYPERPARAMETER_COUNT]
    values = columns[_HYPERPARAMETER_COUNT:]
    for place in _JSON_COLUMNS:
        if values[place] is not None:
            values[place] = json.loads(values[place])
    return _job(
        None if error_id is None else _error(code, message, param, json_or_empty(error_extra)),
        _hyperparameters(
            *map(_AUTO.get, hyperparameters, hyperparameters), {} if hyperparameters_extra is None else json_object(hyperparameters_extra)
        ),
        None
        if method_type is None
        else _method(
            method_type,
            None if grader is None else json.loads(grader),
            None if response_format is None else json.loads(response_format),
            {} if method_extra is None else json_object(method_extra),
        ),
        _files(files),
        None if pairs is None or pairs == "{}" else _scan(pairs, 0)[0],
        _STATUSES[status],
        () if integrations is None else _integrations(integrations),
        {} if extra is None else json_object(extra),
        *values,
    )


def _integrations(text: str) -> tuple[dict[str, Any], ...]:
    integrations = json.loads(text)
    if not all(isinstance(integration, dict) for integration in integrations):
        raise TypeError
    return tuple(integrations)


def _files(text: str | None) -> tuple[str, ...]:
    if text is None or text == "{}":
        return ()
    by_position: dict[str, str] = _scan(text, 0)[0]
    try:
        return tuple([by_position[position] for position in _positions(len(by_position))])
    except KeyError:  # a gap, which only other programs leave
        return tuple([by_position[position] for position in sorted(by_position, key=int)])


@dataclass(frozen=True, slots=True)
class JobRows:
    """The rows of one job."""

    job: dict[str, Any]
    hyperparameters: dict[str, Any]
    error: dict[str, Any] | None
    result_files: list[dict[str, Any]]
    metadata: list[dict[str, Any]]


#: The columns that are NULL in some new jobs, because the request left them out. All others are NULL in each new job, or in none. `extra`,
#: always NULL, is among them because SQLAlchemy would take the parameter of the hyperparameters' `extra` for it.
OPTIONAL: Final = frozenset(("validation_file", "suffix", "integrations", "eval_id", "method_grader", "method_response_format", "extra"))
#: Stands before the status in `logged_status` of a job that was imported, until the first transition here.
IMPORTED: Final = "imported:"


def rows_of_job(job: FineTuningJob, *, is_imported: bool) -> JobRows:
    """Return the rows of a validated job.

    Args:
        job: The job.
        is_imported: True if it comes from elsewhere, so that a newer version of it may replace it.
    """
    row = {name: getattr(job, name) for name in _COLUMNS}
    method = job.method
    row |= {
        "status": job.status.value,
        "logged_status": f"{IMPORTED}{job.status}" if is_imported else job.status.value,
        "integrations": job.integrations or None,
        "extra": job.extra or None,
        "method_type": method and method.type,
        "method_grader": method and method.grader,
        "method_response_format": method and method.response_format,
        "method_extra": (method and method.extra) or None,
    }
    return JobRows(
        job=row,
        hyperparameters={"job_id": job.id, **hyperparameter_values(job.hyperparameters), "extra": job.hyperparameters.extra or None},
        error=None if job.error is None else error_row(job.id, job.error),
        result_files=result_file_rows(job.id, job.result_files),
        metadata=metadata_rows(job),
    )


def hyperparameter_values(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the typed columns of hyperparameters, with -1 for `"auto"`."""
    values: dict[str, Any] = {name: getattr(hyperparameters, name) for name in HYPERPARAMETERS}
    return {name: -1 if value == "auto" and name in STORABLE_RANGES else value for name, value in values.items()}


def error_row(job_id: str, error: JobError) -> dict[str, Any]:
    """Return the row of a job's error."""
    return {"job_id": job_id, "code": error.code, "message": error.message, "param": error.param, "extra": error.extra or None}


def result_file_rows(job_id: str, files: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of a job's result files, numbered from 0."""
    return [{"job_id": job_id, "position": position, "file_id": file_id} for position, file_id in enumerate(files)]


def metadata_rows(job: FineTuningJob) -> list[dict[str, Any]]:
    """Return the rows of a job's metadata."""
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


def numbered_pairs(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the metadata rows of one job as the parameters of one statement: `key_0`, `value_0`, `digest_0`, `key_1` ..."""
    pairs = {f"{name}_{number}": row[name] for number, row in enumerate(rows) for name in ("key", "value", "digest")}
    return {**rows[0], **pairs}


def pair_digest(key: str, value: str) -> int:
    """Return the 64 bits that stand for a metadata pair in an index. Two pairs may share them, so a query compares the pair as well."""
    return int.from_bytes(sha256(f"{key}\0{value}".encode()).digest()[:8], "big", signed=True)

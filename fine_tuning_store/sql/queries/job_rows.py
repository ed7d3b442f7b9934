"""The mapping between a FineTuningJob and its rows.

Most members are a column of `fine_tuning_jobs` with the name of the field; they need no mention here. The others are mapped one by one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, String, cast, select

from fine_tuning_store.domain.hyperparameters import STORABLE_RANGES
from fine_tuning_store.domain.job import HYPERPARAMETERS, FineTuningJob, Hyperparameters, JobError, Method
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.sql.functions import as_text, json_map
from fine_tuning_store.sql.models import job_errors, job_hyperparameters, job_metadata, job_result_files, jobs
from fine_tuning_store.sql.queries.values import constructor, json_or_empty, json_or_none
from fine_tuning_store.sql.types import Json

_job = constructor(FineTuningJob)
_hyperparameters = constructor(Hyperparameters)
_error = constructor(JobError)
_method = constructor(Method)
_STATUSES = {status.value: status for status in JobStatus}

_FIELDS = [field.name for field in fields(FineTuningJob)]
#: The members that are columns of `fine_tuning_jobs` with the same name.
_COLUMNS = [name for name in _FIELDS if name in jobs.columns]
_JSON_COLUMNS = [name for name in _COLUMNS if isinstance(jobs.c[name].type, Json)]
#: The JSON columns that are NULL where the member is empty; in the others, NULL and an empty value are different.
_NULL_IF_EMPTY = ("integrations", "extra")
#: The place of a member in the row: that of its field, so that a job is made of the beginning of the row.
_PLACE = {name: place for place, name in enumerate(_FIELDS)}

#: What is selected in the place of a member that is not a column.
_OTHER_MEMBERS: dict[str, ColumnElement[Any]] = {
    "error": job_errors.c.job_id,
    "hyperparameters": as_text(job_hyperparameters.c.extra),
    "result_files": select(json_map(cast(job_result_files.c.position, String), job_result_files.c.file_id))
    .where(job_result_files.c.job_id == jobs.c.id)
    .scalar_subquery(),
    "metadata": select(json_map(job_metadata.c.key, job_metadata.c.value)).where(job_metadata.c.job_id == jobs.c.id).scalar_subquery(),
    "method": jobs.c.method_type,
}
#: What a read selects for each job: a column for each field, then the other columns of the method, the error and the hyperparameters.
JOB_COLUMNS: tuple[ColumnElement[Any], ...] = (
    *(
        _OTHER_MEMBERS[name] if name in _OTHER_MEMBERS else as_text(jobs.c[name]) if name in _JSON_COLUMNS else jobs.c[name]
        for name in _FIELDS
    ),
    *(as_text(jobs.c.method_grader), as_text(jobs.c.method_response_format), as_text(jobs.c.method_extra)),
    *(job_errors.c.code, job_errors.c.message, job_errors.c.param, as_text(job_errors.c.extra)),
    *(job_hyperparameters.c[name] for name in HYPERPARAMETERS),
)

_METHOD = len(_FIELDS)
_ERROR = _METHOD + 3
_HYPERPARAMETERS = _ERROR + 4
_ID, _STATUS, _EXTRA, _INTEGRATIONS, _METHOD_TYPE = (_PLACE[name] for name in ("id", "status", "extra", "integrations", "method"))
_ERROR_ID, _HYPERPARAMETERS_EXTRA, _FILES, _PAIRS = (_PLACE[name] for name in ("error", "hyperparameters", "result_files", "metadata"))
_OTHER_JSON = tuple(_PLACE[name] for name in _JSON_COLUMNS if name not in _NULL_IF_EMPTY)

#: Decodes the text of an aggregate, which begins with no white space, in a third of the time of `json.loads`.
_decode = json.JSONDecoder().raw_decode


def job_from_row(row: Sequence[Any]) -> FineTuningJob:
    """Return the job of a row of JOB_COLUMNS."""
    values = list(row)
    members = values[:_METHOD]
    members[_STATUS] = _STATUSES[members[_STATUS]]
    members[_EXTRA] = json_or_empty(members[_EXTRA])
    members[_INTEGRATIONS] = () if members[_INTEGRATIONS] is None else tuple(json.loads(members[_INTEGRATIONS]))
    for place in _OTHER_JSON:
        if members[place] is not None:
            members[place] = json.loads(members[place])
    members[_FILES] = _files(members[_FILES])
    pairs = members[_PAIRS]
    members[_PAIRS] = None if pairs is None or pairs == "{}" else _decode(pairs)[0]
    if members[_METHOD_TYPE] is not None:
        grader, response_format, extra = values[_METHOD:_ERROR]
        members[_METHOD_TYPE] = _method(members[_METHOD_TYPE], json_or_none(grader), json_or_none(response_format), json_or_empty(extra))
    if members[_ERROR_ID] is not None:
        code, message, param, extra = values[_ERROR:_HYPERPARAMETERS]
        members[_ERROR_ID] = _error(code, message, param, json_or_empty(extra))
    members[_HYPERPARAMETERS_EXTRA] = _hyperparameters(
        *["auto" if value == -1 else value for value in values[_HYPERPARAMETERS:]], json_or_empty(members[_HYPERPARAMETERS_EXTRA])
    )
    return _job(*members)


def _files(text: str | None) -> tuple[str, ...]:
    if text is None or text == "{}":
        return ()
    by_position: dict[str, str] = _decode(text)[0]
    try:
        return tuple([by_position[str(position)] for position in range(len(by_position))])
    except KeyError:  # a gap, which only other programs leave
        return tuple(by_position[position] for position in sorted(by_position, key=int))


@dataclass(frozen=True, slots=True)
class JobRows:
    """The rows of one job."""

    job: dict[str, Any]
    hyperparameters: dict[str, Any]
    error: dict[str, Any] | None
    result_files: list[dict[str, Any]]
    metadata: list[dict[str, Any]]


def rows_of_job(job: FineTuningJob) -> JobRows:
    """Return the rows of a validated job."""
    row = {name: getattr(job, name) for name in _COLUMNS}
    for name in _NULL_IF_EMPTY:
        row[name] = row[name] or None
    method = job.method
    row |= {
        "status": job.status.value,
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

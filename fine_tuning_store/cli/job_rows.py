"""Jobs as rows: the columns of tables and CSV, and the JSON of jobs with the members that only the store has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from fine_tuning_store.cli.tables import Column
from fine_tuning_store.cli.times import shown_age, shown_duration, shown_time
from fine_tuning_store.domain.job import STORE_MEMBERS, FineTuningJob
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.job_table import COLUMNS, cells_of
from fine_tuning_store.wire.jobs import job_to_wire

STATUS_STYLES: Final = {
    JobStatus.QUEUED: "yellow",
    JobStatus.RUNNING: "cyan",
    JobStatus.PAUSED: "magenta",
    JobStatus.SUCCEEDED: "green",
    JobStatus.FAILED: "red",
}


def style_of(job: FineTuningJob) -> str:
    """Return the style of the status of a job."""
    return STATUS_STYLES.get(job.status, "")


def seconds_in(job: FineTuningJob, status: JobStatus, now: float) -> float | None:
    """Return how long a job has been queued, or has run, until now. None if it is not known."""
    past, since = (job.queued_seconds, job.queued_at) if status is JobStatus.QUEUED else (job.running_seconds, job.started_at)
    if job.status is not status or since is None:
        return past
    return (past or 0) + max(0, now - since)


def result_of(job: FineTuningJob) -> str | None:
    """Return the model that a job made, or why it failed."""
    if job.error is not None:
        return ": ".join(filter(None, (job.error.code, job.error.message)))
    return job.fine_tuned_model


def metadata_of(job: FineTuningJob) -> str:
    """Return the metadata of a job as text."""
    return " ".join(f"{key}={value}" for key, value in (job.metadata or {}).items())


def job_columns() -> Sequence[Column[FineTuningJob]]:
    """Return the columns of a table of jobs, as of now."""
    now = time.time()

    def spent(status: JobStatus) -> Any:
        return lambda job: shown_duration(seconds_in(job, status, now))

    return (
        Column(title="ID", value=lambda job: job.id, rank=0),
        Column(title="STATUS", value=lambda job: job.status, rank=0, style=style_of),
        Column(title="MODEL", value=lambda job: job.model, rank=1, may_shrink=True),
        Column(title="AGE", value=lambda job: shown_age(job.created_at, now), rank=2, is_number=True),
        Column(title="CREATED", value=lambda job: shown_time(job.created_at, "%Y-%m-%d %H:%M"), rank=6),
        Column(title="QUEUED", value=spent(JobStatus.QUEUED), rank=4, is_number=True),
        Column(title="RAN", value=spent(JobStatus.RUNNING), rank=3, is_number=True),
        Column(title="ATTEMPT", value=lambda job: job.attempt or None, rank=8, is_number=True),
        Column(title="ORGANIZATION", value=lambda job: job.organization_id, rank=5, may_shrink=True),
        Column(title="RESULT", value=result_of, rank=7, may_shrink=True),
        Column(title="METHOD", value=lambda job: job.method and job.method.type, rank=11),
        Column(title="SUFFIX", value=lambda job: job.suffix, rank=10, may_shrink=True),
        Column(title="METADATA", value=metadata_of, rank=9, may_shrink=True),
    )


def stuck_columns(now: float) -> Sequence[Column[FineTuningJob]]:
    """Return the columns of a table of running jobs without a live lease."""

    def lease(job: FineTuningJob) -> str:
        return "none" if job.lease_expires_at is None else f"expired {shown_age(job.lease_expires_at, now)} ago"

    return (
        Column(title="ID", value=lambda job: job.id, rank=0),
        Column(title="LEASE", value=lease, rank=0, style=lambda _: "yellow"),
        Column(title="RUNNING", value=lambda job: shown_age(job.started_at, now), rank=1, is_number=True),
        Column(title="WORKER", value=lambda job: job.worker_id, rank=2, may_shrink=True),
        Column(title="ATTEMPT", value=lambda job: job.attempt or None, rank=3, is_number=True),
        Column(title="ORGANIZATION", value=lambda job: job.organization_id, rank=4, may_shrink=True),
        Column(title="MODEL", value=lambda job: job.model, rank=5, may_shrink=True),
    )


def job_to_json(job: FineTuningJob) -> dict[str, Any]:
    """Return the JSON object of the API, with the members that only the store has under `store`."""
    return {**job_to_wire(job), "store": {name: getattr(job, name) for name in STORE_MEMBERS}}


CSV_COLUMNS: Final = (*COLUMNS, "worker_id")


def csv_row(job: FineTuningJob) -> list[Any]:
    """Return the values of CSV_COLUMNS."""
    return [*cells_of(job), job.worker_id]

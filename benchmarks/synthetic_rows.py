"""The rows of synthetic jobs: the columns of each table that they fill are the fields of a NamedTuple.

A new column that may be NULL or has a default needs no field. One that may not be NULL makes the INSERT fail until it has one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Table

from fine_tuning_store.sql import models


class JobValues(NamedTuple):
    id: str
    organization_id: str
    created_at: int
    status: str
    finished_at: int | None
    model: str
    fine_tuned_model: str | None
    training_file: str
    validation_file: str | None
    trained_tokens: int | None
    seed: int
    suffix: str | None
    shared_with_openai: bool
    method_type: str
    method_grader: str | None
    event_count: int
    transition_count: int
    logged_status: str | None
    attempt: int
    queued_at: int | None
    started_at: int | None
    updated_at: int | None
    queued_seconds: int | None
    running_seconds: int | None


class ErrorValues(NamedTuple):
    job_id: str
    code: str
    message: str
    param: str | None


class HyperparameterValues(NamedTuple):
    job_id: str
    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    beta: float | None
    compute_multiplier: float | None
    eval_interval: int | None
    eval_samples: int | None
    reasoning_effort: str | None


class ResultFileValues(NamedTuple):
    job_id: str
    position: int
    file_id: str


class MetadataValues(NamedTuple):
    job_id: str
    key: str
    value: str
    digest: int
    organization_id: str
    created_at: int


class EventValues(NamedTuple):
    job_id: str
    position: int
    id: str
    created_at: int
    level: str
    type: str
    message: str
    data: str | None


class TransitionValues(NamedTuple):
    job_id: str
    position: int
    id: str
    transition: str
    from_status: str
    to_status: str
    at: int
    actor: str | None
    reason: str | None
    attempt: int


class CheckpointValues(NamedTuple):
    job_id: str
    id: str
    step_number: int
    created_at: int
    model: str
    metrics: str


#: The rows of each table, jobs first.
KINDS: dict[Table, type[Any]] = {
    models.jobs: JobValues,
    models.job_errors: ErrorValues,
    models.job_hyperparameters: HyperparameterValues,
    models.job_result_files: ResultFileValues,
    models.job_metadata: MetadataValues,
    models.events: EventValues,
    models.job_transitions: TransitionValues,
    models.checkpoints: CheckpointValues,
}

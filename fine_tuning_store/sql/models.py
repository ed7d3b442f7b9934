"""The tables, as ORM classes. This is their only definition: the statements, Alembic and hosts use it.

The store itself writes and reads by Core statements on the tables. The classes and their relationships are for the queries of a host, so
the relationships are view-only and load nothing by themselves: `select(JobRow).options(selectinload(JobRow.result_files))`.

Every constraint and index has a name, by which a migration can find it.

The annotations are not postponed (`from __future__ import annotations`): SQLAlchemy would evaluate the text of each, which makes this
module, the slowest of the package to import, a third slower.
"""

from functools import partial
from typing import Final, Optional, cast

from sqlalchemy import CheckConstraint, Table, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fine_tuning_store.domain.hyperparameters import STORABLE_RANGES
from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.validation import MAX_METADATA_KEY_LENGTH, MAX_METADATA_VALUE_LENGTH
from fine_tuning_store.sql.base import Base, index
from fine_tuning_store.sql.store_models import CompatibilityRow, IdempotencyKeyRow
from fine_tuning_store.sql.types import Id, Integer, JobId, JsonValue, LongText, Name, Number, OrganizationId, Word, identifier

#: The table in which Alembic keeps the store's revision.
VERSION_TABLE: Final = "fine_tuning_store_version"
#: What a host loads by name, as in `selectinload(JobRow.result_files)`.
_related = partial(relationship, viewonly=True, lazy="raise")


class JobRow(Base):
    """A job. Its error, hyperparameters, result files and metadata are in tables of their own."""

    __tablename__ = "fine_tuning_jobs"
    __table_args__ = (
        CheckConstraint(f"status IN {tuple(map(str, JobStatus))}", name="status"),
        CheckConstraint(f"finished_at IS NULL OR status IN {tuple(map(str, ENDED))}", name="finished_at"),
        # Each of these returns a page, the last one the jobs to claim, in its order without a sort: the filtered columns, a time, the id.
        index("ix_fine_tuning_jobs_created_at", "created_at", "id"),
        index("ix_fine_tuning_jobs_status", "status", "created_at", "id"),
        index("ix_fine_tuning_jobs_model", "model", "created_at", "id"),
        index("ix_fine_tuning_jobs_method_type", "method_type", "created_at", "id"),
        index("ix_fine_tuning_jobs_fine_tuned_model", "fine_tuned_model", "created_at", "id"),
        index("ix_fine_tuning_jobs_training_file", "training_file", "created_at", "id"),
        index("ix_fine_tuning_jobs_status_finished_at", "status", "finished_at", "id"),
        index("ix_fine_tuning_jobs_organization_finished_at", "organization_id", "finished_at", "id"),
        index("ix_fine_tuning_jobs_organization", "organization_id", "created_at", "id"),
        index("ix_fine_tuning_jobs_organization_status", "organization_id", "status", "created_at", "id"),
        index("ix_fine_tuning_jobs_organization_model", "organization_id", "model", "created_at", "id"),
        index("ix_fine_tuning_jobs_organization_method_type", "organization_id", "method_type", "created_at", "id"),
        index("ix_fine_tuning_jobs_queued", "status", "available_at", "id"),
        {"comment": "Fine-tuning jobs. Times are Unix seconds; the view fine_tuning_job_overview shows timestamps."},
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    organization_id: Mapped[OrganizationId]
    created_at: Mapped[Integer] = mapped_column(comment="Unix seconds")
    status: Mapped[str] = mapped_column(identifier(32))
    finished_at: Mapped[Integer | None] = mapped_column(comment="Unix seconds; NULL while the job is open, and on some imported jobs")
    model: Mapped[Name] = mapped_column(comment="base model")
    fine_tuned_model: Mapped[Name | None] = mapped_column(comment="resulting model")
    training_file: Mapped[Name] = mapped_column(comment="file id")
    validation_file: Mapped[Name | None] = mapped_column(comment="file id")
    trained_tokens: Mapped[Integer | None] = mapped_column(comment="number of tokens trained")
    seed: Mapped[Integer | None]
    suffix: Mapped[Name | None] = mapped_column(comment="user_provided_suffix of the API")
    estimated_finish: Mapped[Integer | None] = mapped_column(comment="Unix seconds")
    shared_with_openai: Mapped[bool | None]
    eval_id: Mapped[Id | None]
    method_type: Mapped[Word | None] = mapped_column(comment="supervised, dpo or reinforcement; NULL on jobs from before methods existed")
    method_grader: Mapped[JsonValue | None]
    method_response_format: Mapped[JsonValue | None]
    method_extra: Mapped[JsonValue | None]
    integrations: Mapped[JsonValue | None]
    usage_metrics: Mapped[JsonValue | None]
    extra: Mapped[JsonValue | None] = mapped_column(comment="members of the API without a column")
    event_count: Mapped[Integer] = mapped_column(server_default=text("0"), comment="number of events, and position of the newest")
    transition_count: Mapped[Integer] = mapped_column(
        server_default=text("0"), comment="number of logged transitions, and position of the newest"
    )
    logged_status: Mapped[str | None] = mapped_column(identifier(32), comment="status as last written by code that logs transitions")
    attempt: Mapped[Integer] = mapped_column(server_default=text("0"), comment="number of starts")
    queued_at: Mapped[Integer | None] = mapped_column(comment="Unix seconds of the last enqueue, resume or requeue")
    started_at: Mapped[Integer | None] = mapped_column(comment="Unix seconds of the last start")
    updated_at: Mapped[Integer | None] = mapped_column(comment="Unix seconds of the last transition or update")
    queued_seconds: Mapped[Integer | None] = mapped_column(comment="total over all attempts; NULL if a part is unknown")
    running_seconds: Mapped[Integer | None] = mapped_column(comment="total over all attempts, without pauses; NULL if a part is unknown")
    wire_status: Mapped[str | None] = mapped_column(
        identifier(128), comment="status, colon, word of the server that an imported job came from; NULL after a transition"
    )
    worker_id: Mapped[Id | None] = mapped_column(comment="worker that has a lease on the job")
    lease_expires_at: Mapped[Integer | None] = mapped_column(comment="Unix seconds of the database's clock")
    lost_leases: Mapped[Integer] = mapped_column(server_default=text("0"), comment="number of leases that expired")
    available_at: Mapped[Integer] = mapped_column(
        server_default=text("0"), comment="Unix seconds from which a queued job may be claimed; least first"
    )

    error: Mapped[Optional["JobErrorRow"]] = _related(back_populates="job")
    hyperparameters: Mapped["JobHyperparametersRow"] = _related(back_populates="job")
    result_files: Mapped[list["JobResultFileRow"]] = _related(back_populates="job", order_by="JobResultFileRow.position")
    metadata_pairs: Mapped[list["JobMetadataRow"]] = _related(back_populates="job")
    events: Mapped[list["EventRow"]] = _related(back_populates="job", order_by="EventRow.position")
    checkpoints: Mapped[list["CheckpointRow"]] = _related(back_populates="job", order_by="CheckpointRow.step_number")
    checkpoint_permissions: Mapped[list["CheckpointPermissionRow"]] = _related(back_populates="job")
    transitions: Mapped[list["JobTransitionRow"]] = _related(back_populates="job", order_by="JobTransitionRow.position")


class JobErrorRow(Base):
    """The error of a failed job: at most one row a job."""

    __tablename__ = "fine_tuning_job_errors"
    __table_args__ = {"comment": "Errors of failed jobs: at most one row a job."}

    job_id: Mapped[JobId] = mapped_column(primary_key=True)
    code: Mapped[LongText | None]
    message: Mapped[LongText | None]
    param: Mapped[LongText | None]
    extra: Mapped[JsonValue | None]

    job: Mapped[JobRow] = _related(back_populates="error")


class JobHyperparametersRow(Base):
    """The hyperparameters of a job: one row a job. -1 is `"auto"`, NULL is absent."""

    __tablename__ = "fine_tuning_job_hyperparameters"
    __table_args__ = (
        *(CheckConstraint(f"{name} = -1 OR {name} > 0", name=name) for name in STORABLE_RANGES),
        {"comment": "Hyperparameters of jobs: one row a job. -1 is auto, NULL is absent."},
    )

    job_id: Mapped[JobId] = mapped_column(primary_key=True)
    n_epochs: Mapped[Integer | None]
    batch_size: Mapped[Integer | None]
    learning_rate_multiplier: Mapped[Number | None]
    beta: Mapped[Number | None]
    compute_multiplier: Mapped[Number | None]
    eval_interval: Mapped[Integer | None]
    eval_samples: Mapped[Integer | None]
    reasoning_effort: Mapped[Word | None]
    extra: Mapped[JsonValue | None]

    job: Mapped[JobRow] = _related(back_populates="hyperparameters")


class JobResultFileRow(Base):
    """A result file of a job. `position` counts from 0."""

    __tablename__ = "fine_tuning_job_result_files"
    __table_args__ = {"comment": "Result files of jobs, in the order of their positions."}

    job_id: Mapped[JobId] = mapped_column(primary_key=True)
    position: Mapped[Integer] = mapped_column(primary_key=True, autoincrement=False, comment="counts from 0")
    file_id: Mapped[Name]

    job: Mapped[JobRow] = _related(back_populates="result_files")


class JobMetadataRow(Base):
    """A metadata pair of a job.

    It repeats the job's organization and creation time, which never change, so that one index returns the jobs of a pair newest first.
    In the index a 64-bit digest stands for the pair, which can be too long for one.
    """

    __tablename__ = "fine_tuning_job_metadata"
    __table_args__ = (
        index("ix_fine_tuning_job_metadata_pair", "digest", "created_at", "job_id"),
        index("ix_fine_tuning_job_metadata_organization_pair", "organization_id", "digest", "created_at", "job_id"),
        {"comment": "Metadata pairs of jobs. Organization and creation time are those of the job."},
    )

    job_id: Mapped[JobId] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(identifier(MAX_METADATA_KEY_LENGTH), primary_key=True)
    value: Mapped[str] = mapped_column(identifier(MAX_METADATA_VALUE_LENGTH))
    digest: Mapped[Integer] = mapped_column(comment="64 bits that stand for the pair in indexes")
    organization_id: Mapped[OrganizationId]
    created_at: Mapped[Integer]

    job: Mapped[JobRow] = _related(back_populates="metadata_pairs")


class EventRow(Base):
    """An event of a job, at its position in the order of commits. `position` counts from 1."""

    __tablename__ = "fine_tuning_job_events"
    __table_args__ = (
        index("uq_fine_tuning_job_events_id", "job_id", "id", unique=True),
        {"comment": "Events of jobs, for the user of a job."},
    )

    job_id: Mapped[JobId] = mapped_column(primary_key=True)
    position: Mapped[Integer] = mapped_column(primary_key=True, autoincrement=False, comment="counts from 1 in the order of commits")
    id: Mapped[Id]
    created_at: Mapped[Integer] = mapped_column(comment="Unix seconds")
    level: Mapped[Word]
    type: Mapped[Word | None]
    message: Mapped[LongText]
    data: Mapped[JsonValue | None]
    extra: Mapped[JsonValue | None]

    job: Mapped[JobRow] = _related(back_populates="events")


class JobTransitionRow(Base):
    """A change of a job's status, as code of schema 4 and newer logs it. `position` counts from 1."""

    __tablename__ = "fine_tuning_job_transitions"
    __table_args__ = {"comment": "Log of status changes. The creation has no row."}

    job_id: Mapped[JobId] = mapped_column(primary_key=True)
    position: Mapped[Integer] = mapped_column(primary_key=True, autoincrement=False, comment="counts from 1")
    id: Mapped[Id]
    transition: Mapped[Word] = mapped_column(comment="name of the method: enqueue, start, ...")
    from_status: Mapped[str] = mapped_column(identifier(32))
    to_status: Mapped[str] = mapped_column(identifier(32))
    at: Mapped[Integer] = mapped_column(comment="Unix seconds")
    actor: Mapped[Id | None] = mapped_column(comment="who or what changed the status")
    reason: Mapped[LongText | None]
    attempt: Mapped[Integer] = mapped_column(comment="number of starts so far")

    job: Mapped[JobRow] = _related(back_populates="transitions")


class CheckpointRow(Base):
    """A checkpoint of a job. `model` is its `fine_tuned_model_checkpoint`."""

    __tablename__ = "fine_tuning_job_checkpoints"
    __table_args__ = (
        index("ix_fine_tuning_job_checkpoints_step", "job_id", "step_number", "id"),
        index("ix_fine_tuning_job_checkpoints_model", "model"),
        {"comment": "Checkpoints of jobs."},
    )

    job_id: Mapped[JobId] = mapped_column(primary_key=True)
    id: Mapped[Id] = mapped_column(primary_key=True)
    step_number: Mapped[Integer]
    created_at: Mapped[Integer] = mapped_column(comment="Unix seconds")
    model: Mapped[Name] = mapped_column(comment="fine_tuned_model_checkpoint of the API")
    metrics: Mapped[JsonValue | None]
    extra: Mapped[JsonValue | None]

    job: Mapped[JobRow] = _related(back_populates="checkpoints")


class CheckpointPermissionRow(Base):
    """The permission of a project to use a model. In the indexes a SHA-256 digest stands for the name of the model."""

    __tablename__ = "fine_tuning_checkpoint_permissions"
    __table_args__ = (
        index("uq_fine_tuning_checkpoint_permissions_project", "organization_id", "digest", "project_id", unique=True),
        index("ix_fine_tuning_checkpoint_permissions_model", "digest", "created_at", "id"),
        index("ix_fine_tuning_checkpoint_permissions_job", "job_id"),
        {"comment": "Projects that may use a model."},
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    job_id: Mapped[JobId]
    organization_id: Mapped[OrganizationId]
    created_at: Mapped[Integer] = mapped_column(comment="Unix seconds")
    project_id: Mapped[Id]
    model: Mapped[Name]
    digest: Mapped[str] = mapped_column(identifier(64), comment="SHA-256 of the model, for indexes")

    job: Mapped[JobRow] = _related(back_populates="checkpoint_permissions")


METADATA: Final = Base.metadata


def _table(row: type[Base]) -> Table:
    return cast("Table", row.__table__)


#: The tables of the classes above, for Core statements.
jobs = _table(JobRow)
job_errors = _table(JobErrorRow)
job_hyperparameters = _table(JobHyperparametersRow)
job_result_files = _table(JobResultFileRow)
job_metadata = _table(JobMetadataRow)
events = _table(EventRow)
job_transitions = _table(JobTransitionRow)
checkpoints = _table(CheckpointRow)
checkpoint_permissions = _table(CheckpointPermissionRow)
idempotency_keys = _table(IdempotencyKeyRow)
compatibility = _table(CompatibilityRow)
#: The tables whose rows belong to a job and are deleted with it.
JOB_CHILDREN: Final = tuple(table for table in METADATA.sorted_tables if table.foreign_keys)

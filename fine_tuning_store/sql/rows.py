"""The typed ORM classes of the tables, for a host's own queries and its Session's binds.

Nothing else needs them: our statements name the tables. So they are made on first use, which keeps the import of this package cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import DeclarativeBase, Mapped

from fine_tuning_store.sql import tables


class Base(DeclarativeBase):
    """The base of our classes."""

    metadata = tables.METADATA


class JobRow(Base):
    """One row a job."""

    __table__ = tables.jobs
    if TYPE_CHECKING:
        id: Mapped[str]
        organization_id: Mapped[str]
        created_at: Mapped[int]
        status: Mapped[str]
        finished_at: Mapped[int | None]
        model: Mapped[str]
        fine_tuned_model: Mapped[str | None]
        training_file: Mapped[str]
        validation_file: Mapped[str | None]
        trained_tokens: Mapped[int | None]
        seed: Mapped[int | None]
        suffix: Mapped[str | None]
        estimated_finish: Mapped[int | None]
        shared_with_openai: Mapped[bool | None]
        eval_id: Mapped[str | None]
        method_type: Mapped[str | None]
        method_grader: Mapped[Any | None]
        method_response_format: Mapped[Any | None]
        method_extra: Mapped[Any | None]
        integrations: Mapped[Any | None]
        usage_metrics: Mapped[Any | None]
        extra: Mapped[Any | None]
        event_count: Mapped[int]


class JobErrorRow(Base):
    """Why a job failed: at most one row a job."""

    __table__ = tables.errors
    if TYPE_CHECKING:
        job_id: Mapped[str]
        code: Mapped[str | None]
        message: Mapped[str | None]
        param: Mapped[str | None]
        extra: Mapped[Any | None]


class JobHyperparametersRow(Base):
    """The hyperparameters of a job, one row a job. -1 is `"auto"`, NULL is absent."""

    __table__ = tables.hyperparameters
    if TYPE_CHECKING:
        job_id: Mapped[str]
        n_epochs: Mapped[int | None]
        batch_size: Mapped[int | None]
        learning_rate_multiplier: Mapped[float | None]
        beta: Mapped[float | None]
        compute_multiplier: Mapped[float | None]
        eval_interval: Mapped[int | None]
        eval_samples: Mapped[int | None]
        reasoning_effort: Mapped[str | None]
        extra: Mapped[Any | None]


class JobResultFileRow(Base):
    """A result file of a job; `position` counts from 0."""

    __table__ = tables.result_files
    if TYPE_CHECKING:
        job_id: Mapped[str]
        position: Mapped[int]
        file_id: Mapped[str]


class JobMetadataRow(Base):
    """One pair of a job's metadata.

    It repeats the job's organization and time of creation, which never change, so that one index finds a pair's jobs newest first.
    In the index a digest stands for the pair, which can be too long for one.
    """

    __table__ = tables.metadata
    if TYPE_CHECKING:
        job_id: Mapped[str]
        key: Mapped[str]
        value: Mapped[str]
        digest: Mapped[int]
        organization_id: Mapped[str]
        created_at: Mapped[int]


class EventRow(Base):
    """One event of a job, at its position in the order of commits."""

    __table__ = tables.events
    if TYPE_CHECKING:
        job_id: Mapped[str]
        position: Mapped[int]
        id: Mapped[str]
        created_at: Mapped[int]
        level: Mapped[str]
        type: Mapped[str | None]
        message: Mapped[str]
        data: Mapped[Any | None]
        extra: Mapped[Any | None]


class CheckpointRow(Base):
    """One checkpoint of a job."""

    __table__ = tables.checkpoints
    if TYPE_CHECKING:
        job_id: Mapped[str]
        id: Mapped[str]
        step_number: Mapped[int]
        created_at: Mapped[int]
        model: Mapped[str]
        metrics: Mapped[Any | None]
        extra: Mapped[Any | None]


class CheckpointPermissionRow(Base):
    """One project's leave to use a model. In the indexes a SHA-256 digest stands for the model, whose name can be too long for one."""

    __table__ = tables.permissions
    if TYPE_CHECKING:
        id: Mapped[str]
        job_id: Mapped[str]
        organization_id: Mapped[str]
        created_at: Mapped[int]
        project_id: Mapped[str]
        model: Mapped[str]
        digest: Mapped[str]


class CompatibilityRow(Base):
    """One row: the schema's number and the oldest code number that may use it. Each migration updates it."""

    __table__ = tables.compatibility
    if TYPE_CHECKING:
        id: Mapped[int]
        schema_number: Mapped[int]
        oldest_code_number: Mapped[int]

"""The ORM tables. Constraints are derived from the domain, and every one has a name so that a migration can find it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Connection, ForeignKey, Index, MetaData, SmallInteger, Table, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fine_tuning_store.domain.hyperparameters import KEPT
from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.values import (
    ID_LENGTH,
    METADATA_KEY_LENGTH,
    METADATA_VALUE_LENGTH,
    NAME_LENGTH,
    ORGANIZATION_LENGTH,
    WORD_LENGTH,
)
from fine_tuning_store.sql.column_types import Identifier, Integer64, Json, LongText, Number

STATUS_LENGTH = 32


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


#: MariaDB limits an index to 3072 bytes, 4 a character; of long names it takes as much as leaves room for the job's id.
_INDEXED_LENGTH = dict.fromkeys(("model", "fine_tuned_model", "training_file"), 255)


def _listing(name: str, *columns: str, unique: bool = False) -> Index:
    """An index that answers a page in its order without a sort: what is filtered, then the time, then the job's id."""
    shortened = {column: _INDEXED_LENGTH[column] for column in columns if column in _INDEXED_LENGTH}
    return Index(name, *columns, unique=unique, info={"length": shortened})


class Base(DeclarativeBase):
    """The base of our tables. Their names and their constraints' names are fixed; so is their order of creation."""

    metadata = MetaData(
        naming_convention={
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class JobRow(Base):
    """One row a job."""

    __tablename__ = "fine_tuning_jobs"

    id: Mapped[str] = mapped_column(Identifier(ID_LENGTH), primary_key=True)
    organization_id: Mapped[str] = mapped_column(Identifier(ORGANIZATION_LENGTH))
    created_at: Mapped[int] = mapped_column(Integer64)
    status: Mapped[str] = mapped_column(Identifier(STATUS_LENGTH))
    finished_at: Mapped[int | None] = mapped_column(Integer64)
    model: Mapped[str] = mapped_column(Identifier(NAME_LENGTH))
    fine_tuned_model: Mapped[str | None] = mapped_column(Identifier(NAME_LENGTH))
    training_file: Mapped[str] = mapped_column(Identifier(NAME_LENGTH))
    validation_file: Mapped[str | None] = mapped_column(Identifier(NAME_LENGTH))
    trained_tokens: Mapped[int | None] = mapped_column(Integer64)
    seed: Mapped[int | None] = mapped_column(Integer64)
    suffix: Mapped[str | None] = mapped_column(Identifier(NAME_LENGTH))
    estimated_finish: Mapped[int | None] = mapped_column(Integer64)
    shared_with_openai: Mapped[bool | None]
    eval_id: Mapped[str | None] = mapped_column(Identifier(ID_LENGTH))
    method_type: Mapped[str | None] = mapped_column(Identifier(WORD_LENGTH))
    method_grader: Mapped[Any | None] = mapped_column(Json)
    method_response_format: Mapped[Any | None] = mapped_column(Json)
    method_extra: Mapped[Any | None] = mapped_column(Json)
    integrations: Mapped[Any | None] = mapped_column(Json)
    usage_metrics: Mapped[Any | None] = mapped_column(Json)
    extra: Mapped[Any | None] = mapped_column(Json)
    event_count: Mapped[int] = mapped_column(Integer64, server_default=text("0"))  # also the position of the newest event

    __table_args__ = (
        CheckConstraint(f"status IN ({_quoted(tuple(JobStatus))})", name="status"),
        CheckConstraint(f"finished_at IS NULL OR status IN ({_quoted(ENDED)})", name="finished_at"),
        _listing("ix_fine_tuning_jobs_created_at", "created_at", "id"),
        _listing("ix_fine_tuning_jobs_status", "status", "created_at", "id"),
        _listing("ix_fine_tuning_jobs_model", "model", "created_at", "id"),
        _listing("ix_fine_tuning_jobs_method_type", "method_type", "created_at", "id"),
        _listing("ix_fine_tuning_jobs_fine_tuned_model", "fine_tuned_model", "created_at", "id"),
        _listing("ix_fine_tuning_jobs_training_file", "training_file", "created_at", "id"),
        _listing("ix_fine_tuning_jobs_organization", "organization_id", "created_at", "id"),
        _listing("ix_fine_tuning_jobs_organization_status", "organization_id", "status", "created_at", "id"),
        _listing("ix_fine_tuning_jobs_organization_model", "organization_id", "model", "created_at", "id"),
        _listing("ix_fine_tuning_jobs_organization_method_type", "organization_id", "method_type", "created_at", "id"),
    )


class JobErrorRow(Base):
    """Why a job failed: at most one row a job."""

    __tablename__ = "fine_tuning_job_errors"

    job_id: Mapped[str] = mapped_column(Identifier(ID_LENGTH), ForeignKey(JobRow.id, ondelete="CASCADE"), primary_key=True)
    code: Mapped[str | None] = mapped_column(LongText)
    message: Mapped[str | None] = mapped_column(LongText)
    param: Mapped[str | None] = mapped_column(LongText)
    extra: Mapped[Any | None] = mapped_column(Json)


class JobHyperparametersRow(Base):
    """The hyperparameters of a job, one row a job. -1 is `"auto"`, NULL is absent."""

    __tablename__ = "fine_tuning_job_hyperparameters"

    job_id: Mapped[str] = mapped_column(Identifier(ID_LENGTH), ForeignKey(JobRow.id, ondelete="CASCADE"), primary_key=True)
    n_epochs: Mapped[int | None] = mapped_column(Integer64)
    batch_size: Mapped[int | None] = mapped_column(Integer64)
    learning_rate_multiplier: Mapped[float | None] = mapped_column(Number)
    beta: Mapped[float | None] = mapped_column(Number)
    compute_multiplier: Mapped[float | None] = mapped_column(Number)
    eval_interval: Mapped[int | None] = mapped_column(Integer64)
    eval_samples: Mapped[int | None] = mapped_column(Integer64)
    reasoning_effort: Mapped[str | None] = mapped_column(Identifier(WORD_LENGTH))
    extra: Mapped[Any | None] = mapped_column(Json)

    __table_args__ = (*(CheckConstraint(f"{name} = -1 OR {name} > 0", name=name) for name in KEPT),)


class JobResultFileRow(Base):
    """A result file of a job; `position` counts from 0."""

    __tablename__ = "fine_tuning_job_result_files"

    job_id: Mapped[str] = mapped_column(Identifier(ID_LENGTH), ForeignKey(JobRow.id, ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer64, primary_key=True, autoincrement=False)
    file_id: Mapped[str] = mapped_column(Identifier(NAME_LENGTH))


class JobMetadataRow(Base):
    """One pair of a job's metadata.

    It repeats the job's organization and time of creation, which never change, so that one index finds a pair's jobs newest first.
    In the index a digest stands for the pair, which can be too long for one.
    """

    __tablename__ = "fine_tuning_job_metadata"

    job_id: Mapped[str] = mapped_column(Identifier(ID_LENGTH), ForeignKey(JobRow.id, ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(Identifier(METADATA_KEY_LENGTH), primary_key=True)
    value: Mapped[str] = mapped_column(Identifier(METADATA_VALUE_LENGTH))
    digest: Mapped[int] = mapped_column(Integer64)
    organization_id: Mapped[str] = mapped_column(Identifier(ORGANIZATION_LENGTH))
    created_at: Mapped[int] = mapped_column(Integer64)

    __table_args__ = (
        _listing("ix_fine_tuning_job_metadata_pair", "digest", "created_at", "job_id"),
        _listing("ix_fine_tuning_job_metadata_organization_pair", "organization_id", "digest", "created_at", "job_id"),
    )


class EventRow(Base):
    """One event of a job, at its position in the order of commits."""

    __tablename__ = "fine_tuning_job_events"

    job_id: Mapped[str] = mapped_column(Identifier(ID_LENGTH), ForeignKey(JobRow.id, ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer64, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(Identifier(ID_LENGTH))
    created_at: Mapped[int] = mapped_column(Integer64)
    level: Mapped[str] = mapped_column(Identifier(WORD_LENGTH))
    type: Mapped[str | None] = mapped_column(Identifier(WORD_LENGTH))
    message: Mapped[str] = mapped_column(LongText)
    data: Mapped[Any | None] = mapped_column(Json)
    extra: Mapped[Any | None] = mapped_column(Json)

    __table_args__ = (_listing("uq_fine_tuning_job_events_id", "job_id", "id", unique=True),)


class CheckpointRow(Base):
    """One checkpoint of a job."""

    __tablename__ = "fine_tuning_job_checkpoints"

    job_id: Mapped[str] = mapped_column(Identifier(ID_LENGTH), ForeignKey(JobRow.id, ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(Identifier(ID_LENGTH), primary_key=True)
    step_number: Mapped[int] = mapped_column(Integer64)
    created_at: Mapped[int] = mapped_column(Integer64)
    model: Mapped[str] = mapped_column(Identifier(NAME_LENGTH))
    metrics: Mapped[Any | None] = mapped_column(Json)
    extra: Mapped[Any | None] = mapped_column(Json)

    __table_args__ = (
        _listing("ix_fine_tuning_job_checkpoints_step", "job_id", "step_number", "id"),
        _listing("ix_fine_tuning_job_checkpoints_model", "model"),
    )


class CheckpointPermissionRow(Base):
    """One project's leave to use a model. In the indexes a SHA-256 digest stands for the model, whose name can be too long for one."""

    __tablename__ = "fine_tuning_checkpoint_permissions"

    id: Mapped[str] = mapped_column(Identifier(ID_LENGTH), primary_key=True)
    job_id: Mapped[str] = mapped_column(Identifier(ID_LENGTH), ForeignKey(JobRow.id, ondelete="CASCADE"))
    organization_id: Mapped[str] = mapped_column(Identifier(ORGANIZATION_LENGTH))
    created_at: Mapped[int] = mapped_column(Integer64)
    project_id: Mapped[str] = mapped_column(Identifier(ID_LENGTH))
    model: Mapped[str] = mapped_column(Identifier(NAME_LENGTH))
    digest: Mapped[str] = mapped_column(Identifier(64))

    __table_args__ = (
        _listing("uq_fine_tuning_checkpoint_permissions_project", "organization_id", "digest", "project_id", unique=True),
        _listing("ix_fine_tuning_checkpoint_permissions_model", "digest", "created_at", "id"),
        _listing("ix_fine_tuning_checkpoint_permissions_job", "job_id"),
    )


class CompatibilityRow(Base):
    """One row: the schema's number and the oldest code number that may use it. Each migration updates it."""

    __tablename__ = "fine_tuning_store_compatibility"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    schema_number: Mapped[int] = mapped_column(SmallInteger)
    oldest_code_number: Mapped[int] = mapped_column(SmallInteger)

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)


@event.listens_for(Base.metadata, "before_create")
def _shorten_indexes(_: MetaData, connection: Connection, **__: object) -> None:
    """Give the lengths to the dialect that makes the tables; as arguments of each Index they would load MariaDB's on import."""
    for table in Base.metadata.tables.values():
        for index in table.indexes:
            index.dialect_options[connection.dialect.name]["length"] = index.info["length"]


def table_of(row: type[Base]) -> Table:
    """The table of a row class, for statements: cheaper than ORM columns and free of the ORM's execution rules."""
    assert isinstance(row.__table__, Table)
    return row.__table__


jobs = table_of(JobRow)
errors = table_of(JobErrorRow)
hyperparameters = table_of(JobHyperparametersRow)
result_files = table_of(JobResultFileRow)
metadata = table_of(JobMetadataRow)
events = table_of(EventRow)
checkpoints = table_of(CheckpointRow)
permissions = table_of(CheckpointPermissionRow)
compatibility = table_of(CompatibilityRow)

#: The number of the schema that this code was written for: that of the newest migration.
SCHEMA_NUMBER = 2
VERSION_TABLE = "fine_tuning_store_version"

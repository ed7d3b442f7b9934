"""The tables. Constraints are derived from the domain, and every one has a name so that a migration can find it."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, MetaData, SmallInteger, Table, text

from fine_tuning_store.domain.hyperparameters import STORABLE_RANGES
from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.validation import (
    ID_LENGTH,
    METADATA_KEY_LENGTH,
    METADATA_VALUE_LENGTH,
    NAME_LENGTH,
    ORGANIZATION_LENGTH,
    WORD_LENGTH,
)
from fine_tuning_store.sql.types import Identifier, Integer64, Json, LongText, Number

STATUS_LENGTH = 32


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


#: MariaDB limits an index to 3072 bytes, 4 a character; of long names it takes as much as leaves room for the job's id.
_INDEXED_LENGTH = dict.fromkeys(("model", "fine_tuned_model", "training_file"), 255)


def _listing(name: str, *columns: str, unique: bool = False) -> Index:
    """An index that answers a page in its order without a sort: what is filtered, then the time, then the job's id."""
    shortened = {column: _INDEXED_LENGTH[column] for column in columns if column in _INDEXED_LENGTH}
    return Index(name, *columns, unique=unique, mysql_length=shortened, mariadb_length=shortened)


#: Our tables. Their names and their constraints' names are fixed; so is their order of creation.
METADATA = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: One row a job.
jobs = Table(
    "fine_tuning_jobs",
    METADATA,
    Column("id", Identifier(ID_LENGTH), primary_key=True),
    Column("organization_id", Identifier(ORGANIZATION_LENGTH), nullable=False),
    Column("created_at", Integer64, nullable=False),
    Column("status", Identifier(STATUS_LENGTH), nullable=False),
    Column("finished_at", Integer64),
    Column("model", Identifier(NAME_LENGTH), nullable=False),
    Column("fine_tuned_model", Identifier(NAME_LENGTH)),
    Column("training_file", Identifier(NAME_LENGTH), nullable=False),
    Column("validation_file", Identifier(NAME_LENGTH)),
    Column("trained_tokens", Integer64),
    Column("seed", Integer64),
    Column("suffix", Identifier(NAME_LENGTH)),
    Column("estimated_finish", Integer64),
    Column("shared_with_openai", Boolean),
    Column("eval_id", Identifier(ID_LENGTH)),
    Column("method_type", Identifier(WORD_LENGTH)),
    Column("method_grader", Json),
    Column("method_response_format", Json),
    Column("method_extra", Json),
    Column("integrations", Json),
    Column("usage_metrics", Json),
    Column("extra", Json),
    Column("event_count", Integer64, server_default=text("0"), nullable=False),  # also the position of the newest event
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

#: Why a job failed: at most one row a job.
errors = Table(
    "fine_tuning_job_errors",
    METADATA,
    Column("job_id", Identifier(ID_LENGTH), ForeignKey("fine_tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("code", LongText),
    Column("message", LongText),
    Column("param", LongText),
    Column("extra", Json),
)

#: The hyperparameters of a job, one row a job. -1 is `"auto"`, NULL is absent.
hyperparameters = Table(
    "fine_tuning_job_hyperparameters",
    METADATA,
    Column("job_id", Identifier(ID_LENGTH), ForeignKey("fine_tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("n_epochs", Integer64),
    Column("batch_size", Integer64),
    Column("learning_rate_multiplier", Number),
    Column("beta", Number),
    Column("compute_multiplier", Number),
    Column("eval_interval", Integer64),
    Column("eval_samples", Integer64),
    Column("reasoning_effort", Identifier(WORD_LENGTH)),
    Column("extra", Json),
    *(CheckConstraint(f"{name} = -1 OR {name} > 0", name=name) for name in STORABLE_RANGES),
)

#: A result file of a job; `position` counts from 0.
result_files = Table(
    "fine_tuning_job_result_files",
    METADATA,
    Column("job_id", Identifier(ID_LENGTH), ForeignKey("fine_tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer64, primary_key=True, autoincrement=False),
    Column("file_id", Identifier(NAME_LENGTH), nullable=False),
)

#: One pair of a job's metadata.
#: It repeats the job's organization and time of creation, which never change, so that one index finds a pair's jobs newest first.
#: In the index a digest stands for the pair, which can be too long for one.
metadata = Table(
    "fine_tuning_job_metadata",
    METADATA,
    Column("job_id", Identifier(ID_LENGTH), ForeignKey("fine_tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Identifier(METADATA_KEY_LENGTH), primary_key=True),
    Column("value", Identifier(METADATA_VALUE_LENGTH), nullable=False),
    Column("digest", Integer64, nullable=False),
    Column("organization_id", Identifier(ORGANIZATION_LENGTH), nullable=False),
    Column("created_at", Integer64, nullable=False),
    _listing("ix_fine_tuning_job_metadata_pair", "digest", "created_at", "job_id"),
    _listing("ix_fine_tuning_job_metadata_organization_pair", "organization_id", "digest", "created_at", "job_id"),
)

#: One event of a job, at its position in the order of commits.
events = Table(
    "fine_tuning_job_events",
    METADATA,
    Column("job_id", Identifier(ID_LENGTH), ForeignKey("fine_tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer64, primary_key=True, autoincrement=False),
    Column("id", Identifier(ID_LENGTH), nullable=False),
    Column("created_at", Integer64, nullable=False),
    Column("level", Identifier(WORD_LENGTH), nullable=False),
    Column("type", Identifier(WORD_LENGTH)),
    Column("message", LongText, nullable=False),
    Column("data", Json),
    Column("extra", Json),
    _listing("uq_fine_tuning_job_events_id", "job_id", "id", unique=True),
)

#: One checkpoint of a job.
checkpoints = Table(
    "fine_tuning_job_checkpoints",
    METADATA,
    Column("job_id", Identifier(ID_LENGTH), ForeignKey("fine_tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Identifier(ID_LENGTH), primary_key=True),
    Column("step_number", Integer64, nullable=False),
    Column("created_at", Integer64, nullable=False),
    Column("model", Identifier(NAME_LENGTH), nullable=False),
    Column("metrics", Json),
    Column("extra", Json),
    _listing("ix_fine_tuning_job_checkpoints_step", "job_id", "step_number", "id"),
    _listing("ix_fine_tuning_job_checkpoints_model", "model"),
)

#: One project's leave to use a model. In the indexes a SHA-256 digest stands for the model, whose name can be too long for one.
permissions = Table(
    "fine_tuning_checkpoint_permissions",
    METADATA,
    Column("id", Identifier(ID_LENGTH), primary_key=True),
    Column("job_id", Identifier(ID_LENGTH), ForeignKey("fine_tuning_jobs.id", ondelete="CASCADE"), nullable=False),
    Column("organization_id", Identifier(ORGANIZATION_LENGTH), nullable=False),
    Column("created_at", Integer64, nullable=False),
    Column("project_id", Identifier(ID_LENGTH), nullable=False),
    Column("model", Identifier(NAME_LENGTH), nullable=False),
    Column("digest", Identifier(64), nullable=False),
    _listing("uq_fine_tuning_checkpoint_permissions_project", "organization_id", "digest", "project_id", unique=True),
    _listing("ix_fine_tuning_checkpoint_permissions_model", "digest", "created_at", "id"),
    _listing("ix_fine_tuning_checkpoint_permissions_job", "job_id"),
)

#: One row: the schema's number and the oldest code number that may use it. Each migration updates it.
compatibility = Table(
    "fine_tuning_store_compatibility",
    METADATA,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("schema_number", SmallInteger, nullable=False),
    Column("oldest_code_number", SmallInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

#: The table in which Alembic keeps the store's revision.
VERSION_TABLE = "fine_tuning_store_version"

"""Fine-tuning jobs in a SQL database: the persistence layer of an OpenAI-style fine-tuning service."""

from fine_tuning_store.domain.job import FineTuningJob, Hyperparameters, JobError, Method
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.page import Page
from fine_tuning_store.errors import (
    CursorNotFoundError,
    FineTuningStoreError,
    IllegalMoveError,
    InvalidValueError,
    JobAlreadyExistsError,
    JobNotFoundError,
    SchemaConflictError,
    SchemaLockTimeoutError,
    SchemaOutOfDateError,
    UnitAlreadyOpenError,
    UnsupportedDatabaseError,
)
from fine_tuning_store.repositories.jobs import FineTuningJobRepository
from fine_tuning_store.store import FineTuningStore, UnitOfWork
from fine_tuning_store.wire import job_from_wire, job_to_wire

__all__ = [
    "CursorNotFoundError",
    "FineTuningJob",
    "FineTuningJobRepository",
    "FineTuningStore",
    "FineTuningStoreError",
    "Hyperparameters",
    "IllegalMoveError",
    "InvalidValueError",
    "JobAlreadyExistsError",
    "JobError",
    "JobNotFoundError",
    "JobStatus",
    "Method",
    "Page",
    "SchemaConflictError",
    "SchemaLockTimeoutError",
    "SchemaOutOfDateError",
    "UnitAlreadyOpenError",
    "UnitOfWork",
    "UnsupportedDatabaseError",
    "job_from_wire",
    "job_to_wire",
]

"""Fine-tuning jobs in a SQL database: the persistence layer of an OpenAI-style fine-tuning service."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent, NewEvent
from fine_tuning_store.domain.job import FineTuningJob, Hyperparameters, JobError, Method
from fine_tuning_store.domain.job_validation import JobChanges, JobRequest, NewJob
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.page import Page
from fine_tuning_store.domain.permission import CheckpointPermission
from fine_tuning_store.domain.retention import PurgeResult
from fine_tuning_store.domain.statistics import ErrorCodeCount, JobCounts, JobDurations, JobQueueState
from fine_tuning_store.domain.transition import JobTransition, TransitionNotes
from fine_tuning_store.errors import (
    CheckpointNotFoundError,
    CheckpointPermissionNotFoundError,
    CorruptDataError,
    CursorNotFoundError,
    DatabaseUnreachableError,
    EngineConfigurationError,
    FineTuningStoreError,
    IdempotencyConflictError,
    IllegalTransitionError,
    InvalidValueError,
    JobAlreadyExistsError,
    JobNotFoundError,
    JobReferencedError,
    MissingDriverError,
    MissingExtraError,
    OutcomeUnknownError,
    ReadOnlyStoreError,
    SchemaConflictError,
    SchemaLockTimeoutError,
    SchemaVersionError,
    StaleLeaseError,
    StoreBusyError,
    UnitAlreadyOpenError,
    UnitEndedError,
    UnsupportedDatabaseError,
)
from fine_tuning_store.repositories.checkpoints import FineTuningJobCheckpointRepository
from fine_tuning_store.repositories.events import FineTuningJobEventRepository
from fine_tuning_store.repositories.job_filters import JobFilters
from fine_tuning_store.repositories.jobs import FineTuningJobRepository
from fine_tuning_store.repositories.lease import Lease
from fine_tuning_store.repositories.leases import LeaseRepository
from fine_tuning_store.repositories.permissions import CheckpointPermissionRepository
from fine_tuning_store.repositories.retention import Retention
from fine_tuning_store.repositories.statistics import FineTuningJobStatistics
from fine_tuning_store.repositories.transitions import JobTransitionRepository
from fine_tuning_store.schema import Schema, SchemaDifference, SchemaState, SchemaStatus
from fine_tuning_store.sql.engine import prepare_sqlite_engine
from fine_tuning_store.sql.timeouts import Timeouts
from fine_tuning_store.store import FineTuningStore, UnitOfWork
from fine_tuning_store.wire.errors import error_to_wire
from fine_tuning_store.wire.jobs import job_from_wire, job_to_wire
from fine_tuning_store.wire.records import (
    checkpoint_from_wire,
    checkpoint_to_wire,
    event_from_wire,
    event_to_wire,
    page_from_wire,
    page_to_wire,
    permission_from_wire,
    permission_to_wire,
)
from fine_tuning_store.wire.requests import grader_from_wire, job_request_from_wire

if TYPE_CHECKING:
    from fine_tuning_store.aio import (
        AsyncCheckpointPermissionRepository,
        AsyncFineTuningJobCheckpointRepository,
        AsyncFineTuningJobEventRepository,
        AsyncFineTuningJobRepository,
        AsyncFineTuningJobStatistics,
        AsyncFineTuningStore,
        AsyncJobTransitionRepository,
        AsyncLease,
        AsyncLeaseRepository,
        AsyncRetention,
        AsyncUnitOfWork,
    )

__all__ = [
    "CheckpointNotFoundError",
    "CheckpointPermission",
    "CheckpointPermissionNotFoundError",
    "CheckpointPermissionRepository",
    "CorruptDataError",
    "CursorNotFoundError",
    "DatabaseUnreachableError",
    "EngineConfigurationError",
    "ErrorCodeCount",
    "FineTuningJob",
    "FineTuningJobCheckpoint",
    "FineTuningJobCheckpointRepository",
    "FineTuningJobEvent",
    "FineTuningJobEventRepository",
    "FineTuningJobRepository",
    "FineTuningJobStatistics",
    "FineTuningStore",
    "FineTuningStoreError",
    "Hyperparameters",
    "IdempotencyConflictError",
    "IllegalTransitionError",
    "InvalidValueError",
    "JobAlreadyExistsError",
    "JobChanges",
    "JobCounts",
    "JobDurations",
    "JobError",
    "JobFilters",
    "JobNotFoundError",
    "JobQueueState",
    "JobReferencedError",
    "JobRequest",
    "JobStatus",
    "JobTransition",
    "JobTransitionRepository",
    "Lease",
    "LeaseRepository",
    "Method",
    "MissingDriverError",
    "MissingExtraError",
    "NewEvent",
    "NewJob",
    "OutcomeUnknownError",
    "Page",
    "PurgeResult",
    "ReadOnlyStoreError",
    "Retention",
    "Schema",
    "SchemaConflictError",
    "SchemaDifference",
    "SchemaLockTimeoutError",
    "SchemaState",
    "SchemaStatus",
    "SchemaVersionError",
    "StaleLeaseError",
    "StoreBusyError",
    "Timeouts",
    "TransitionNotes",
    "UnitAlreadyOpenError",
    "UnitEndedError",
    "UnitOfWork",
    "UnsupportedDatabaseError",
    "checkpoint_from_wire",
    "checkpoint_to_wire",
    "error_to_wire",
    "event_from_wire",
    "event_to_wire",
    "grader_from_wire",
    "job_from_wire",
    "job_request_from_wire",
    "job_to_wire",
    "page_from_wire",
    "page_to_wire",
    "permission_from_wire",
    "permission_to_wire",
    "prepare_sqlite_engine",
]
if find_spec("greenlet") is not None:  # of the extra `aio`
    __all__ += [
        "AsyncCheckpointPermissionRepository",
        "AsyncFineTuningJobCheckpointRepository",
        "AsyncFineTuningJobEventRepository",
        "AsyncFineTuningJobRepository",
        "AsyncFineTuningJobStatistics",
        "AsyncFineTuningStore",
        "AsyncJobTransitionRepository",
        "AsyncLease",
        "AsyncLeaseRepository",
        "AsyncRetention",
        "AsyncUnitOfWork",
    ]


def __getattr__(name: str) -> object:
    if not name.startswith("Async"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fine_tuning_store import aio  # needs packages of the extra `aio`

    value: object = getattr(aio, name)
    return value

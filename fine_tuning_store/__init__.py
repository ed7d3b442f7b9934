"""Fine-tuning jobs in a SQL database: the persistence layer of an OpenAI-style fine-tuning service."""

from importlib import import_module
from typing import TYPE_CHECKING

from fine_tuning_store.domain.job import FineTuningJob, Hyperparameters, JobError, Method
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.page import Page
from fine_tuning_store.errors import (
    CheckpointNotFoundError,
    CheckpointPermissionNotFoundError,
    CursorNotFoundError,
    EngineConfigurationError,
    FineTuningStoreError,
    IllegalTransitionError,
    InvalidValueError,
    JobAlreadyExistsError,
    JobNotFoundError,
    JobReferencedError,
    MissingDriverError,
    SchemaConflictError,
    SchemaLockTimeoutError,
    SchemaVersionError,
    UnitAlreadyOpenError,
    UnitEndedError,
    UnsupportedDatabaseError,
)
from fine_tuning_store.store import FineTuningStore, UnitOfWork

if TYPE_CHECKING:
    from fine_tuning_store.aio import (
        AsyncCheckpointPermissionRepository,
        AsyncFineTuningJobCheckpointRepository,
        AsyncFineTuningJobEventRepository,
        AsyncFineTuningJobRepository,
        AsyncFineTuningStore,
        AsyncUnitOfWork,
    )
    from fine_tuning_store.domain.checkpoint import CheckpointPermission, FineTuningJobCheckpoint
    from fine_tuning_store.domain.event import FineTuningJobEvent
    from fine_tuning_store.repositories.checkpoints import FineTuningJobCheckpointRepository
    from fine_tuning_store.repositories.events import FineTuningJobEventRepository
    from fine_tuning_store.repositories.jobs import FineTuningJobRepository
    from fine_tuning_store.repositories.permissions import CheckpointPermissionRepository
    from fine_tuning_store.schema import SchemaDifference, SchemaState, SchemaStatus
    from fine_tuning_store.sql.engine import prepare_sqlite_engine
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
    from fine_tuning_store.wire.requests import JobRequest, job_request_from_wire

#: What is loaded on first use: a worker that creates and moves jobs needs none of it.
_LATER = {
    "AsyncCheckpointPermissionRepository": "fine_tuning_store.aio",
    "AsyncFineTuningJobCheckpointRepository": "fine_tuning_store.aio",
    "AsyncFineTuningJobEventRepository": "fine_tuning_store.aio",
    "AsyncFineTuningJobRepository": "fine_tuning_store.aio",
    "AsyncFineTuningStore": "fine_tuning_store.aio",
    "AsyncUnitOfWork": "fine_tuning_store.aio",
    "CheckpointPermission": "fine_tuning_store.domain.checkpoint",
    "CheckpointPermissionRepository": "fine_tuning_store.repositories.permissions",
    "FineTuningJobCheckpoint": "fine_tuning_store.domain.checkpoint",
    "FineTuningJobCheckpointRepository": "fine_tuning_store.repositories.checkpoints",
    "FineTuningJobEvent": "fine_tuning_store.domain.event",
    "FineTuningJobEventRepository": "fine_tuning_store.repositories.events",
    "FineTuningJobRepository": "fine_tuning_store.repositories.jobs",
    "JobRequest": "fine_tuning_store.wire.requests",
    "SchemaDifference": "fine_tuning_store.schema",
    "SchemaState": "fine_tuning_store.schema",
    "SchemaStatus": "fine_tuning_store.schema",
    "checkpoint_from_wire": "fine_tuning_store.wire.records",
    "checkpoint_to_wire": "fine_tuning_store.wire.records",
    "error_to_wire": "fine_tuning_store.wire.errors",
    "event_from_wire": "fine_tuning_store.wire.records",
    "event_to_wire": "fine_tuning_store.wire.records",
    "job_from_wire": "fine_tuning_store.wire.jobs",
    "job_request_from_wire": "fine_tuning_store.wire.requests",
    "job_to_wire": "fine_tuning_store.wire.jobs",
    "page_from_wire": "fine_tuning_store.wire.records",
    "page_to_wire": "fine_tuning_store.wire.records",
    "permission_from_wire": "fine_tuning_store.wire.records",
    "permission_to_wire": "fine_tuning_store.wire.records",
    "prepare_sqlite_engine": "fine_tuning_store.sql.engine",
}

__all__ = [
    "AsyncCheckpointPermissionRepository",
    "AsyncFineTuningJobCheckpointRepository",
    "AsyncFineTuningJobEventRepository",
    "AsyncFineTuningJobRepository",
    "AsyncFineTuningStore",
    "AsyncUnitOfWork",
    "CheckpointNotFoundError",
    "CheckpointPermission",
    "CheckpointPermissionNotFoundError",
    "CheckpointPermissionRepository",
    "CursorNotFoundError",
    "EngineConfigurationError",
    "FineTuningJob",
    "FineTuningJobCheckpoint",
    "FineTuningJobCheckpointRepository",
    "FineTuningJobEvent",
    "FineTuningJobEventRepository",
    "FineTuningJobRepository",
    "FineTuningStore",
    "FineTuningStoreError",
    "Hyperparameters",
    "IllegalTransitionError",
    "InvalidValueError",
    "JobAlreadyExistsError",
    "JobError",
    "JobNotFoundError",
    "JobReferencedError",
    "JobRequest",
    "JobStatus",
    "Method",
    "MissingDriverError",
    "Page",
    "SchemaConflictError",
    "SchemaDifference",
    "SchemaLockTimeoutError",
    "SchemaState",
    "SchemaStatus",
    "SchemaVersionError",
    "UnitAlreadyOpenError",
    "UnitEndedError",
    "UnitOfWork",
    "UnsupportedDatabaseError",
    "checkpoint_from_wire",
    "checkpoint_to_wire",
    "error_to_wire",
    "event_from_wire",
    "event_to_wire",
    "job_from_wire",
    "job_request_from_wire",
    "job_to_wire",
    "page_from_wire",
    "page_to_wire",
    "permission_from_wire",
    "permission_to_wire",
    "prepare_sqlite_engine",
]


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value

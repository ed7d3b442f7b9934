"""The errors of this library.

Each says what happened, to which job, and what to do next. Its arguments are its attributes, so an error can be pickled and copied. Errors
of SQLAlchemy and of the drivers pass through unchanged.
"""

from fine_tuning_store.errors.base import (
    FineTuningStoreError,
    InvalidValueError,
)
from fine_tuning_store.errors.jobs import (
    CheckpointNotFoundError,
    CheckpointPermissionNotFoundError,
    CursorNotFoundError,
    IdempotencyConflictError,
    IllegalTransitionError,
    JobAlreadyExistsError,
    JobNotFoundError,
    JobReferencedError,
    StaleLeaseError,
)
from fine_tuning_store.errors.schema import (
    SchemaConflictError,
    SchemaLockTimeoutError,
    SchemaVersionError,
)
from fine_tuning_store.errors.store import (
    CorruptDataError,
    DatabaseUnreachableError,
    EngineConfigurationError,
    MissingDriverError,
    MissingExtraError,
    OutcomeUnknownError,
    ReadOnlyStoreError,
    StoreBusyError,
    UnitAlreadyOpenError,
    UnitEndedError,
    UnsupportedDatabaseError,
)

__all__ = [
    "CheckpointNotFoundError",
    "CheckpointPermissionNotFoundError",
    "CorruptDataError",
    "CursorNotFoundError",
    "DatabaseUnreachableError",
    "EngineConfigurationError",
    "FineTuningStoreError",
    "IdempotencyConflictError",
    "IllegalTransitionError",
    "InvalidValueError",
    "JobAlreadyExistsError",
    "JobNotFoundError",
    "JobReferencedError",
    "MissingDriverError",
    "MissingExtraError",
    "OutcomeUnknownError",
    "ReadOnlyStoreError",
    "SchemaConflictError",
    "SchemaLockTimeoutError",
    "SchemaVersionError",
    "StaleLeaseError",
    "StoreBusyError",
    "UnitAlreadyOpenError",
    "UnitEndedError",
    "UnsupportedDatabaseError",
]

"""The async face: the same names and arguments, awaited. The behaviour is that of the sync repositories, bridged."""

from fine_tuning_store.aio.repositories import (
    AsyncCheckpointPermissionRepository,
    AsyncFineTuningJobCheckpointRepository,
    AsyncFineTuningJobEventRepository,
    AsyncFineTuningJobRepository,
)
from fine_tuning_store.aio.store import AsyncFineTuningStore, AsyncSchema, AsyncUnitOfWork

__all__ = [
    "AsyncCheckpointPermissionRepository",
    "AsyncFineTuningJobCheckpointRepository",
    "AsyncFineTuningJobEventRepository",
    "AsyncFineTuningJobRepository",
    "AsyncFineTuningStore",
    "AsyncSchema",
    "AsyncUnitOfWork",
]

"""The async face: the same names and arguments, awaited. The behaviour is that of the sync repositories, bridged."""

from fine_tuning_store.sql.engine import NEEDS_AIO

try:
    import sqlalchemy.ext.asyncio as _  # noqa: F401 - it wants greenlet
except ImportError as error:
    raise ImportError(NEEDS_AIO) from error

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

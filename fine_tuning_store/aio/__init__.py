"""The async store: the same names and arguments, awaited. Its behaviour is that of the repositories, bridged to the event loop."""

from fine_tuning_store.errors import MissingDriverError
from fine_tuning_store.sql.engine import NEEDS_AIO

try:
    import sqlalchemy.ext.asyncio as _  # noqa: F401 - it needs greenlet
except ImportError as error:
    raise MissingDriverError(NEEDS_AIO) from error

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

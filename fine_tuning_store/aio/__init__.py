"""The async store: the same names and arguments, awaited. Its behaviour is that of the repositories, bridged to the event loop."""

from fine_tuning_store.sql.engine import require_greenlet

require_greenlet()

from fine_tuning_store.aio.leases import AsyncLease, AsyncLeaseRepository  # noqa: E402 - after the check
from fine_tuning_store.aio.repositories import (  # noqa: E402
    AsyncCheckpointPermissionRepository,
    AsyncFineTuningJobCheckpointRepository,
    AsyncFineTuningJobEventRepository,
    AsyncFineTuningJobRepository,
    AsyncFineTuningJobStatistics,
    AsyncJobTransitionRepository,
    AsyncRetention,
)
from fine_tuning_store.aio.store import AsyncFineTuningStore, AsyncSchema, AsyncUnitOfWork  # noqa: E402

__all__ = [
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
    "AsyncSchema",
    "AsyncUnitOfWork",
]

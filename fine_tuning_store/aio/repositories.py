"""The async repositories. What a method does is documented at the synchronous repository."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, TypeVar, Unpack

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.util import greenlet_spawn

from fine_tuning_store.aio.bridge import Bridge, bridged
from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.engine_transactions import EngineTransactions
from fine_tuning_store.repositories.base import Repository, with_keywords_of
from fine_tuning_store.repositories.checkpoints import FineTuningJobCheckpointRepository
from fine_tuning_store.repositories.events import FineTuningJobEventRepository
from fine_tuning_store.repositories.job_filters import JobFilters, Order
from fine_tuning_store.repositories.jobs import FineTuningJobRepository
from fine_tuning_store.repositories.permissions import CheckpointPermissionRepository
from fine_tuning_store.repositories.retention import Retention
from fine_tuning_store.repositories.statistics import FineTuningJobStatistics
from fine_tuning_store.repositories.transitions import JobTransitionRepository
from fine_tuning_store.sql.queries.job_conditions import OrderBy
from fine_tuning_store.transactions import Transaction, TransactionSource

R = TypeVar("R", bound=Repository)


class AsyncRepository(Bridge[R]):
    """A repository of an async store or unit of work, or inside the transaction of a host's AsyncSession or AsyncConnection.

    In a host's transaction it never commits and never rolls back. The arguments are those of the synchronous repository.
    """

    _kind: ClassVar[type[Repository]]

    def __init__(
        self, source: TransactionSource | AsyncSession | AsyncConnection, *, organization_id: str | None = None, schema: str | None = None
    ) -> None:
        sync = _sync_source(source, type(self).__name__)
        self._sync = self._kind(sync, organization_id=organization_id, schema=schema)  # type: ignore[assignment]


def _sync_source(source: object, name: str) -> Any:
    if isinstance(source, AsyncSession):
        return source.sync_session
    if isinstance(source, AsyncConnection):
        if source.sync_connection is None:
            raise TypeError(f"{name} takes a started AsyncConnection: use `async with engine.connect() as connection`")
        return source.sync_connection
    if isinstance(source, (Transaction, EngineTransactions)):
        return source
    raise TypeError(
        f"{name} takes an AsyncSession or an AsyncConnection of SQLAlchemy, not {type(source).__name__}; for an AsyncEngine use "
        "AsyncFineTuningStore(engine), and for an async_scoped_session pass the session that it returns when called"
    )


class AsyncFineTuningJobRepository(AsyncRepository[FineTuningJobRepository]):
    """FineTuningJobRepository with async methods."""

    _kind = FineTuningJobRepository

    create = bridged(FineTuningJobRepository.create)
    delete_expired_idempotency_keys = bridged(FineTuningJobRepository.delete_expired_idempotency_keys)
    add = bridged(FineTuningJobRepository.add)
    add_many = bridged(FineTuningJobRepository.add_many)
    replace = bridged(FineTuningJobRepository.replace)
    replace_many = bridged(FineTuningJobRepository.replace_many)
    get = bridged(FineTuningJobRepository.get)
    get_many = bridged(FineTuningJobRepository.get_many)
    list = bridged(FineTuningJobRepository.list)
    count = bridged(FineTuningJobRepository.count)
    enqueue = bridged(FineTuningJobRepository.enqueue)
    start = bridged(FineTuningJobRepository.start)
    requeue = bridged(FineTuningJobRepository.requeue)
    pause = bridged(FineTuningJobRepository.pause)
    resume = bridged(FineTuningJobRepository.resume)
    succeed = bridged(FineTuningJobRepository.succeed)
    fail = bridged(FineTuningJobRepository.fail)
    cancel = bridged(FineTuningJobRepository.cancel)
    update = bridged(FineTuningJobRepository.update)
    delete = bridged(FineTuningJobRepository.delete)

    @with_keywords_of(JobFilters)
    def iterate(
        self, *, page_size: int = 100, order: Order = "desc", order_by: OrderBy = "created_at", **filters: Unpack[JobFilters]
    ) -> AsyncIterator[FineTuningJob]:
        """FineTuningJobRepository.iterate, for `async for`."""
        return _iterate(self._sync._iterate_pages(page_size, order, order_by, filters))


async def _iterate(pages: Iterator[tuple[FineTuningJob, ...]]) -> AsyncIterator[FineTuningJob]:
    while page := await greenlet_spawn(next, pages, ()):
        for job in page:
            yield job


class AsyncFineTuningJobEventRepository(AsyncRepository[FineTuningJobEventRepository]):
    """FineTuningJobEventRepository with async methods."""

    _kind = FineTuningJobEventRepository

    append = bridged(FineTuningJobEventRepository.append)
    append_many = bridged(FineTuningJobEventRepository.append_many)
    import_many = bridged(FineTuningJobEventRepository.import_many)
    list = bridged(FineTuningJobEventRepository.list)
    tail = bridged(FineTuningJobEventRepository.tail)


class AsyncFineTuningJobCheckpointRepository(AsyncRepository[FineTuningJobCheckpointRepository]):
    """FineTuningJobCheckpointRepository with async methods."""

    _kind = FineTuningJobCheckpointRepository

    create = bridged(FineTuningJobCheckpointRepository.create)
    add = bridged(FineTuningJobCheckpointRepository.add)
    import_many = bridged(FineTuningJobCheckpointRepository.import_many)
    list = bridged(FineTuningJobCheckpointRepository.list)


class AsyncCheckpointPermissionRepository(AsyncRepository[CheckpointPermissionRepository]):
    """CheckpointPermissionRepository with async methods."""

    _kind = CheckpointPermissionRepository

    create = bridged(CheckpointPermissionRepository.create)
    import_many = bridged(CheckpointPermissionRepository.import_many)
    list = bridged(CheckpointPermissionRepository.list)
    delete = bridged(CheckpointPermissionRepository.delete)


class AsyncJobTransitionRepository(AsyncRepository[JobTransitionRepository]):
    """JobTransitionRepository with async methods."""

    _kind = JobTransitionRepository

    import_many = bridged(JobTransitionRepository.import_many)
    list = bridged(JobTransitionRepository.list)


class AsyncFineTuningJobStatistics(AsyncRepository[FineTuningJobStatistics]):
    """FineTuningJobStatistics with async methods."""

    _kind = FineTuningJobStatistics

    counts = bridged(FineTuningJobStatistics.counts)
    durations = bridged(FineTuningJobStatistics.durations)
    error_codes = bridged(FineTuningJobStatistics.error_codes)
    queue = bridged(FineTuningJobStatistics.queue)


class AsyncRetention(Bridge[Retention]):
    """Retention with async methods. The functions that `purge` takes may be async."""

    def __init__(self, retention: Retention) -> None:
        self._sync = retention

    purge = bridged(Retention.purge)

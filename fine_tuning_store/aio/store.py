"""The async store and its units of work."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from copy import copy
from functools import cached_property
from inspect import isawaitable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import greenlet_spawn

from fine_tuning_store.aio.bridge import Bridge, bridged
from fine_tuning_store.aio.leases import AsyncLeaseRepository
from fine_tuning_store.aio.repositories import (
    AsyncCheckpointPermissionRepository,
    AsyncFineTuningJobCheckpointRepository,
    AsyncFineTuningJobEventRepository,
    AsyncFineTuningJobRepository,
    AsyncFineTuningJobStatistics,
    AsyncJobTransitionRepository,
    AsyncRetention,
)
from fine_tuning_store.schema import Schema
from fine_tuning_store.sql import engine as engines
from fine_tuning_store.sql.timeouts import Timeouts
from fine_tuning_store.sql.waiting import wait_for
from fine_tuning_store.store import FineTuningStore, require_constructor
from fine_tuning_store.transactions import Transaction, TransactionSource

T = TypeVar("T")


class _AsyncRepositories:
    """The repositories of an async store or of an async unit of work."""

    __slots__ = ("checkpoint_permissions", "checkpoints", "events", "jobs", "leases", "statistics", "transitions")

    def __init__(self, source: TransactionSource) -> None:
        self.jobs: Final = AsyncFineTuningJobRepository(source)
        """The jobs."""
        self.events: Final = AsyncFineTuningJobEventRepository(source)
        """The events of jobs."""
        self.checkpoints: Final = AsyncFineTuningJobCheckpointRepository(source)
        """The checkpoints of jobs."""
        self.checkpoint_permissions: Final = AsyncCheckpointPermissionRepository(source)
        """Which projects may use which model."""
        self.leases: Final = AsyncLeaseRepository(source)
        """The leases of workers on jobs."""
        self.transitions: Final = AsyncJobTransitionRepository(source)
        """The log of transitions."""
        self.statistics: Final = AsyncFineTuningJobStatistics(source)
        """Figures about many jobs."""


class AsyncUnitOfWork(_AsyncRepositories):
    """Several calls in one transaction. Await them one after the other: a connection does one thing at a time."""

    __slots__ = ("_engine", "_transaction")

    def __init__(self, transaction: Transaction, engine: AsyncEngine) -> None:
        super().__init__(transaction)
        self._transaction = transaction
        self._engine = engine

    @property
    def connection(self) -> AsyncConnection:
        """The connection of the transaction, for rows of your own.

        It is not restricted to an organization. Leave COMMIT and ROLLBACK to the store.
        """
        self._transaction.written.anything = True  # perhaps
        return AsyncConnection(self._engine, self._transaction.connection)


class AsyncSchema(Bridge[Schema]):
    """Schema with async methods. Waiting for another process that migrates does not block the event loop."""

    def __init__(self, schema: Schema) -> None:
        self._sync = schema

    upgrade = bridged(Schema.upgrade)
    downgrade = bridged(Schema.downgrade)
    current = bridged(Schema.current)
    head = bridged(Schema.head)
    require_usable = bridged(Schema.require_usable)
    check = bridged(Schema.check)
    damage = bridged(Schema.damage)
    state = bridged(Schema.state)
    adopt = bridged(Schema.adopt)
    sql = bridged(Schema.sql)


class AsyncFineTuningStore(_AsyncRepositories):
    """Fine-tuning jobs in a SQL database, for asyncio: FineTuningStore with the same names and arguments, awaited.

    `AsyncFineTuningStore.from_url(url)` makes an engine that is configured for its database. `AsyncFineTuningStore(engine)` uses an
    AsyncEngine of yours and changes nothing on it. Use a store in the event loop in which it was used first.

    Args:
        engine: An AsyncEngine of SQLAlchemy.
        clock: A function that returns the time in Unix seconds, for tests.
        schema: The schema of a PostgreSQL database that holds the tables, if it is not the one that the database finds by itself.
        host_version_table: The version table of an application whose own Alembic history runs the store's revisions.

    Raises:
        TypeError: `engine` is not an AsyncEngine.
        UnsupportedDatabaseError: The database or the driver is not supported.
        InvalidValueError: `schema` or `host_version_table` is not a name.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        clock: Callable[[], float] = time.time,
        schema: str | None = None,
        host_version_table: str | None = None,
    ) -> None:
        if not isinstance(engine, AsyncEngine):
            raise TypeError(
                f"AsyncFineTuningStore takes an AsyncEngine of SQLAlchemy, not {type(engine).__name__}: for an Engine use "
                "FineTuningStore, for a URL AsyncFineTuningStore.from_url"
            )
        self._bind(FineTuningStore._on(engine.sync_engine, clock, schema, host_version_table))

    def _bind(self, store: FineTuningStore) -> None:
        super().__init__(store._transactions)
        self._sync = store

    @classmethod
    def from_url(
        cls,
        url: str | URL,
        *,
        clock: Callable[[], float] = time.time,
        schema: str | None = None,
        host_version_table: str | None = None,
        transaction_pooler: bool = False,
        read_only: bool = False,
        timeouts: Timeouts | None = None,
        engine_options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Open a store on the database of a URL. It connects on first use. The constructor, also of a subclass, gets its engine.

        Args:
            url: For example `sqlite:///fine_tuning.db`, `postgresql://user@host/name` or `mariadb://user@host/name`.
            clock: As in the constructor.
            schema: As in the constructor.
            host_version_table: As in the constructor.
            transaction_pooler: True if a PgBouncer in transaction mode is between this process and PostgreSQL.
            read_only: True for a store that only reads, for example on a standby, a read replica or a SQLite file of another process.
                Its methods that write raise ReadOnlyStoreError.
            timeouts: How long its calls wait for locks, connections and the network. None for the defaults of Timeouts.
            engine_options: Options of SQLAlchemy's create_engine: `pool_size`, `max_overflow`, `pool_recycle` (seconds), `pool_pre_ping`,
                `pool_use_lifo`, `query_cache_size`, `echo`, `echo_pool`, `logging_name` and `pool_logging_name`.

        Raises:
            UnsupportedDatabaseError: The database or the driver is not supported, or a SQLite database in memory would be read-only.
            EngineConfigurationError: A parameter of the URL is not possible with the driver, or an option of create_engine with a store.
            MissingDriverError: The driver is not installed. The message names the extra to install.
            InvalidValueError: `transaction_pooler` is not possible with this driver, or a name or an option has a wrong value.
            TypeError: The constructor of a subclass takes other arguments.
        """
        require_constructor(cls)
        engine = engines.connect_async(
            url, transaction_pooler=transaction_pooler, read_only=read_only, timeouts=timeouts, engine_options=engine_options
        ).sync_engine
        view = AsyncEngine(engines.for_constructor(engine, read_only=read_only))
        return cls(view, clock=clock, schema=schema, host_version_table=host_version_table)

    @property
    def schema(self) -> AsyncSchema:
        """The migrations of this database. A store of one organization has none: raises AttributeError."""
        return AsyncSchema(self._sync.schema)

    @property
    def retention(self) -> AsyncRetention:
        """What deletes old jobs. A unit of work has none: it deletes in many transactions of its own."""
        return AsyncRetention(self._sync.retention)

    @cached_property
    def engine(self) -> AsyncEngine:
        """The engine, for transactions of your own: the one that you passed, or the store's, whose transactions begin as they should."""
        return AsyncEngine(self._sync.engine)

    @property
    def organization_id(self) -> str | None:
        """The only organization whose rows are visible, None if all are."""
        return self._sync.organization_id

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncUnitOfWork]:
        """Begin a unit of work, as a block: it commits at the end and rolls back on an exception.

        The block is never retried; `run_in_transaction` is for that.
        """
        block = self._sync._transactions.begin()
        transaction = await greenlet_spawn(block.__enter__)
        try:
            yield AsyncUnitOfWork(transaction, self.engine)
            await greenlet_spawn(transaction.require_unfailed)
        except BaseException as error:
            await greenlet_spawn(block.__exit__, type(error), error, error.__traceback__)
            raise
        await greenlet_spawn(block.__exit__, None, None, None)

    async def run_in_transaction(self, function: Callable[[AsyncUnitOfWork], Awaitable[T]], /) -> T:
        """Await a function with a unit of work, commit, and return its result. Retries on deadlocks and serialization failures.

        A retry calls the function again with a new unit, so it must have no effect outside of the unit that may not happen twice.
        """

        def work(transaction: Transaction) -> T:
            result = function(AsyncUnitOfWork(transaction, self.engine))
            if not isawaitable(result):
                raise TypeError("run_in_transaction takes an async function")
            value = wait_for(result)
            transaction.require_unfailed()
            return value

        return await greenlet_spawn(self._sync._transactions.run, work)

    def for_organization(self, organization_id: str) -> Self:
        """Return a view of this store that is restricted to one organization: a copy with repositories of its own. It shares the engine.

        Raises:
            InvalidValueError: The store is restricted to another organization already.
        """
        scoped = copy(self)
        scoped._bind(self._sync.for_organization(organization_id))
        return scoped

    async def close(self) -> None:
        """Close the connections of an engine that `from_url` made.

        An engine of yours stays open, and a store of one organization leaves the engine to the store that it came from.
        """
        await greenlet_spawn(self._sync.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Async{self._sync!r}"

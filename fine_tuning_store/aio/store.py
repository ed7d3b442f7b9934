"""The store, awaited."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from inspect import isawaitable
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import await_only, greenlet_spawn

from fine_tuning_store.aio.bridge import Bridge, bridged
from fine_tuning_store.aio.repositories import (
    AsyncCheckpointPermissionRepository,
    AsyncFineTuningJobCheckpointRepository,
    AsyncFineTuningJobEventRepository,
    AsyncFineTuningJobRepository,
)
from fine_tuning_store.schema import Schema
from fine_tuning_store.sql import engine as engines
from fine_tuning_store.store import FineTuningStore, UnitOfWork
from fine_tuning_store.transactions import TransactionSource

T = TypeVar("T")


class _Repositories:
    """What a store and its units have in common."""

    _scope: TransactionSource

    @cached_property
    def jobs(self) -> AsyncFineTuningJobRepository:
        """The jobs."""
        return AsyncFineTuningJobRepository(self._scope)

    @cached_property
    def events(self) -> AsyncFineTuningJobEventRepository:
        """What happens to jobs."""
        return AsyncFineTuningJobEventRepository(self._scope)

    @cached_property
    def checkpoints(self) -> AsyncFineTuningJobCheckpointRepository:
        """The checkpoints of jobs."""
        return AsyncFineTuningJobCheckpointRepository(self._scope)

    @cached_property
    def checkpoint_permissions(self) -> AsyncCheckpointPermissionRepository:
        """Who may use which model."""
        return AsyncCheckpointPermissionRepository(self._scope)

    @property
    def organization_id(self) -> str | None:
        """The only organization that is seen, None for all."""
        return self._scope.organization_id


class AsyncUnitOfWork(_Repositories):
    """Several calls in one transaction. Its calls are awaited one after the other: a connection does one thing at a time."""

    def __init__(self, unit: UnitOfWork, engine: AsyncEngine) -> None:
        self._scope = unit
        self._unit = unit
        self._engine = engine

    @cached_property
    def connection(self) -> AsyncConnection:
        """The connection of this transaction, for the host's own rows."""
        return AsyncConnection(self._engine, self._unit.connection)


class AsyncSchema(Bridge[Schema]):
    """The migrations, awaited. Waiting for another process that migrates leaves the event loop free."""

    def __init__(self, schema: Schema) -> None:
        self._sync = schema

    upgrade = bridged(Schema.upgrade)
    downgrade = bridged(Schema.downgrade)
    current = bridged(Schema.current)
    head = bridged(Schema.head)
    require_usable = bridged(Schema.require_usable)
    check = bridged(Schema.check)
    state = bridged(Schema.state)
    adopt = bridged(Schema.adopt)
    sql = bridged(Schema.sql)


class AsyncFineTuningStore(_Repositories):
    """Fine-tuning jobs in a SQL database, for asyncio: FineTuningStore with the same names and arguments, awaited.

    `AsyncFineTuningStore.from_url(url)` makes an engine that is set up right for its database; `AsyncFineTuningStore(engine)` uses
    the host's AsyncEngine and changes nothing on it. Use a store in the event loop in which it was used first.
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
        self._set_up(FineTuningStore._over(engine.sync_engine, clock, schema, host_version_table, owns_engine=False))

    def _set_up(self, store: FineTuningStore) -> None:
        self._sync = store
        self._scope = store._units

    @classmethod
    def from_url(
        cls,
        url: str | URL,
        *,
        clock: Callable[[], float] = time.time,
        schema: str | None = None,
        host_version_table: str | None = None,
        transaction_pooler: bool = False,
    ) -> Self:
        """A store on the database of a URL; it connects on first use. `clock` tells Unix seconds, for tests.

        `transaction_pooler` says that a PgBouncer which pools transactions is between us and PostgreSQL.
        Raises UnsupportedDatabaseError, which names the extra to install, for an unknown database, a missing or a sync driver, and
        InvalidValueError for `transaction_pooler` where it means nothing.
        """
        store = cls.__new__(cls)
        engine = engines.connect_async(url, transaction_pooler=transaction_pooler)
        store._set_up(FineTuningStore._over(engine.sync_engine, clock, schema, host_version_table, owns_engine=True))
        return store

    @property
    def schema(self) -> AsyncSchema:
        """The migrations of this database."""
        return AsyncSchema(self._sync.schema)

    @cached_property
    def engine(self) -> AsyncEngine:
        """The engine, for the host's own transactions: the one it gave, or ours with every transaction begun as its database needs."""
        return AsyncEngine(self._sync.engine)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncUnitOfWork]:
        """Several calls in one transaction, as a block: it commits at its end and rolls back when an exception leaves it.

        The block is never run again; `run` is for that.
        """
        block = self._sync.begin()
        unit = await greenlet_spawn(block.__enter__)
        try:
            yield AsyncUnitOfWork(unit, self.engine)
        except BaseException as error:
            await greenlet_spawn(block.__exit__, type(error), error, error.__traceback__)
            raise
        await greenlet_spawn(block.__exit__, None, None, None)

    async def run_in_transaction(self, function: Callable[[AsyncUnitOfWork], Awaitable[T]], /) -> T:
        """Await a function with a unit and commit; do it again, with a new unit, when the transaction lost to another.

        So the function must have no effect outside of the unit that may not happen twice.
        """

        def work(unit: UnitOfWork) -> T:
            answer = function(AsyncUnitOfWork(unit, self.engine))
            if not isawaitable(answer):
                raise TypeError("run takes an async function")
            return await_only(answer)

        return await greenlet_spawn(self._sync.run_in_transaction, work)

    def for_organization(self, organization_id: str) -> AsyncFineTuningStore:
        """The same store, held to one organization: no other one's row can be seen or touched through it. It shares the engine.

        Raises InvalidValueError on a store that is already held to another organization.
        """
        scoped = AsyncFineTuningStore.__new__(type(self))
        scoped._set_up(self._sync.for_organization(organization_id))
        return scoped

    async def close(self) -> None:
        """Close the connections of an engine that `connect` made. A host's engine is left alone, and a store of one organization
        leaves the engine to the store that it came from.
        """
        await greenlet_spawn(self._sync.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Async{self._sync!r}"

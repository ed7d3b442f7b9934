"""The store: the repositories of a database, and units of work that join several calls in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from inspect import iscoroutinefunction, signature
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sqlalchemy import URL, Connection, Engine

from fine_tuning_store.domain.ids import SYSTEM_CLOCK, Clock
from fine_tuning_store.domain.job_validation import check_organization
from fine_tuning_store.engine_transactions import EngineTransactions
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.repositories.checkpoints import FineTuningJobCheckpointRepository
from fine_tuning_store.repositories.events import FineTuningJobEventRepository
from fine_tuning_store.repositories.jobs import FineTuningJobRepository
from fine_tuning_store.repositories.leases import LeaseRepository
from fine_tuning_store.repositories.permissions import CheckpointPermissionRepository
from fine_tuning_store.repositories.retention import Retention
from fine_tuning_store.repositories.statistics import FineTuningJobStatistics
from fine_tuning_store.repositories.transitions import JobTransitionRepository
from fine_tuning_store.schema import Schema, require_usable
from fine_tuning_store.sql import engine as engines
from fine_tuning_store.sql.schema_option import checked_host_version_table, checked_schema, options_of
from fine_tuning_store.sql.timeouts import Timeouts
from fine_tuning_store.sql.urls import shown
from fine_tuning_store.transactions import Transaction, TransactionSource

T = TypeVar("T")


class _Repositories:
    """The repositories of a store or of a unit of work."""

    __slots__ = ("checkpoint_permissions", "checkpoints", "events", "jobs", "leases", "statistics", "transitions")

    def __init__(self, source: TransactionSource) -> None:
        self.jobs: Final = FineTuningJobRepository(source)
        """The jobs."""
        self.events: Final = FineTuningJobEventRepository(source)
        """The events of jobs."""
        self.checkpoints: Final = FineTuningJobCheckpointRepository(source)
        """The checkpoints of jobs."""
        self.checkpoint_permissions: Final = CheckpointPermissionRepository(source)
        """Which projects may use which model."""
        self.leases: Final = LeaseRepository(source)
        """The leases of workers on jobs."""
        self.transitions: Final = JobTransitionRepository(source)
        """The log of transitions."""
        self.statistics: Final = FineTuningJobStatistics(source)
        """Figures about many jobs."""


class UnitOfWork(_Repositories):
    """Several calls in one transaction. It has the repositories of its store, restricted to the same organization."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._transaction = transaction

    @property
    def connection(self) -> Connection:
        """The connection of the transaction, for rows of your own.

        It is not restricted to an organization. Leave COMMIT and ROLLBACK to the store.
        """
        self._transaction.written.anything = True  # perhaps
        return self._transaction.connection


class FineTuningStore(_Repositories):
    """Fine-tuning jobs in a SQL database.

    `FineTuningStore.from_url(url)` makes an engine that is configured for its database. `FineTuningStore(engine)` uses an engine of yours
    and changes nothing on it. Neither runs DDL: `store.schema.upgrade()` does. A call on a database that is not migrated raises
    SchemaVersionError. A store may be shared between threads.

    Args:
        engine: An Engine of SQLAlchemy with a synchronous driver.
        clock: A function that returns the time in Unix seconds, for tests.
        schema: The schema of a PostgreSQL database that holds the tables, if it is not the one that the database finds by itself.
        host_version_table: The version table of an application whose own Alembic history runs the store's revisions.

    Raises:
        TypeError: `engine` is not an Engine.
        UnsupportedDatabaseError: The database or the driver is not supported, or the driver is asynchronous.
        InvalidValueError: `schema` or `host_version_table` is not a name.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], float] = time.time,
        schema: str | None = None,
        host_version_table: str | None = None,
    ) -> None:
        engines.require_sync_engine(engine)
        self._bind(_transactions_on(engine, clock, schema, host_version_table), schema, host_version_table)

    def _bind(self, transactions: EngineTransactions, schema: str | None, host_version_table: str | None) -> None:
        super().__init__(transactions)
        self._transactions = transactions
        self._names = (schema, host_version_table)

    @classmethod
    def _on(cls, engine: Engine, clock: Callable[[], float], schema: str | None, host_version_table: str | None) -> Self:
        """Return a store on an engine of either kind. On an async one its methods must be called in a greenlet of SQLAlchemy."""
        store = cls.__new__(cls)
        store._bind(_transactions_on(engine, clock, schema, host_version_table), schema, host_version_table)
        return store

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
        engine = engines.connect(
            url, transaction_pooler=transaction_pooler, read_only=read_only, timeouts=timeouts, engine_options=engine_options
        )
        view = engines.for_constructor(engine, read_only=read_only)
        return cls(view, clock=clock, schema=schema, host_version_table=host_version_table)

    @property
    def schema(self) -> Schema:
        """The migrations of this database. A store of one organization has none: raises AttributeError."""
        if self.organization_id is not None:
            raise AttributeError("a store of one organization has no schema: use the store that for_organization was called on")
        return Schema(self._transactions.engine, *self._names, read_only=self._transactions.read_only)

    @property
    def retention(self) -> Retention:
        """What deletes old jobs. A unit of work has none: it deletes in many transactions of its own."""
        return Retention(self._transactions)

    @cached_property
    def engine(self) -> Engine:
        """The engine, for transactions of your own: the one that you passed, or the store's, whose transactions begin as they should."""
        engine = self._transactions.engine
        return engines.for_others(engine) if self._transactions.owns_engine else engine

    @property
    def organization_id(self) -> str | None:
        """The only organization whose rows are visible, None if all are."""
        return self._transactions.organization_id

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """Begin a unit of work, as a block: it commits at the end and rolls back on an exception.

        The block is never retried; `run_in_transaction` is for that.
        """
        with self._transactions.begin() as transaction:
            yield UnitOfWork(transaction)
            transaction.require_unfailed()

    def run_in_transaction(self, function: Callable[[UnitOfWork], T], /) -> T:
        """Call a function with a unit of work, commit, and return its result. Retries on deadlocks and serialization failures.

        A retry calls the function again with a new unit, so it must have no effect outside of the unit that may not happen twice.
        """
        if iscoroutinefunction(function):
            raise TypeError("run_in_transaction takes a function that is not async: for an async one use AsyncFineTuningStore")

        def work(transaction: Transaction) -> T:
            result = function(UnitOfWork(transaction))
            transaction.require_unfailed()
            return result

        return self._transactions.run(work)

    def for_organization(self, organization_id: str) -> Self:
        """Return a view of this store that is restricted to one organization: a copy with repositories of its own. It shares the engine.

        Raises:
            InvalidValueError: The store is restricted to another organization already.
        """
        organization_id = check_organization(organization_id)
        if self.organization_id not in (None, organization_id):
            raise InvalidValueError("organization_id", organization_id, f"must be {self.organization_id!r}, the only one of this store")
        scoped = copy(self)
        scoped._bind(self._transactions.restricted_to(organization_id), *self._names)
        return scoped

    def close(self) -> None:
        """Close the connections of an engine that `from_url` made.

        An engine of yours stays open, and a store of one organization leaves the engine to the store that it came from.
        """
        if self._transactions.owns_engine and self.organization_id is None:
            self._transactions.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        scope = "" if self.organization_id is None else f", organization_id={self.organization_id!r}"
        mode = ", read_only=True" if self._transactions.read_only else ""
        return f"{type(self).__name__}({shown(self._transactions.engine.url)!r}{scope}{mode})"


def require_constructor(kind: type[object]) -> None:
    """Raise TypeError unless the constructor of a class of stores can be called as that of FineTuningStore."""
    try:
        signature(kind).bind(None, clock=None, schema=None, host_version_table=None)
    except TypeError as error:
        raise TypeError(
            f"from_url calls {kind.__name__}(engine, clock=..., schema=..., host_version_table=...), which its __init__ does not accept "
            f"({error}): let it take **options and pass them to super().__init__, and give arguments of its own a default"
        ) from None


def _transactions_on(engine: Engine, clock: Callable[[], float], schema: str | None, host_version_table: str | None) -> EngineTransactions:
    """Return the transactions of a store on an engine of the host, or on one that `from_url` made."""
    made = engines.made_from_url(engine)
    own_engine, read_only = made or (engine, False)
    schema = checked_schema(schema, engine.dialect)
    host_version_table = checked_host_version_table(host_version_table)

    def require(connection: Connection) -> None:
        require_usable(connection, schema, host_version_table, read_only=read_only)

    return EngineTransactions(
        own_engine,
        require,
        clock=SYSTEM_CLOCK if clock is time.time else Clock(clock),
        options=options_of(schema),
        owns_engine=made is not None,
        read_only=read_only,
    )

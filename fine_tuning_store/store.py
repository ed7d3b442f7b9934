"""The store: an engine, and units of work on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from inspect import iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, cast

from sqlalchemy import URL, Connection, Engine

from fine_tuning_store.domain import job_validation
from fine_tuning_store.domain.ids import SYSTEM_CLOCK, Clock
from fine_tuning_store.errors import InvalidValueError, UnsupportedDatabaseError
from fine_tuning_store.sql import engine as engines
from fine_tuning_store.sql.schema_option import checked_host_version_table, checked_schema, options_of
from fine_tuning_store.transactions import EngineTransactions, Transaction

if TYPE_CHECKING:  # loaded on first use, so that an import costs little: no process needs them all
    from fine_tuning_store.repositories.checkpoints import FineTuningJobCheckpointRepository
    from fine_tuning_store.repositories.events import FineTuningJobEventRepository
    from fine_tuning_store.repositories.jobs import FineTuningJobRepository
    from fine_tuning_store.repositories.permissions import CheckpointPermissionRepository
    from fine_tuning_store.schema import Schema

T = TypeVar("T")


class UnitOfWork(Transaction):
    """Several calls in one transaction. `connection` is there for the host's own rows."""

    __slots__ = ()

    @property
    def jobs(self) -> FineTuningJobRepository:
        """The jobs, inside this transaction."""
        from fine_tuning_store.repositories.jobs import FineTuningJobRepository

        return FineTuningJobRepository(self)

    @property
    def events(self) -> FineTuningJobEventRepository:
        """What happens to jobs, inside this transaction."""
        from fine_tuning_store.repositories.events import FineTuningJobEventRepository

        return FineTuningJobEventRepository(self)

    @property
    def checkpoints(self) -> FineTuningJobCheckpointRepository:
        """The checkpoints of jobs, inside this transaction."""
        from fine_tuning_store.repositories.checkpoints import FineTuningJobCheckpointRepository

        return FineTuningJobCheckpointRepository(self)

    @property
    def checkpoint_permissions(self) -> CheckpointPermissionRepository:
        """Who may use which model, inside this transaction."""
        from fine_tuning_store.repositories.permissions import CheckpointPermissionRepository

        return CheckpointPermissionRepository(self)


class FineTuningStore:
    """Fine-tuning jobs in a SQL database.

    `FineTuningStore.from_url(url)` makes an engine that is set up right for its database; `FineTuningStore(engine)` uses the
    host's and changes nothing on it. Neither runs DDL: `store.schema.upgrade()` does. Safe to share between threads; after a
    fork, open a new one. A call on an unmigrated database raises SchemaVersionError.

    `schema` names the schema of a PostgreSQL database that the tables are in, where it is not the one that the database looks
    into by itself; `host_version_table` the version table of an application whose own Alembic history runs our revisions.
    """

    def __init__(
        self, engine: Engine, *, clock: Callable[[], float] = time.time, schema: str | None = None, host_version_table: str | None = None
    ) -> None:
        if not isinstance(engine, Engine):
            raise TypeError(
                f"FineTuningStore takes an Engine of SQLAlchemy, not {type(engine).__name__}: for an AsyncEngine use "
                "AsyncFineTuningStore, for a URL FineTuningStore.from_url"
            )
        if engine.dialect.is_async:
            raise UnsupportedDatabaseError(f"{engine.dialect.driver!r} is an async driver and this store is sync: use AsyncFineTuningStore")
        self._set_up(engine, clock, schema, host_version_table, owns_engine=False)

    def _set_up(
        self, engine: Engine, clock: Callable[[], float], schema: str | None, host_version_table: str | None, *, owns_engine: bool
    ) -> None:
        self._named = {
            "schema": checked_schema(schema, engine.dialect),
            "host_version_table": checked_host_version_table(host_version_table),
        }
        self._units = EngineTransactions(
            engine,
            before_first=self._require_usable,
            options=options_of(schema),
            new_unit=UnitOfWork,
            clock=SYSTEM_CLOCK if clock is time.time else Clock(clock),
        )
        self._units.reads_in_autocommit = owns_engine and self._units.database.reads_in_autocommit
        self._owns_engine = owns_engine

    @classmethod
    def _over(
        cls, engine: Engine, clock: Callable[[], float], schema: str | None, host_version_table: str | None, *, owns_engine: bool
    ) -> Self:
        """A store on an engine of either colour. On an async one its calls are made in a greenlet."""
        store = cls.__new__(cls)
        store._set_up(engine, clock, schema, host_version_table, owns_engine=owns_engine)
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
    ) -> Self:
        """A store on the database of a URL; it connects on first use. `clock` tells Unix seconds, for tests.

        `transaction_pooler` says that a PgBouncer which pools transactions is between us and PostgreSQL.
        Raises UnsupportedDatabaseError, which names the extra to install, for an unknown database, a missing or an async driver,
        and InvalidValueError for `transaction_pooler` where it means nothing.
        """
        return cls._over(engines.connect(url, transaction_pooler=transaction_pooler), clock, schema, host_version_table, owns_engine=True)

    @cached_property
    def jobs(self) -> FineTuningJobRepository:
        """The jobs; each call is its own transaction."""
        from fine_tuning_store.repositories.jobs import FineTuningJobRepository

        return FineTuningJobRepository(self._units)

    @cached_property
    def events(self) -> FineTuningJobEventRepository:
        """What happens to jobs; each call is its own transaction."""
        from fine_tuning_store.repositories.events import FineTuningJobEventRepository

        return FineTuningJobEventRepository(self._units)

    @cached_property
    def checkpoints(self) -> FineTuningJobCheckpointRepository:
        """The checkpoints of jobs; each call is its own transaction."""
        from fine_tuning_store.repositories.checkpoints import FineTuningJobCheckpointRepository

        return FineTuningJobCheckpointRepository(self._units)

    @cached_property
    def checkpoint_permissions(self) -> CheckpointPermissionRepository:
        """Who may use which model; each call is its own transaction."""
        from fine_tuning_store.repositories.permissions import CheckpointPermissionRepository

        return CheckpointPermissionRepository(self._units)

    def _require_usable(self, connection: Connection) -> None:
        from fine_tuning_store.schema import require_usable

        require_usable(connection, **self._named)

    @property
    def schema(self) -> Schema:
        """The migrations of this database."""
        from fine_tuning_store.schema import Schema

        return Schema(self._units.engine, **self._named)

    @cached_property
    def engine(self) -> Engine:
        """The engine, for the host's own transactions: the one it gave, or ours with every transaction begun as its database needs."""
        return engines.for_others(self._units.engine) if self._owns_engine else self._units.engine

    @property
    def organization_id(self) -> str | None:
        """The only organization that this store sees, None if it sees all."""
        return self._units.organization_id

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """Several calls in one transaction, as a block: it commits at its end and rolls back when an exception leaves it.

        The block is never run again; `run` is for that.
        """
        with self._units.begin() as unit:
            yield cast("UnitOfWork", unit)
            unit.require_unfailed()

    def run_in_transaction(self, function: Callable[[UnitOfWork], T], /) -> T:
        """Call a function with a unit and commit; call it again, with a new one, when the transaction lost to another.

        So the function must have no effect outside of the unit that may not happen twice.
        """
        if iscoroutinefunction(function):
            raise TypeError("run takes a function that is not async: for an async one use AsyncFineTuningStore")

        def work(unit: Transaction) -> T:
            answer = function(cast("UnitOfWork", unit))
            unit.require_unfailed()
            return answer

        return self._units.write(work)

    def for_organization(self, organization_id: str) -> FineTuningStore:
        """The same store, held to one organization: no other one's row can be seen or touched through it. It shares the engine.

        Raises InvalidValueError on a store that is already held to another organization.
        """
        job_validation.organization(organization_id)
        if self.organization_id not in (None, organization_id):
            raise InvalidValueError("organization_id", organization_id, f"must be {self.organization_id!r}, the only one of this store")
        scoped = FineTuningStore.__new__(type(self))
        scoped._units = replace(self._units, organization_id=organization_id)
        scoped._owns_engine = self._owns_engine
        scoped._named = self._named
        return scoped

    def close(self) -> None:
        """Close the connections of an engine that `connect` made. A host's engine is left alone, and a store of one organization
        leaves the engine to the store that it came from.
        """
        if self._owns_engine and self.organization_id is None:
            self._units.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        scope = "" if self.organization_id is None else f", organization_id={self.organization_id!r}"
        return f"{type(self).__name__}({engines.shown(self._units.engine.url)!r}{scope})"

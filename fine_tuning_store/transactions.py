"""Where statements run.

A repository method is a function of a `Transaction`: one connection, one transaction, perhaps one organization. `@reads` and
`@writes` hide the unit from the caller and ask the repository's scope for it:

- `EngineTransactions` opens a unit a call on an engine, and runs it again when it lost to another transaction;
- `Transaction` is itself a scope: work given to it joins it;
- `SessionTransactions` takes the connection of a host's Session, which commits and rolls back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, CursorResult, Delete, Engine, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, scoped_session

from fine_tuning_store.domain.ids import SYSTEM_CLOCK, Clock
from fine_tuning_store.errors import UnitEndedError
from fine_tuning_store.open_units import ReentrancyGuard, StoreState
from fine_tuning_store.sql.dialects import Database, database_for
from fine_tuning_store.sql.retries import retry
from fine_tuning_store.sql.statements import within_organization
from fine_tuning_store.sql.tables import jobs

logger = logging.getLogger(__name__)

T = TypeVar("T")

Statement = Select[Any] | Insert | Update | Delete


class TransactionSource(Protocol):
    """Where a repository's units come from, which organization they see (None: all), and which clock they read."""

    @property
    def organization_id(self) -> str | None:
        """The only organization whose rows are seen, None for all."""

    @property
    def clock(self) -> Clock:
        """What tells the time and makes ids."""

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run work that only reads."""

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run work that writes, in one transaction."""

    def add(self, work: Callable[[Transaction], T]) -> T:
        """Run work that writes and changes nothing that is there already."""


@dataclass(slots=True)
class Transaction:
    """One connection inside one transaction. A unit of an organization sees and changes that organization's rows only."""

    connection: Connection
    organization_id: str | None = None
    clock: Clock = SYSTEM_CLOCK
    options: Mapping[str, Any] | None = None  #: of each execution: those of the connection are its host's
    lost: DBAPIError | None = None  #: the error with which the transaction lost to another one, and was undone

    def run(self, statement: Statement, rows: Any = None, /, **parameters: object) -> CursorResult[Any]:
        """Run a statement of ours, held to the unit's organization. The only way in which repositories reach the database."""
        if self.organization_id is not None and not isinstance(statement, Insert):
            statement = within_organization(statement)
            parameters["within_organization"] = self.organization_id
        return self._execute(statement, parameters if rows is None else rows)

    def run_for_all(self, statement: Statement, /, **parameters: object) -> CursorResult[Any]:
        """Run a statement of ours over the rows of every organization."""
        return self._execute(statement, parameters)

    def _execute(self, statement: Statement, rows: Any) -> CursorResult[Any]:
        try:
            return self.connection.execute(statement, rows, execution_options=self.options)
        except DBAPIError as error:
            if self.database.is_retryable(error):
                self.lost = error
            raise

    @property
    def database(self) -> Database:
        """The database of the connection."""
        return database_for(self.connection.dialect)

    def require_unfailed(self) -> None:
        """Raise the database's error if it has given the transaction up: whoever ran the statement may have caught it."""
        if self.lost is not None:
            raise self.lost
        if self.connection.in_transaction() and self.database.errors_end_transactions:
            self.database.refuse_failed_transaction(self.connection)

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Join this unit."""
        return work(self)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Join this unit. What the work reads stays true until it writes, also on a host's SQLite engine with the driver's defaults."""
        self.database.begin_write_in_host(self.connection)
        return work(self)

    add = write


@dataclass(slots=True)
class SessionTransactions:
    """The transaction of a host's Session. What the host has pending is flushed first, as its own queries would do."""

    session: Session | scoped_session[Any]
    organization_id: str | None = None
    clock: Clock = SYSTEM_CLOCK
    options: Mapping[str, Any] | None = None

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run in the host's transaction, behind what the host has pending."""
        return self._flushed().read(work)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """The same for work that writes."""
        return self._flushed().write(work)

    def add(self, work: Callable[[Transaction], T]) -> T:
        """The same without a flush: what is pending may refer to a job that is only now added."""
        return self._unit().write(work)

    def _flushed(self) -> Transaction:
        if self.session.autoflush:
            self.session.flush()
        return self._unit()

    def _unit(self) -> Transaction:
        """The connection is asked for anew: it changes with each transaction."""
        return Transaction(self.session.connection(bind_arguments={"clause": jobs}), self.organization_id, self.clock, self.options)


@dataclass(slots=True)
class EngineTransactions:
    """Units on an engine: each begins, commits or rolls back, and gives its connection back."""

    engine: Engine
    before_first: Callable[[Connection], None]
    """Called once with a connection, before the first unit's own statements. It raises if the schema is not ready."""
    organization_id: str | None = None
    clock: Clock = SYSTEM_CLOCK
    options: Mapping[str, Any] | None = None
    new_unit: Callable[[Connection, str | None, Clock, Mapping[str, Any] | None], Transaction] = Transaction
    reads_in_autocommit: bool = False
    """Whether a single read goes without BEGIN. For engines of ours: a host's listeners may count on its transactions."""
    database: Database = field(init=False)
    _readers: Engine = field(init=False, repr=False)
    """A view of the engine for units that only read. Our own engines begin nothing for them; a host's may have listeners that do."""
    _state: StoreState = field(default_factory=StoreState, repr=False)

    def __post_init__(self) -> None:
        self.database = database_for(self.engine.dialect)
        self._readers = self.engine.execution_options(**self.database.read_options) if self.database.read_options else self.engine

    def read(self, work: Callable[[Transaction], T]) -> T:
        """One unit that only reads: on PostgreSQL a single round trip, on SQLite without a lock on writers."""
        return self._again(self._read_once, work, also_disconnected=True)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """One transaction, run again as a whole when it lost to another one. COMMIT is part of the attempt."""
        return self._again(self._write_once, work)

    add = write

    def _read_once(self, work: Callable[[Transaction], T]) -> T:
        with self._alone(), self._readers.connect() as connection:
            if not self.reads_in_autocommit:
                answer = work(self._unit(connection))
                if self.database.rollback_discards_prepared_statements:
                    connection.commit()
                return answer
            driver: Any = connection.connection.dbapi_connection
            before, driver.autocommit = driver.autocommit, True  # by way of SQLAlchemy's isolation_level it takes five times as long
            try:
                return work(self._unit(connection))
            finally:
                if not connection.invalidated:
                    driver.autocommit = before

    def _write_once(self, work: Callable[[Transaction], T]) -> T:
        with self.begin() as unit:
            return work(unit)

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """A unit as a block: committed at its end, rolled back when an exception leaves it, never run again."""
        with self._alone(), self.engine.connect() as connection:
            unit = self._unit(connection)
            with connection.begin() as transaction:
                self.database.begin_write(connection)
                yield unit
                if not transaction.is_active:
                    raise UnitEndedError

    def _unit(self, connection: Connection) -> Transaction:
        if not self._state.ready:
            if not self.reads_in_autocommit:
                self.database.refuse_autocommit(connection)
            self.before_first(connection)
            connection.commit()  # ends what the look began, so that the unit's own transaction may begin
            self._state.ready = True
        return self.new_unit(connection, self.organization_id, self.clock, self.options)

    def _again(
        self, once: Callable[[Callable[[Transaction], T]], T], work: Callable[[Transaction], T], *, also_disconnected: bool = False
    ) -> T:
        return retry(lambda: once(work), self.engine.dialect, also_disconnected=also_disconnected)

    def _alone(self) -> ReentrancyGuard:
        return ReentrancyGuard(self._state, asyncio.current_task() if self.engine.dialect.is_async else get_ident())

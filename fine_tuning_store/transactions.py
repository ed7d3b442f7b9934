"""Transactions: what repository methods run in.

A repository method is a function of a `Transaction`: one connection, one database transaction, perhaps one organization. The repository
asks its `TransactionSource` for it:

- `EngineTransactions` begins a transaction for each call on an engine, and retries it as a whole if it lost to another one;
- a `Transaction` is itself a source: the work joins it;
- `SessionTransactions` in sessions.py uses the transaction of a host's Session, which the host commits and rolls back.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol, TypeVar, cast

from sqlalchemy import Connection, CursorResult, Delete, Engine, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from fine_tuning_store.domain.ids import SYSTEM_CLOCK, Clock
from fine_tuning_store.errors import ReadOnlyStoreError, StoreBusyError, UnitEndedError
from fine_tuning_store.reentrancy import ReentrancyGuard
from fine_tuning_store.sql.dialects import Database, database_for
from fine_tuning_store.sql.dialects.base import is_pooled
from fine_tuning_store.sql.queries.jobs import within_organization
from fine_tuning_store.sql.timeouts import LOCK_TIMEOUT
from fine_tuning_store.sql.waiting import finish, sleep

_logger = logging.getLogger(__name__)

T = TypeVar("T")
Statement = Select[Any] | Insert | Update | Delete

#: How often a transaction is tried, and for how many seconds new tries are begun.
MAX_ATTEMPTS: Final = 6
RETRY_SECONDS: Final = 30.0


class TransactionSource(Protocol):
    """Where the transactions of a repository come from."""

    @property
    def organization_id(self) -> str | None:
        """The only organization whose rows are visible, None for all."""

    @property
    def clock(self) -> Clock:
        """The source of times and ids."""

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run work that only reads."""

    def write(self, work: Callable[[Transaction], T], *, flush: bool = True, in_one_statement: bool = False) -> T:
        """Run work that writes, in one transaction. With `flush`, what a host's Session has pending is written first.

        With `in_one_statement`, the work is a single statement, which needs no BEGIN and COMMIT around it.

        Raises ReadOnlyStoreError in a read-only store.
        """


@dataclass(slots=True)
class Transaction:
    """One connection inside one transaction. With an organization, no other organization's rows are visible."""

    connection: Connection
    database: Database
    organization_id: str | None = None
    clock: Clock = SYSTEM_CLOCK
    options: Mapping[str, Any] | None = None  #: execution options of each statement: those of the connection are its host's
    read_only: bool = False
    lost: DBAPIError | None = None  #: the error with which the database undid the transaction in favor of another one
    has_ended: bool = False  #: True after the block of a unit of work

    def execute(self, statement: Statement, rows: Any = None, /, **parameters: object) -> CursorResult[Any]:
        """Execute a statement, restricted to the organization. Repositories have no other way to the database than this and the next."""
        if self.organization_id is not None and not isinstance(statement, Insert):
            statement = within_organization(statement)
            parameters["within_organization"] = self.organization_id
        return self._execute(statement, parameters if rows is None else rows)

    def execute_unscoped(self, statement: Statement, /, **parameters: object) -> CursorResult[Any]:
        """Execute a statement on the rows of every organization."""
        return self._execute(statement, parameters)

    def _execute(self, statement: Statement, rows: Any) -> CursorResult[Any]:
        try:
            return self.connection.execute(statement, rows, execution_options=self.options)
        except DBAPIError as error:
            if self.database.is_busy(error) or self.database.is_retryable(error):
                self.lost = error  # also if busy: of MariaDB's transaction only the statement is undone
            _raise_own(self.connection, self.database, error)
            raise

    @property
    def reads_before_locking(self) -> bool:
        """True if a row must be read before it is locked, because the database would lock rows of other organizations, too."""
        return self.organization_id is not None and self.database.locks_before_filtering

    def require_unfailed(self) -> None:
        """Raise the error that ended the transaction in the database, if the caller caught it: a COMMIT would do nothing."""
        if self.lost is not None:
            raise self.lost
        if self.connection.in_transaction() and self.database.errors_end_transactions:
            self.database.refuse_failed_transaction(self.connection)

    def _require_open(self) -> None:
        if self.has_ended:
            raise UnitEndedError

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Join this transaction. Raises UnitEndedError after the block of a unit of work."""
        self._require_open()
        return work(self)

    def write(self, work: Callable[[Transaction], T], *, flush: bool = True, in_one_statement: bool = False) -> T:  # noqa: ARG002
        """Join this transaction. What the work reads stays true until it writes, also on a host's SQLite engine with default settings."""
        self._require_open()
        if self.read_only:
            raise ReadOnlyStoreError
        self.database.begin_write_in_host(self.connection)
        return work(self)


@dataclass(slots=True, eq=False)
class _StoreState:
    """What the views of one store share. Its identity is the store's."""

    is_usable: bool = False


@dataclass(slots=True)
class EngineTransactions:
    """Transactions on an engine: each begins, commits or rolls back, and returns its connection to the pool."""

    engine: Engine
    require_usable: Callable[[Connection], None]
    """Called with a connection before the first statement of a store. Raises if the schema cannot be used."""
    organization_id: str | None = None
    clock: Clock = SYSTEM_CLOCK
    options: Mapping[str, Any] | None = None
    owns_engine: bool = False
    """True for an engine made from a URL. The listeners of a host's engine may rely on its transactions."""
    read_only: bool = False
    """True for a read-only store: its units of work read, and nothing writes."""
    database: Database = field(init=False)
    _readers: Engine = field(init=False, repr=False)
    """The engine with the options of transactions that only read."""
    _autocommits: bool = field(init=False, repr=False)
    """False behind a transaction pooler: a statement could be prepared on one server connection and executed on another."""
    _writes_to: object = field(default=..., repr=False)
    """See `Database.sole_writer_of`. Views of a store take it over."""
    _state: _StoreState = field(default_factory=_StoreState, repr=False)

    def __post_init__(self) -> None:
        self.database = database_for(self.engine.dialect)
        if self._writes_to is ...:
            self._writes_to = None if self.read_only else self.database.sole_writer_of(self.engine.url)
        self._autocommits = self.owns_engine and self.database.commits_single_statements and not is_pooled(self.engine)
        self._readers = self.engine.execution_options(**self.database.read_options) if self.database.read_options else self.engine

    def __reduce__(self) -> NoReturn:
        raise TypeError("a store and its repositories cannot be pickled: send the URL, and open a store in each process")

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run work that only reads: on PostgreSQL in one round trip, on SQLite without waiting for writers."""
        return retry(lambda: self._read(work), self.database, is_async=self.engine.dialect.is_async, also_disconnected=True)

    def write(self, work: Callable[[Transaction], T], *, flush: bool = True, in_one_statement: bool = False) -> T:  # noqa: ARG002
        """Run work that writes in a transaction, as `run` does. Raises ReadOnlyStoreError in a read-only store."""
        if self.read_only:
            raise ReadOnlyStoreError
        if not (in_one_statement and self._autocommits):
            return self.run(work)

        def write() -> T:
            with self._guard(), self._connect(self.engine) as connection:
                return finish(lambda: self._in_autocommit(connection, work), is_async=self.engine.dialect.is_async)

        return retry(write, self.database, is_async=self.engine.dialect.is_async)

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run work in a transaction, which is retried as a whole, COMMIT included, if it lost to another one."""
        return retry(lambda: self._run(work), self.database, is_async=self.engine.dialect.is_async, also_disconnected=self.read_only)

    def _read(self, work: Callable[[Transaction], T]) -> T:
        with self._guard(), self._connect(self._readers) as connection:
            if self._autocommits:
                return self._in_autocommit(connection, work)
            result = work(self._transaction(connection))
            if self.database.rollback_discards_prepared_statements:
                connection.commit()
            return result

    def _in_autocommit(self, connection: Connection, work: Callable[[Transaction], T]) -> T:
        driver: Any = connection.connection.dbapi_connection
        before = driver.autocommit
        try:  # psycopg may cancel a task once it has set it
            driver.autocommit = True  # through SQLAlchemy's isolation_level it takes five times as long
            return work(self._transaction(connection))
        finally:
            if not connection.invalidated:
                driver.autocommit = before

    def _run(self, work: Callable[[Transaction], T]) -> T:
        with self.begin() as transaction:
            return work(transaction)

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """Yield a transaction that commits at the end of the block, rolls back on an exception, and is never retried."""
        with self._guard(self._writes_to), self._connect(self.engine) as connection:
            transaction = self._transaction(connection)
            try:
                with connection.begin() as begun:
                    self._begin(connection)
                    yield transaction
                    if not begun.is_active:
                        raise UnitEndedError
                    self.database.before_commit(connection)
                    finish(begun.commit, is_async=self.engine.dialect.is_async)
            finally:
                transaction.has_ended = True

    def _connect(self, engine: Engine) -> Connection:
        try:
            return engine.connect()
        except PoolTimeoutError as error:
            if not self.owns_engine:
                raise
            raise StoreBusyError("connection", cast("QueuePool", engine.pool).timeout()) from error

    def _begin(self, connection: Connection) -> None:
        try:
            (self.database.begin if self.read_only else self.database.begin_write)(connection)
        except DBAPIError as error:
            _raise_own(connection, self.database, error)
            raise

    def _transaction(self, connection: Connection) -> Transaction:
        if not self._state.is_usable:
            database_for(connection.dialect)  # refuses the server if it is not supported
            if not self._autocommits:
                self.database.refuse_autocommit(connection)
            self.require_usable(connection)
            connection.commit()  # ends what the check began
            self._state.is_usable = True
        return Transaction(connection, self.database, self.organization_id, self.clock, self.options, self.read_only)

    def _guard(self, writes_to: object = None) -> ReentrancyGuard:
        return ReentrancyGuard(self._state, self.engine, writes_to)


def _raise_own(connection: Connection, database: Database, error: DBAPIError) -> None:
    """Raise this package's error for a lock that was not free, or a write that the database refuses, if the engine is the store's."""
    seconds = connection.get_execution_options().get(LOCK_TIMEOUT)
    if seconds is None:
        return
    if database.is_busy(error):
        raise StoreBusyError("lock", seconds) from error
    if database.refuses_writes(error):
        raise ReadOnlyStoreError("its database, user or file is read-only now") from error


def retry(attempt: Callable[[], T], database: Database, *, is_async: bool, also_disconnected: bool = False) -> T:
    """Run a transaction, again if it was undone in favor of another one or, with `also_disconnected`, if the connection was lost."""
    started = time.monotonic()
    for number in range(1, MAX_ATTEMPTS):
        try:
            return attempt()
        except DBAPIError as error:
            retryable = database.is_retryable(error) or (also_disconnected and error.connection_invalidated)
            if not retryable or time.monotonic() - started > RETRY_SECONDS:
                raise
            _logger.info("attempt %d of a transaction failed (%s): retrying", number, database.error_code(error))
        sleep(random.uniform(0, 0.005 * 2**number), is_async=is_async)
    return attempt()

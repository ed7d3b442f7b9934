"""The transactions of a store: each begins, commits or rolls back on its engine, and is run again where nothing can happen twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from fine_tuning_store.domain.ids import SYSTEM_CLOCK, Clock
from fine_tuning_store.errors import OutcomeUnknownError, ReadOnlyStoreError, StoreBusyError, UnitEndedError
from fine_tuning_store.outcomes import Written
from fine_tuning_store.reentrancy import ReentrancyGuard
from fine_tuning_store.retries import retry
from fine_tuning_store.sql.dialects import Database, database_for
from fine_tuning_store.sql.dialects.base import is_pooled
from fine_tuning_store.sql.waiting import finish
from fine_tuning_store.transactions import AtOnce, Transaction, raise_own

T = TypeVar("T")


class _AnswerLostError(Exception):
    """The connection was lost while COMMIT was under way."""

    def __init__(self, error: DBAPIError) -> None:
        super().__init__(error)
        self.error = error


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
    _writes_to: object = field(init=False, repr=False)
    """See `Database.sole_writer_of`."""
    _state: _StoreState = field(default_factory=_StoreState, repr=False)

    def __post_init__(self) -> None:
        self.database = database_for(self.engine.dialect)
        self._writes_to = None if self.read_only else self.database.sole_writer_of(self.engine.url)
        self._autocommits = self.owns_engine and self.database.commits_single_statements and not is_pooled(self.engine)
        self._readers = self.engine.execution_options(**self.database.read_options) if self.database.read_options else self.engine

    def restricted_to(self, organization_id: str) -> EngineTransactions:
        """Return transactions of the same store that see one organization only.

        Services make them for each request, so nothing is computed anew.
        """
        view = object.__new__(EngineTransactions)
        for name in self.__slots__:
            setattr(view, name, getattr(self, name))
        view.organization_id = organization_id
        return view

    def __reduce__(self) -> NoReturn:
        raise TypeError("a store and its repositories cannot be pickled: send the URL, and open a store in each process")

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run work that only reads: on PostgreSQL in one round trip, on SQLite without waiting for writers."""
        return retry(lambda: self._read(work), self.database, is_async=self.engine.dialect.is_async, also_disconnected=True)

    def read_snapshot(self, work: Callable[[Transaction], T]) -> T:
        """Run work that only reads, all of it as of one moment."""
        return retry(lambda: self._read_snapshot(work), self.database, is_async=self.engine.dialect.is_async, also_disconnected=True)

    def _read_snapshot(self, work: Callable[[Transaction], T]) -> T:
        with self._guard(), self._connect(self._readers.execution_options(**self.database.snapshot_options)) as connection:
            transaction = self._transaction(connection)
            with connection.begin():
                self.database.begin(connection)
                return work(transaction)

    def write(self, work: Callable[[Transaction], T], *, flush: bool = True, at_once: Callable[[], AtOnce[T]] | None = None) -> T:  # noqa: ARG002
        """Run work that writes in a transaction, as `run` does. Raises ReadOnlyStoreError in a read-only store."""
        if self.read_only:
            raise ReadOnlyStoreError
        if at_once is not None and self._autocommits:
            single = at_once()
            done = self._retry(lambda: self._at_once(single))
            if done is not None:
                return done
        return self.run(work)

    def _at_once(self, single: AtOnce[T]) -> T | None:
        try:
            with self._guard(), self._connect(self.engine) as connection:
                return finish(lambda: self._in_autocommit(connection, single.execute), is_async=self.engine.dialect.is_async)
        except DBAPIError as error:
            if self.database.is_permission_error(error):
                return None  # policies of row level security see no row that the same statement inserts
            found = self._found_out(single.recover, single.ids) if error.connection_invalidated else None
            if found is None:
                raise
            return found

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run work in a transaction, which is retried as a whole, COMMIT included, if it lost to another one."""
        return self._retry(lambda: self._run(work))

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

    def _retry(self, attempt: Callable[[], T], *, is_lost: bool = False) -> T:
        return retry(attempt, self.database, is_async=self.engine.dialect.is_async, also_disconnected=self.owns_engine, is_lost=is_lost)

    def _run(self, work: Callable[[Transaction], T]) -> T:
        with self.begin() as transaction:
            return work(transaction)

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """Yield a transaction that commits at the end of the block, rolls back on an exception, and is never retried.

        If the answer to the COMMIT is lost, its outcome is found out: the error of a lost connection says that nothing was stored.
        """
        try:
            with self._guard(self._writes_to), self._connect(self.engine) as connection:
                transaction = self._transaction(connection)
                try:
                    with connection.begin() as begun:
                        self._begin(connection)
                        yield transaction
                        if not begun.is_active:
                            raise UnitEndedError
                        self.database.before_commit(connection)
                        try:
                            finish(begun.commit, is_async=self.engine.dialect.is_async)
                        except DBAPIError as error:
                            if self.owns_engine and not self.read_only and error.connection_invalidated:
                                raise _AnswerLostError(error) from error
                            if not connection.invalidated:
                                connection.connection.rollback()  # SQLite keeps a transaction whose COMMIT a deferred constraint refused
                            raise
                finally:
                    transaction.has_ended = True
        except _AnswerLostError as lost:
            self._find_out(transaction.written, lost.error)

    def _find_out(self, written: Written, error: DBAPIError) -> None:
        """Return if the transaction was committed.

        Raises:
            DBAPIError: It was not. This is the error of the lost connection.
            OutcomeUnknownError: It cannot be known.
        """
        if not written.anything:
            return
        if written.table is None:
            raise OutcomeUnknownError(written.ids) from error
        if not self._found_out(lambda transaction: transaction.finds(written), written.ids):
            raise error

    def _found_out(self, look: Callable[[Transaction], T], ids: Sequence[str]) -> T:
        """Return what is found in a transaction that is rolled back. Raises OutcomeUnknownError, with the ids, if nothing can be found."""
        try:
            return self._retry(lambda: self._look(look), is_lost=True)
        except (DBAPIError, StoreBusyError) as failure:
            raise OutcomeUnknownError(ids) from failure

    def _look(self, look: Callable[[Transaction], T]) -> T:
        with self._connect(self.engine) as connection:
            transaction = self._transaction(connection)
            begun = connection.begin()
            try:
                self._begin(connection)
                return look(transaction)
            except DBAPIError as error:
                raise_own(connection, self.database, error)
                raise
            finally:
                begun.rollback()

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
            raise_own(connection, self.database, error)
            raise

    def _transaction(self, connection: Connection) -> Transaction:
        if not self._state.is_usable:
            database_for(connection.dialect)  # refuses the server if it is not supported
            if not self._autocommits:
                self.database.refuse_autocommit(connection)
            if not self.owns_engine:
                self.database.refuse_private_database(connection)
            self.require_usable(connection)
            connection.commit()  # ends what the check began
            self._state.is_usable = True
        return Transaction(connection, self.database, self.organization_id, self.clock, self.options, self.read_only, is_own=True)

    def _guard(self, writes_to: object = None) -> ReentrancyGuard:
        return ReentrancyGuard(self._state, self.engine, writes_to)

"""Transactions: what repository methods run in.

A repository method is a function of a `Transaction`: one connection, one database transaction, perhaps one organization. The repository
asks its `TransactionSource` for it:

- `EngineTransactions` begins a transaction for each call on an engine, and retries it as a whole if it lost to another one;
- a `Transaction` is itself a source: the work joins it;
- `SessionTransactions` in sessions.py uses the transaction of a host's Session, which the host commits and rolls back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, CursorResult, Delete, Insert, Select, Update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fine_tuning_store.domain.ids import SYSTEM_CLOCK, Clock
from fine_tuning_store.errors import FineTuningStoreError, ReadOnlyStoreError, StoreBusyError, UnitEndedError
from fine_tuning_store.outcomes import Written, is_stored
from fine_tuning_store.sql.dialects import Database
from fine_tuning_store.sql.queries.jobs import within_organization
from fine_tuning_store.sql.timeouts import LOCK_TIMEOUT

T = TypeVar("T")
Statement = Select[Any] | Insert | Update | Delete


@dataclass(frozen=True, slots=True)
class AtOnce(Generic[T]):
    """A write as a single statement."""

    execute: Callable[[Transaction], T | None]
    """Executes it. Returns None if it did nothing: then the write is done in a transaction."""
    recover: Callable[[Transaction], T | None]
    """Returns the result of one that took effect although its connection was lost, None if it did not."""
    ids: tuple[str, ...] = ()
    """The ids of what it writes, for an error."""


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

    def write(self, work: Callable[[Transaction], T], *, flush: bool = True, at_once: Callable[[], AtOnce[T]] | None = None) -> T:
        """Run work that writes, in one transaction. With `flush`, what a host's Session has pending is written first.

        With `at_once`, the store uses the single statement that it returns where that saves the round trips of BEGIN and COMMIT.

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
    is_own: bool = False  #: True if the store has begun it, False if the host has
    lost: DBAPIError | None = None  #: the error with which the database undid the transaction in favor of another one
    has_ended: bool = False  #: True after the block of a unit of work
    written: Written = field(default_factory=Written)  #: by which the outcome of a COMMIT can be found whose answer was lost
    process: int = field(default_factory=os.getpid)  #: the process that has opened the connection

    def execute(self, statement: Statement, rows: Any = None, /, **parameters: object) -> CursorResult[Any]:
        """Execute a statement, restricted to the organization. Repositories have no other way to the database than this and the next."""
        if self.organization_id is not None and not isinstance(statement, Insert):
            statement = within_organization(statement)
            parameters["within_organization"] = self.organization_id
        return self._execute(statement, parameters if rows is None else rows)

    def execute_unscoped(self, statement: Statement, rows: Any = None, /, **parameters: object) -> CursorResult[Any]:
        """Execute a statement on the rows of every organization."""
        return self._execute(statement, parameters if rows is None else rows)

    def _execute(self, statement: Statement, rows: Any) -> CursorResult[Any]:
        if not isinstance(statement, Select):
            self.written.anything = True
        try:
            return self.connection.execute(statement, rows, execution_options=self.options)
        except DBAPIError as error:
            if self.database.is_busy(error) or self.database.is_retryable(error):
                self.lost = error  # also if busy: of MariaDB's transaction only the statement is undone
            raise_own(self.connection, self.database, error)
            raise
        except Exception as error:
            if self.is_own and self.database.has_server and not isinstance(error, (SQLAlchemyError, FineTuningStoreError)):
                self.connection.invalidate(error)  # a signal handler raised it: the response to the statement may still be under way
            raise

    @property
    def reads_before_locking(self) -> bool:
        """True if a row must be read before it is locked, because the database would lock rows of other organizations, too."""
        return self.organization_id is not None and self.database.locks_before_filtering

    def finds(self, written: Written) -> bool:
        """Return whether a transaction that lost its connection was stored. Waits until the server has finished it."""
        return is_stored(self.connection, self.database, written, self.options)

    def require_unfailed(self) -> None:
        """Raise the error that ended the transaction in the database, if the caller caught it: a COMMIT would do nothing."""
        if self.lost is not None:
            raise self.lost
        if self.connection.in_transaction() and self.database.errors_end_transactions:
            self.database.refuse_failed_transaction(self.connection)

    def _require_open(self) -> None:
        if self.has_ended:
            raise UnitEndedError
        if self.process != os.getpid():
            raise UnitEndedError("or connection belongs to the process from which this one was forked: use it there only")

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Join this transaction. Raises UnitEndedError after the block of a unit of work, and in a forked process."""
        self._require_open()
        return work(self)

    def write(self, work: Callable[[Transaction], T], *, flush: bool = True, at_once: Callable[[], AtOnce[T]] | None = None) -> T:  # noqa: ARG002
        """Join this transaction. What the work reads stays true until it writes, also on a host's SQLite engine with default settings."""
        self._require_open()
        if self.read_only:
            raise ReadOnlyStoreError
        if not self.is_own:
            self.database.begin_write_in_host(self.connection)
        return work(self)


def raise_own(connection: Connection, database: Database, error: DBAPIError) -> None:
    """Raise this package's error for a lock that was not free, or a write that the database refuses, if the engine is the store's."""
    seconds = connection.get_execution_options().get(LOCK_TIMEOUT)
    if seconds is None:
        return
    if database.is_busy(error):
        raise StoreBusyError("lock", seconds) from error
    if database.refuses_writes(error):
        raise ReadOnlyStoreError("its database, user or file is read-only now") from error

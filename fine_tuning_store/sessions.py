"""The transactions of a host's Session, which may be on several engines: the Session's `get_bind` chooses one for each call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from weakref import WeakSet

from sqlalchemy import Dialect, select, update
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from fine_tuning_store.domain.ids import SYSTEM_CLOCK, Clock
from fine_tuning_store.sql.dialects import database_for
from fine_tuning_store.sql.models import JobRow
from fine_tuning_store.transactions import AtOnce, Transaction

T = TypeVar("T")

#: What `get_bind` is called with: by the mapper it may find an entry of `binds` or a shard, by the statement the leader or a follower.
_READ: Final[Mapping[str, Any]] = {"mapper": JobRow.__mapper__, "clause": select(JobRow)}
_WRITE: Final[Mapping[str, Any]] = {"mapper": JobRow.__mapper__, "clause": update(JobRow)}

#: The transactions of Sessions that a repository has written in. It goes on to read where it wrote: a follower does not have that yet.
_written: Final[WeakSet[SessionTransaction]] = WeakSet()


@dataclass(slots=True)
class SessionTransactions:
    """The transactions of a host's Session, one after the other."""

    session: Session | scoped_session[Any]
    organization_id: str | None = None
    clock: Clock = SYSTEM_CLOCK
    options: Mapping[str, Any] | None = None

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Join the transaction of the Session. Pending rows are flushed first, as by the Session's own queries."""
        return self._current(flush=True, writes=False).read(work)

    def write(self, work: Callable[[Transaction], T], *, flush: bool = True, at_once: Callable[[], AtOnce[T]] | None = None) -> T:  # noqa: ARG002
        """Join the transaction of the Session. Without `flush`, pending rows may refer to a job that the work adds."""
        return self._current(flush=flush, writes=True).write(work)

    def _current(self, *, flush: bool, writes: bool) -> Transaction:
        session = current_session(self.session)
        if flush and session.autoflush:
            session.flush()
        writes = writes or session.get_transaction() in _written
        connection = session.connection(bind_arguments=dict(_WRITE if writes else _READ))  # another one in each transaction
        if writes and (transaction := session.get_transaction()) is not None:
            _written.add(transaction)
        return Transaction(connection, database_for(connection.dialect), self.organization_id, self.clock, self.options)


def current_session(session: Session | scoped_session[Any]) -> Session:
    """Return the Session, of a scoped_session that of this scope."""
    return session() if isinstance(session, scoped_session) else session


def dialect_of(session: Session | scoped_session[Any]) -> Dialect:
    """Return the dialect of the database that a Session reads jobs from."""
    return current_session(session).get_bind(**_READ).dialect

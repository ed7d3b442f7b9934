"""The migration lock of a Galera cluster, each node of which would grant the same GET_LOCK: a row that says who migrates, and until when.

The row is renewed beside the migration, so a process that died is soon known to be dead. The time in it is the database's.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    MetaData,
    SmallInteger,
    String,
    Table,
    delete,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from fine_tuning_store.errors import SchemaLockTimeoutError
from fine_tuning_store.sql.commit_checks import before_each_commit
from fine_tuning_store.sql.migration_lock import MigrationLock, lost, second_connection
from fine_tuning_store.sql.waiting import beside, poll

T = TypeVar("T")

#: How long a holder is believed that says nothing more, and how often a living one speaks, in seconds.
LEASE_SECONDS = 30
RENEWAL_SECONDS = 5

lease = Table(
    "fine_tuning_migration_lease",
    MetaData(),
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("holder", String(200), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
_now = func.unix_timestamp()

_logger = logging.getLogger(__name__)


def lease_lock(is_race: Callable[[Any], bool]) -> MigrationLock:
    """A lock in a row. `is_race` says whether a driver's error only means that another process was faster to make or take it."""

    @contextmanager
    def lock(connection: Connection, seconds: float) -> Iterator[None]:
        ours = _Lease(connection, is_race)
        if not poll(ours.take, seconds, is_async=connection.dialect.is_async):
            raise SchemaLockTimeoutError(seconds, ours.holder()) from ours.raced
        try:
            with ours.kept():
                yield
                connection.commit()
        except BaseException:
            connection.rollback()
            if not connection.invalidated:  # else the server may be at work for us still: the row ends by itself
                ours.leave()
            raise
        if not ours.leave():
            raise lost()

    return lock


class _Lease:
    """The row as one process sees it that has it or wants it."""

    def __init__(self, connection: Connection, is_race: Callable[[Any], bool]) -> None:
        self._connection = connection
        self._is_race = is_race
        self._me = f"process {os.getpid()} on {platform.node()}, {uuid4().hex[:12]}".encode("ascii", "replace").decode()[-200:]
        self.raced: DBAPIError | None = None
        """What the last try was undone by."""

    def take(self) -> bool:
        """Take it if nobody has it, or one who has died."""
        return self._unless_raced(self._take) or False

    def _take(self) -> bool:
        if not inspect(self._connection).has_table(lease.name):
            self._connection.execute(CreateTable(lease))
        values = {"id": 1, "holder": self._me, "expires_at": _now + LEASE_SECONDS}
        expired = lease.c.expires_at < _now
        is_free = self._connection.scalar(select(expired))
        if is_free is None:
            self._connection.execute(insert(lease).values(values))
            return True
        return bool(is_free) and self._connection.execute(update(lease).where(expired).values(values)).rowcount == 1

    def holder(self) -> str | None:
        """Who has it, and for how much longer."""
        row = self._unless_raced(lambda: self._connection.execute(select(lease.c.holder, lease.c.expires_at - _now)).one_or_none())
        return None if row is None else f"{row[0]}, which has {row[1]} s left if it has died"

    @contextmanager
    def kept(self) -> Iterator[None]:
        """A block beside which it is renewed, and in which nothing is committed after it was lost."""
        with second_connection(self._connection) as other:  # that of the migration waits for a statement
            renewed = beside(lambda: self._renew(other), RENEWAL_SECONDS, is_async=self._connection.dialect.is_async)
            with before_each_commit(self._connection, self._require_ours), renewed:
                yield

    def _require_ours(self, connection: Connection) -> None:
        if connection.scalar(select(lease.c.holder)) != self._me:
            raise lost()

    def _renew(self, other: Connection) -> None:
        try:
            with other.begin():
                other.execute(update(lease).where(lease.c.holder == self._me).values(expires_at=_now + LEASE_SECONDS))
        except Exception as error:  # noqa: BLE001 - the next one may succeed, and what is committed is looked after
            _logger.warning("the migration lease could not be renewed: %s", type(error).__name__)

    def leave(self) -> bool:
        """Give it back; false if it was lost. Where others are in the way for too long, it ends by itself."""
        left: list[bool | None] = []

        def leave() -> bool:
            left.append(self._unless_raced(self._leave))
            return left[-1] is not None

        poll(leave, RENEWAL_SECONDS, is_async=self._connection.dialect.is_async)
        return left[-1] is not False

    def _leave(self) -> bool:
        return self._connection.execute(delete(lease).where(lease.c.holder == self._me)).rowcount == 1

    def _unless_raced(self, work: Callable[[], T]) -> T | None:
        """What comes of a transaction, None if another process was faster."""
        try:
            done = work()
            self._connection.commit()
        except DBAPIError as error:
            self._connection.rollback()
            if not self._is_race(error.driver_exception):
                raise
            self.raced = error
            return None
        return done

"""The migration lock of a Galera cluster, where each node would grant the same GET_LOCK: a row with a holder and an expiry time.

The row is renewed in parallel to the migration, so that the lease of a process that died soon expires. Times are the database's.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar
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
from fine_tuning_store.schema.commit_hooks import before_each_commit
from fine_tuning_store.schema.locks import MigrationLock, lock_lost_error, second_connection
from fine_tuning_store.sql.waiting import poll, run_periodically

T = TypeVar("T")

#: Lifetime of an unrenewed lease, and the renewal interval, in seconds.
LEASE_SECONDS = 30
RENEWAL_SECONDS = 5

lease: Final = Table(
    "fine_tuning_migration_lease",
    MetaData(),
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("holder", String(200), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
_now = func.unix_timestamp()

_logger = logging.getLogger(__name__)


def lease_lock(is_race: Callable[[DBAPIError], bool]) -> MigrationLock:
    """Return a lock that is a row of a table.

    Args:
        is_race: Returns True for an error which only means that another process created the table or took the lease first.
    """

    @contextmanager
    def lock(connection: Connection, seconds: float) -> Iterator[None]:
        own = _Lease(connection, is_race)
        if not poll(own.acquire, seconds, is_async=connection.dialect.is_async):
            raise SchemaLockTimeoutError(seconds, own.holder()) from own.raced
        try:
            with own.renewed():
                yield
                connection.commit()
        except BaseException:
            connection.rollback()
            if not connection.invalidated:  # else the server may still be executing a statement: the lease expires by itself
                own.release()
            raise
        if not own.release():
            raise lock_lost_error()

    return lock


class _Lease:
    """The row, seen from one process that holds it or wants to."""

    def __init__(self, connection: Connection, is_race: Callable[[DBAPIError], bool]) -> None:
        self._connection = connection
        self._is_race = is_race
        self._me = f"process {os.getpid()} on {platform.node()}, {uuid4().hex[:12]}".encode("ascii", "replace").decode()[-200:]
        self.raced: DBAPIError | None = None
        """The error that ended the last attempt."""

    def acquire(self) -> bool:
        """Take the lease if it is free or has expired."""
        return self._unless_raced(self._acquire) or False

    def _acquire(self) -> bool:
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
        """Return a description of the holder and of the time left."""
        row = self._unless_raced(lambda: self._connection.execute(select(lease.c.holder, lease.c.expires_at - _now)).one_or_none())
        return None if row is None else f"{row[0]}, which has {row[1]} s left if it has died"

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lease while the block runs. Nothing is committed inside it after the lease was lost."""
        with second_connection(self._connection) as other:  # that of the migration waits for a statement
            renewal = run_periodically(lambda: self._renew(other), RENEWAL_SECONDS, is_async=self._connection.dialect.is_async)
            with before_each_commit(self._connection, self._require_own), renewal:
                yield

    def _require_own(self, connection: Connection) -> None:
        if connection.scalar(select(lease.c.holder)) != self._me:
            raise lock_lost_error()

    def _renew(self, other: Connection) -> None:
        try:
            with other.begin():
                other.execute(update(lease).where(lease.c.holder == self._me).values(expires_at=_now + LEASE_SECONDS))
        except Exception as error:  # noqa: BLE001 - the next one may succeed, and every commit checks the lease
            _logger.warning("the migration lease could not be renewed: %s", type(error).__name__)

    def release(self) -> bool:
        """Delete the row; return False if it was lost. If other transactions block that for too long, the lease expires by itself."""
        released: list[bool | None] = []

        def release() -> bool:
            released.append(self._unless_raced(self._release))
            return released[-1] is not None

        poll(release, RENEWAL_SECONDS, is_async=self._connection.dialect.is_async)
        return released[-1] is not False

    def _release(self) -> bool:
        return self._connection.execute(delete(lease).where(lease.c.holder == self._me)).rowcount == 1

    def _unless_raced(self, work: Callable[[], T]) -> T | None:
        """Return the result of a transaction, None if another process was first."""
        try:
            result = work()
            self._connection.commit()
        except DBAPIError as error:
            self._connection.rollback()
            if not self._is_race(error):
                raise
            self.raced = error
            return None
        return result

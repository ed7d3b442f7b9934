"""The migration lock where no session can hold one: a row that says who migrates, and until when.

A Galera cluster grants GET_LOCK on each of its nodes, and behind a pooler a session is another one after each commit. The row is
renewed beside the migration, so it outlasts a long statement, and ends soon after a process that died. The time in it is the
database's. Its table is there only while somebody migrates.
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
    ColumnElement,
    Connection,
    MetaData,
    SmallInteger,
    String,
    Table,
    event,
    insert,
    inspect,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable, DropTable

from fine_tuning_store.errors import SchemaLockTimeoutError
from fine_tuning_store.sql.migration_lock import MigrationLock, lost
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

_logger = logging.getLogger(__name__)


def lease_lock(now: str, is_race: Callable[[Any], bool]) -> MigrationLock:
    """A lock in a row of a database that tells the time in Unix seconds as `now`, in SQL.

    `is_race` says whether a driver's error only means that another process was faster to make, take or drop the row or its table.
    """

    @contextmanager
    def lock(connection: Connection, seconds: float) -> Iterator[None]:
        ours = _Lease(connection, literal_column(now, BigInteger), is_race)
        if not poll(ours.take, seconds, awaited=connection.dialect.is_async):
            raise SchemaLockTimeoutError(seconds, ours.holder())
        try:
            with ours.kept():
                yield
                connection.commit()
        except BaseException:
            connection.rollback()
            if not connection.invalidated:
                ours.leave()
            raise
        if not ours.leave():
            raise lost()

    return lock


class _Lease:
    """The row as one process sees it that has it or wants it."""

    def __init__(self, connection: Connection, now: ColumnElement[int], is_race: Callable[[Any], bool]) -> None:
        self._connection = connection
        self._now = now
        self._is_race = is_race
        self._me = f"process {os.getpid()} on {platform.node()}, {uuid4().hex[:12]}".encode("ascii", "replace").decode()[-200:]

    def take(self) -> bool:
        """Take it if nobody has it, or one who has died."""
        return self._unless_raced(self._take) or False

    def _take(self) -> bool:
        if not inspect(self._connection).has_table(lease.name):
            self._connection.execute(CreateTable(lease))
        values = {"id": 1, "holder": self._me, "expires_at": self._now + LEASE_SECONDS}
        expired = lease.c.expires_at < self._now
        is_free = self._connection.scalar(select(expired))
        if is_free is None:
            self._connection.execute(insert(lease).values(values))
            return True
        return bool(is_free) and self._connection.execute(update(lease).where(expired).values(values)).rowcount == 1

    def holder(self) -> str | None:
        """Who has it, and for how much longer."""
        row = self._unless_raced(lambda: self._connection.execute(select(lease.c.holder, lease.c.expires_at - self._now)).one_or_none())
        return None if row is None else f"{row[0]}, which has {row[1]} s left if it has died"

    @contextmanager
    def kept(self) -> Iterator[None]:
        """A block beside which it is renewed, and in which nothing is committed after it was lost."""
        event.listen(self._connection, "commit", self._require_ours)
        try:
            with beside(self._speak, RENEWAL_SECONDS, awaited=self._connection.dialect.is_async):
                yield
        finally:
            event.remove(self._connection, "commit", self._require_ours)

    def _require_ours(self, connection: Connection) -> None:
        ours = False
        try:
            ours = connection.scalar(select(lease.c.holder)) == self._me
        finally:
            if not ours:
                connection.connection.rollback()  # SQLAlchemy takes a commit that raised for the end of the transaction
        if not ours:
            raise lost()

    def _speak(self) -> None:
        """Renew it on a connection of its own: that of the migration waits for a statement."""
        try:
            with self._connection.engine.begin() as other:
                self._renew(other)
        except Exception as error:  # noqa: BLE001 - the next one may succeed, and what is committed is looked after
            _logger.warning("the migration lease could not be renewed: %s", type(error).__name__)

    def _renew(self, connection: Connection) -> bool:
        ours = update(lease).where(lease.c.holder == self._me).values(expires_at=self._now + LEASE_SECONDS)
        options = self._connection.get_execution_options()
        schemas = {"schema_translate_map": options.get("schema_translate_map")}
        return connection.execute(ours, execution_options=schemas).rowcount == 1

    def leave(self) -> bool:
        """Drop it with its table, unless it was lost; others look at it meanwhile, which may undo the first try."""
        return poll(lambda: self._unless_raced(self._leave) or False, 1, awaited=self._connection.dialect.is_async)

    def _leave(self) -> bool:
        if not self._renew(self._connection):
            return False
        self._connection.execute(DropTable(lease))  # nobody takes what was just renewed
        return True

    def _unless_raced(self, work: Callable[[], T]) -> T | None:
        """What comes of a transaction, None if another process was faster."""
        try:
            done = work()
            self._connection.commit()
        except DBAPIError as error:
            self._connection.rollback()
            if self._is_race(error.driver_exception):
                return None
            raise
        return done

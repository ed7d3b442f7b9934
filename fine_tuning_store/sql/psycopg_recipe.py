"""How psycopg is used: without describing results that nobody asks about.

SQLAlchemy asks every result whether it has a description and reads that of a statement's first result only. psycopg makes an
object for each column each time, which takes a tenth of the time of a read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, event

#: Arguments of create_engine for a pooler of transactions: the server behind it changes, so that no statement can stay prepared on it.
POOLED: dict[str, Any] = {"connect_args": {"prepare_threshold": None}}


class _Description(Sequence[Any]):
    """The description of a cursor's result, made when it is looked into."""

    def __init__(self, cursor: Any, length: int) -> None:
        self._cursor = cursor
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        return self._cursor.full_description[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor.full_description)


def knows_that_it_goes_on(connection: Connection) -> bool:
    """Whether psycopg tells, without asking the server, that no error has ended the transaction."""
    info = getattr(connection.connection.driver_connection, "info", None)
    return info is not None and info.transaction_status.name != "INERROR"


@cache
def _lazily_described(kind: type[Any]) -> type[Any]:
    """A cursor class of psycopg, of either colour, with such a description."""

    class Cursor(kind):  # type: ignore[misc]
        @property
        def description(self) -> _Description | None:
            result = self.pgresult
            return _Description(self, result.nfields) if result and result.nfields else None

        @property
        def full_description(self) -> Any:
            return super().description

    return Cursor


def prepare_engine(engine: Engine) -> None:
    """Give the connections of an engine of ours such cursors; drivers other than psycopg are left alone."""

    @event.listens_for(engine, "connect")
    def connected(dbapi_connection: Any, _: object) -> None:
        connection = getattr(dbapi_connection, "driver_connection", dbapi_connection)
        if type(connection).__module__.partition(".")[0] == "psycopg":
            connection.cursor_factory = _lazily_described(connection.cursor_factory)

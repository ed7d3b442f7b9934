"""The transactions of a task or thread that hold the write lock of a SQLite file, those of the host included."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from threading import get_ident
from weakref import ref

from sqlalchemy import Connection, Dialect

from fine_tuning_store.sql.dialects.sqlite_driver import in_transaction
from fine_tuning_store.sql.dialects.sqlite_url import path_of

#: The connections, each with its task or thread. The pool threads of a web server run each call in a context of its own: what another
#: thread commits later does not stop the next call.
_writers: ContextVar[tuple[tuple[object, ref[Connection]], ...]] = ContextVar("fine_tuning_store_writers", default=())


def task_of(dialect: Dialect) -> object:
    """Return the task if the driver is async, else the thread: what waits if a call waits."""
    return asyncio.current_task() if dialect.is_async else get_ident()


def add_writer(connection: Connection) -> None:
    """Remember that the transaction of the connection holds the write lock, until it ends."""
    task = task_of(connection.dialect)
    others = ((task, ref(writer)) for writer in _writers_of(task) if writer is not connection)
    _writers.set((*others, (task, ref(connection))))


def has_writer(task: object, path: object) -> bool:
    """Return True if an open transaction of this task or thread holds the write lock of the file."""
    return any(path_of(writer.engine.url) == path for writer in _writers_of(task))


def _writers_of(task: object) -> list[Connection]:
    found = [writer() for one, writer in _writers.get() if one == task]
    return [writer for writer in found if writer is not None and _is_open(writer)]


def _is_open(connection: Connection) -> bool:
    return not (connection.closed or connection.invalidated) and in_transaction(connection)

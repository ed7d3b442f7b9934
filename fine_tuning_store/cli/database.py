"""The database of a command, reached by a sync or an async driver."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from fine_tuning_store.errors import DatabaseUnreachableError, UnsupportedDatabaseError
from fine_tuning_store.schema import Schema
from fine_tuning_store.sql.dialects import database_for, driver_exception
from fine_tuning_store.sql.engine import connect, connect_either
from fine_tuning_store.sql.urls import shown

T = TypeVar("T")


def on_schema(work: Callable[[Schema], T], url: str, schema: str | None, host_version_table: str | None, *, connects: bool = True) -> T:
    """Return the result of a function of the migrations of a database. With an async driver it runs in an event loop of its own.

    Args:
        work: The function.
        url: The URL of the database.
        schema: The schema of the tables.
        host_version_table: The version table of the application that keeps their history.
        connects: Whether the function connects. If not, the database need not exist.

    Raises:
        DatabaseUnreachableError: The connection failed. The message contains no password.
    """
    engine = engine_for_command(url, connects=connects)

    def done() -> T:
        try:
            if connects:
                reach(engine)
            return work(Schema(engine, schema, host_version_table))
        except DBAPIError as error:
            if database_for(engine.dialect).is_permission_error(error):
                error.add_note("do this as the owner of the tables")
            raise
        finally:
            engine.dispose()

    if not engine.dialect.is_async:
        return done()
    from sqlalchemy.util import greenlet_spawn

    return asyncio.run(greenlet_spawn(done))


def engine_for_command(url: str, *, connects: bool = True, read_only: bool = False) -> Engine:
    """Return an engine with the driver of the URL: another one may not be installed, or not know the options in the URL."""
    engine = connect_either(url, connects=connects, read_only=read_only)
    if isinstance(engine, Engine):
        return engine
    database = database_for(engine.dialect)
    if not database.extras:  # Python brings a sync driver, and aiosqlite's thread outlives the loop if it cannot open its file
        return connect(engine.url.set(drivername=database.name), read_only=read_only)
    return engine.sync_engine


def reach(engine: Engine) -> None:
    """Connect once, to raise the driver's own errors as DatabaseUnreachableError, whose message contains no password."""
    try:
        engine.connect().close()
    except (DatabaseUnreachableError, UnsupportedDatabaseError):
        raise
    except Exception as error:  # the driver's own, which SQLAlchemy does not wrap for every driver
        raise DatabaseUnreachableError(f"cannot connect to {shown(engine.url)}: {in_one_line(error)}") from error


def in_one_line(error: Exception) -> str:
    """Return the message of a database or its driver and the notes of the error, without the statement and its values."""
    said = driver_exception(error)
    words = re.sub(r"\nLINE \d+: .*\n *\^", "", str(said)).split()  # psycopg quotes the statement
    return ": ".join((" ".join(words) or type(said).__name__, *getattr(error, "__notes__", ())))

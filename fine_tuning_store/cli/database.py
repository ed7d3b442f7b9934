"""The database of a command, reached by a URL of either colour."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from fine_tuning_store.errors import FineTuningStoreError
from fine_tuning_store.schema import Schema
from fine_tuning_store.sql.dialects import database_for, driver_exception
from fine_tuning_store.sql.engine import connect, connect_either, shown

T = TypeVar("T")


class DatabaseUnreachableError(FineTuningStoreError):
    """The database of the URL could not be connected to."""


def on_schema(work: Callable[[Schema], T], url: str, schema: str | None, host_version_table: str | None, *, connects: bool = True) -> T:
    """What a function answers about the migrations of a database. An async driver does the same work in an event loop of its own.

    Raises DatabaseUnreachableError, without a password, if the database cannot be connected to and the work `connects`.
    """
    engine = _engine(url, connects=connects)

    def done() -> T:
        try:
            if connects:
                _reach(engine)
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


def _engine(url: str, *, connects: bool) -> Engine:
    """An engine of the URL's driver: another one might not be installed, or not know the options in the URL."""
    engine = connect_either(url, connects=connects)
    if isinstance(engine, Engine):
        return engine
    database = database_for(engine.dialect)
    if database.extra is None:  # Python has a sync driver, and aiosqlite's thread outlives the loop when it cannot open its file
        return connect(engine.url.set(drivername=database.name))
    return engine.sync_engine


def _reach(engine: Engine) -> None:
    try:
        engine.connect().close()
    except Exception as error:  # the driver's own, which SQLAlchemy does not wrap for each of them
        advice = database_for(engine.dialect).connection_advice(error, engine.url)
        raise DatabaseUnreachableError(f"cannot connect to {shown(engine.url)}: {in_one_line(error)}{advice}") from error


def in_one_line(error: Exception) -> str:
    """What a database or its driver says of an error, and what is noted on it, without the statement and its values."""
    said = driver_exception(error)
    words = re.sub(r"\nLINE \d+: .*\n *\^", "", str(said)).split()  # psycopg shows where in the statement it is
    return ": ".join((" ".join(words) or type(said).__name__, *getattr(error, "__notes__", ())))

"""Engines made from URLs, configured for their database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy
from sqlalchemy import URL, Dialect, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from fine_tuning_store.errors import InvalidValueError, MissingDriverError, UnsupportedDatabaseError
from fine_tuning_store.sql.dialects import Database, database_for, database_named
from fine_tuning_store.sql.dialects.base import TRANSACTION_POOLER
from fine_tuning_store.sql.dialects.sqlite import SQLITE
from fine_tuning_store.sql.timeouts import LOCK_TIMEOUT, Timeouts

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

E = TypeVar("E")

_NEEDS_AIO: Final = "an async driver needs more packages: pip install 'fine-tuning-store[aio]'"
_NOT_A_URL: Final = (
    "this is not a database URL: use one like sqlite:///fine_tuning.db, and percent-encode @ : / % in a password (%40 %3A %2F %25)"
)


def connect(url: str | URL, *, transaction_pooler: bool = False, read_only: bool = False, timeouts: Timeouts | None = None) -> Engine:
    """Create a sync engine, which connects on first use. A URL without a driver gets the default one of its database.

    No message of an error contains a password.

    Args:
        url: The URL of the database.
        transaction_pooler: Whether a PgBouncer in transaction mode is between the engine and PostgreSQL.
        read_only: Whether the database must refuse every write of the engine.
        timeouts: How long to wait, None for the defaults.

    Raises:
        UnsupportedDatabaseError: The database or the driver is not supported, or the driver is async, or a database in memory would be
            read-only.
        MissingDriverError: The driver is not installed.
        InvalidValueError: `transaction_pooler` is given for another database or driver.
    """
    parsed, database = _parsed(url)
    parsed = _with_driver(parsed, database.driver)
    if _dialect(parsed, database).is_async:
        raise UnsupportedDatabaseError(
            f"{parsed.drivername!r} is an async driver and this store is synchronous: use {database.name}+{database.driver}://"
        )
    options = _behind_a_pooler(parsed, database) if transaction_pooler else {}
    return _sync(parsed, database, options, _checked_timeouts(timeouts), read_only=read_only)


def connect_async(
    url: str | URL, *, transaction_pooler: bool = False, read_only: bool = False, timeouts: Timeouts | None = None
) -> AsyncEngine:
    """Create an async engine. Arguments and errors are those of `connect`, with sync and async exchanged."""
    parsed, database = _parsed(url)
    parsed = _with_driver(parsed, database.async_driver)
    if not _dialect(parsed, database).get_async_dialect_cls(parsed).is_async:
        raise UnsupportedDatabaseError(
            f"{parsed.drivername!r} is a synchronous driver and this store is async: use {database.name}+{database.async_driver}://"
        )
    options = _behind_a_pooler(parsed, database) if transaction_pooler else {}
    return _async(parsed, database, options, _checked_timeouts(timeouts), read_only=read_only)


def connect_either(url: str | URL, *, connects: bool = True) -> Engine | AsyncEngine:
    """Create an engine for a command: async if the URL names a driver that is only async, else sync.

    Nothing stays prepared on its connections, so that they may lead through a pooler; a migration detects the pooler by itself.

    Args:
        url: The URL of the database.
        connects: False if the command needs only the kind of the database.
    """
    parsed, database = _parsed(url, connects=connects)
    if connects and database.is_in_memory(parsed):
        raise UnsupportedDatabaseError("a database in memory is deleted when the command ends: name a file, as in sqlite:///fine_tuning.db")
    parsed = _with_driver(parsed, database.driver)
    dialect = _dialect(parsed, database)
    return (_async if dialect.is_async else _sync)(parsed, database, database.pooler_options.get(dialect.driver, {}), Timeouts())


def _behind_a_pooler(url: URL, database: Database) -> dict[str, Any]:
    driver = _dialect(url, database).driver
    if driver not in database.pooler_options:
        rule = f"must be False for {url.drivername}:// (it is for a transaction pooler before PostgreSQL, and psycopg or asyncpg)"
        raise InvalidValueError("transaction_pooler", True, rule)
    return {**database.pooler_options[driver], "execution_options": TRANSACTION_POOLER}


def _checked_timeouts(timeouts: object) -> Timeouts:
    if timeouts is None:
        return Timeouts()
    if not isinstance(timeouts, Timeouts):
        raise TypeError(f"timeouts must be Timeouts, as in Timeouts(lock=2), not {type(timeouts).__name__}")
    return timeouts


def _sync(url: URL, database: Database, options: Mapping[str, Any], timeouts: Timeouts, *, read_only: bool = False) -> Engine:
    # Looked up in its module: instrumentation may have replaced the function there.
    engine = _create(sqlalchemy.create_engine, url, database, _dialect(url, database), options, timeouts=timeouts)
    _prepare(engine, database, timeouts, read_only=read_only)
    return engine


def _async(url: URL, database: Database, options: Mapping[str, Any], timeouts: Timeouts, *, read_only: bool = False) -> AsyncEngine:
    require_greenlet()
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = _create(create_async_engine, url, database, _dialect(url, database).get_async_dialect_cls(url), options, timeouts=timeouts)
    _prepare(engine.sync_engine, database, timeouts, read_only=read_only)
    return engine


def _prepare(engine: Engine, database: Database, timeouts: Timeouts, *, read_only: bool) -> None:
    engine.update_execution_options(**{LOCK_TIMEOUT: timeouts.lock})
    if read_only:
        database.prepare_read_only_engine(engine, timeouts)
    else:
        database.prepare_engine(engine, timeouts)


def require_greenlet() -> None:
    """Raise MissingDriverError unless greenlet is installed.

    The asyncio extension of SQLAlchemy 2.1 looks for it when it is imported, that of 2.0 only when it is used.
    """
    try:
        import_module("greenlet")
    except ImportError as error:
        raise MissingDriverError(_NEEDS_AIO) from error


def require_sync_engine(engine: object) -> None:
    """Check an engine of the host that is given to a sync store.

    Raises:
        TypeError: It is not an Engine of SQLAlchemy.
        UnsupportedDatabaseError: Its driver is async.
    """
    if not isinstance(engine, Engine):
        raise TypeError(
            f"FineTuningStore takes an Engine of SQLAlchemy, not {type(engine).__name__}: for an AsyncEngine use "
            "AsyncFineTuningStore, for a URL FineTuningStore.from_url"
        )
    if engine.dialect.is_async:
        raise UnsupportedDatabaseError(f"{engine.dialect.driver!r} is an async driver and this store is sync: use AsyncFineTuningStore")


def for_others(engine: Engine) -> Engine:
    """Return a view of a store's engine whose transactions begin by themselves as the database needs. It shares the pool."""
    view = engine.execution_options()
    database = database_for(engine.dialect)
    if database.begins_transactions:
        event.listen(view, "begin", database.begin)
    return view


def prepare_sqlite_engine(engine: Engine | AsyncEngine) -> None:
    """Configure a SQLite engine of yours for many processes, as this package configures its own. Call it right after create_engine.

    Each new connection is in WAL mode, enforces foreign keys and waits up to 30 seconds for another connection's lock. Each transaction
    begins with BEGIN IMMEDIATE, so that what it has read is still true when it writes; one with the execution option
    `sqlite_read_only=True` begins with BEGIN, waits for no writer, and must not write.

    Raises:
        UnsupportedDatabaseError: The engine is for another database.
    """
    prepared = engine if isinstance(engine, Engine) else engine.sync_engine
    database = database_for(prepared.dialect)
    if not database.begins_transactions:
        raise UnsupportedDatabaseError(f"{database.name} needs no such preparation: use this engine as it is")
    SQLITE.prepare_engine(prepared)
    event.listen(prepared, "begin", database.begin)


def shown(url: str | URL) -> str:
    """Return a URL without its password and its query, which may contain one too."""
    return _made(url).set(query={}).render_as_string(hide_password=True)


def _made(url: str | URL) -> URL:
    """Parse a URL, without the line end of a secret that was read from a file."""
    return make_url(url.strip() if isinstance(url, str) else url)


def _parsed(url: str | URL, *, connects: bool = True) -> tuple[URL, Database]:
    if not isinstance(url, (str, URL)):
        raise TypeError(f"from_url takes a URL, not {type(url).__name__}: for an engine of yours call the store's constructor")
    try:
        parsed = _made(url)
    except (ArgumentError, ValueError):
        raise UnsupportedDatabaseError(_NOT_A_URL) from None
    has_password = isinstance(url, str) and parsed.password is not None
    if has_password and "@" in f"{parsed.host}{parsed.database}":  # a part of the password was taken for them
        raise UnsupportedDatabaseError(_NOT_A_URL)
    database = database_named(parsed.get_backend_name())
    if connects and database.needs_database and not parsed.database:
        raise UnsupportedDatabaseError(f"the URL names no database: use one like {database.name}://user@host/fine_tuning")
    return parsed, database


def _with_driver(url: URL, driver: str) -> URL:
    return url if "+" in url.drivername else url.set(drivername=f"{url.drivername}+{driver}")


def _dialect(url: URL, database: Database) -> type[Dialect]:
    try:
        return url.get_dialect()
    except NoSuchModuleError:
        raise UnsupportedDatabaseError(f"SQLAlchemy knows no driver {url.drivername!r}: use {database.name}+{database.driver}://") from None


def _create(
    create: Callable[..., E], url: URL, database: Database, dialect: type[Dialect], options: Mapping[str, Any], *, timeouts: Timeouts
) -> E:
    pool = {} if options.get("poolclass") is NullPool else {"pool_timeout": timeouts.pool}
    try:
        return create(url, hide_parameters=True, **database.engine_options(url, dialect), **options, **pool)
    except ImportError as error:
        raise MissingDriverError(
            f"the driver of {url.drivername!r} is not installed ({error}): {_installation(database, dialect)}"
        ) from error


def _installation(database: Database, dialect: type[Dialect]) -> str:
    """Return how to install a driver, or which one to use instead if no extra installs it."""
    extras = ["aio"] if dialect.is_async else []
    if database.extra and (dialect.driver == database.driver or not dialect.is_async):
        extras.append(database.extra)
    package = f"'fine-tuning-store[{','.join(extras)}]'"
    if dialect.driver in (database.driver, database.async_driver):
        return f"pip install {package}" if extras else "install it"
    driver = database.async_driver if dialect.is_async else database.driver
    return f"install it, or use {database.name}+{driver}://" + (f" of {package}" if extras else "")

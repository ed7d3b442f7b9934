"""Engines made from URLs, configured for their database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy
from sqlalchemy import URL, Dialect, Engine, event
from sqlalchemy.pool import NullPool

from fine_tuning_store.errors import InvalidValueError, MissingDriverError, UnsupportedDatabaseError
from fine_tuning_store.sql.dialects import Database, database_for
from fine_tuning_store.sql.dialects.base import TRANSACTION_POOLER
from fine_tuning_store.sql.dialects.sqlite import SQLITE
from fine_tuning_store.sql.pools import checked_engine_options
from fine_tuning_store.sql.timeouts import LOCK_TIMEOUT, Timeouts
from fine_tuning_store.sql.urls import dialect_class, parse, with_driver

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

E = TypeVar("E")

#: The execution option of a view that `for_constructor` makes.
_MADE_FROM_URL: Final = "fine_tuning_store_made_from_url"

_NEEDS_AIO: Final = "an async driver needs more packages: pip install 'fine-tuning-store[aio]'"


def connect(
    url: str | URL,
    *,
    transaction_pooler: bool = False,
    read_only: bool = False,
    timeouts: Timeouts | None = None,
    engine_options: Mapping[str, Any] | None = None,
) -> Engine:
    """Create a sync engine, which connects on first use.

    A URL without a driver, or with an async one, gets the default one of its database. No message of an error contains a password.

    Args:
        url: The URL of the database.
        transaction_pooler: Whether a PgBouncer in transaction mode is between the engine and PostgreSQL.
        read_only: Whether the database must refuse every write of the engine.
        timeouts: How long to wait, None for the defaults.
        engine_options: Options of create_engine, see `checked_engine_options`.

    Raises:
        UnsupportedDatabaseError: The database or the driver is not supported, or a database in memory would be read-only.
        EngineConfigurationError: A parameter of the URL is not possible with the driver, or an option of create_engine with a store.
        MissingDriverError: The driver is not installed.
        InvalidValueError: `transaction_pooler` is given for another database or driver, or an option has a wrong value.
    """
    parsed, database = parse(url)
    parsed = with_driver(parsed, database.driver)
    if dialect_class(parsed, database).is_async:
        parsed = parsed.set(drivername=f"{database.name}+{database.driver}")
    options = _behind_a_pooler(parsed, database) if transaction_pooler else {}
    return _sync(parsed, database, options, _checked_timeouts(timeouts), engine_options, read_only=read_only)


def connect_async(
    url: str | URL,
    *,
    transaction_pooler: bool = False,
    read_only: bool = False,
    timeouts: Timeouts | None = None,
    engine_options: Mapping[str, Any] | None = None,
) -> AsyncEngine:
    """Create an async engine. Arguments and errors are those of `connect`, with sync and async exchanged."""
    parsed, database = parse(url)
    parsed = with_driver(parsed, database.async_driver)
    if not dialect_class(parsed, database).get_async_dialect_cls(parsed).is_async:
        parsed = parsed.set(drivername=f"{database.name}+{database.async_driver}")
    options = _behind_a_pooler(parsed, database) if transaction_pooler else {}
    return _async(parsed, database, options, _checked_timeouts(timeouts), engine_options, read_only=read_only)


def connect_either(url: str | URL, *, connects: bool = True, read_only: bool = False) -> Engine | AsyncEngine:
    """Create an engine for a command: async if the URL names a driver that is only async, else sync.

    Nothing stays prepared on its connections, so that they may lead through a pooler; a migration detects the pooler by itself.

    Args:
        url: The URL of the database.
        connects: False if the command needs only the kind of the database.
        read_only: Whether the database must refuse every write of the engine.
    """
    parsed, database = parse(url, connects=connects)
    if connects and database.is_in_memory(parsed):
        raise UnsupportedDatabaseError("a database in memory is deleted when the command ends: name a file, as in sqlite:///fine_tuning.db")
    parsed = with_driver(parsed, database.driver)
    dialect = dialect_class(parsed, database)
    create = _async if dialect.is_async else _sync
    return create(parsed, database, database.pooler_options.get(dialect.driver, {}), Timeouts(), None, read_only=read_only)


def _behind_a_pooler(url: URL, database: Database) -> dict[str, Any]:
    driver = dialect_class(url, database).driver
    if driver not in database.pooler_options:
        rule = f"must be False for {url.drivername}:// (it is for a transaction pooler before PostgreSQL)"
        raise InvalidValueError("transaction_pooler", True, rule)
    return {**database.pooler_options[driver], "execution_options": TRANSACTION_POOLER}


def _checked_timeouts(timeouts: object) -> Timeouts:
    if timeouts is None:
        return Timeouts()
    if not isinstance(timeouts, Timeouts):
        raise TypeError(f"timeouts must be Timeouts, as in Timeouts(lock=2), not {type(timeouts).__name__}")
    return timeouts


def _sync(
    url: URL, database: Database, options: Mapping[str, Any], timeouts: Timeouts, given: object, *, read_only: bool = False
) -> Engine:
    # Looked up in its module: instrumentation may have replaced the function there.
    engine = _create(sqlalchemy.create_engine, url, database, dialect_class(url, database), options, timeouts=timeouts, given=given)
    _prepare(engine, database, timeouts, read_only=read_only)
    return engine


def _async(
    url: URL, database: Database, options: Mapping[str, Any], timeouts: Timeouts, given: object, *, read_only: bool = False
) -> AsyncEngine:
    require_greenlet()
    from sqlalchemy.ext.asyncio import create_async_engine

    dialect = dialect_class(url, database).get_async_dialect_cls(url)
    engine = _create(create_async_engine, url, database, dialect, options, timeouts=timeouts, given=given)
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


def for_constructor(engine: Engine, *, read_only: bool) -> Engine:
    """Return a view of an engine that `from_url` made, by which the constructor of a store finds the engine, see `made_from_url`."""
    return for_others(engine, {_MADE_FROM_URL: (engine, read_only)})


def made_from_url(view: Engine) -> tuple[Engine, bool] | None:
    """Return the engine of a view that `for_constructor` made, and whether it is read-only; None for an engine of the host."""
    made: tuple[Engine, bool] | None = view.get_execution_options().get(_MADE_FROM_URL)
    return made


def for_others(engine: Engine, options: Mapping[str, Any] = MappingProxyType({})) -> Engine:
    """Return a view of a store's engine whose transactions begin by themselves as the database needs. It shares the pool."""
    view = engine.execution_options(**options)
    database = database_for(engine.dialect)
    if database.begins_transactions:
        event.listen(view, "begin", database.begin)
    return view


def prepare_sqlite_engine(engine: Engine | AsyncEngine) -> None:
    """Configure a SQLite engine of yours for many processes, as this package configures its own. Call it right after create_engine.

    Each new connection is in WAL mode, enforces foreign keys and waits up to 30 seconds for another connection's lock. Each transaction
    begins with BEGIN IMMEDIATE, so that what it has read is still true when it writes; one with the execution option
    `sqlite_read_only=True` begins with BEGIN, waits for no writer, and must not write. A connection whose file was replaced or deleted
    raises DatabaseUnreachableError when it is checked out, until you dispose of the engine.

    Raises:
        UnsupportedDatabaseError: The engine is for another database.
    """
    prepared = engine if isinstance(engine, Engine) else engine.sync_engine
    database = database_for(prepared.dialect)
    if not database.begins_transactions:
        raise UnsupportedDatabaseError(f"{database.name} needs no such preparation: use this engine as it is")
    SQLITE.configure(prepared)
    event.listen(prepared, "begin", database.begin)


def _create(
    create: Callable[..., E],
    url: URL,
    database: Database,
    dialect: type[Dialect],
    options: Mapping[str, Any],
    *,
    timeouts: Timeouts,
    given: object,
) -> E:
    pool = {} if options.get("poolclass") is NullPool else {"pool_timeout": timeouts.pool}
    made = {**database.engine_options(url, dialect), **options, **pool}
    made |= checked_engine_options(given, made)
    try:
        bare, arguments = database.connect_arguments(url, dialect)
        made["connect_args"] = {**arguments, **made.get("connect_args", {})}
        return create(bare, hide_parameters=True, **made)
    except ImportError as error:
        raise MissingDriverError(
            f"the driver of {url.drivername!r} is not installed ({error}): {_installation(database, dialect)}"
        ) from error


def _installation(database: Database, dialect: type[Dialect]) -> str:
    extras = ["aio"] if dialect.is_async else []
    if dialect.driver in database.extras:
        extras.append(database.extras[dialect.driver])
    return f"pip install 'fine-tuning-store[{','.join(extras)}]'" if extras else "install it"

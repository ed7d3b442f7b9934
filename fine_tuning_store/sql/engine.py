"""An engine from a URL, set up right for its database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy
from sqlalchemy import URL, Dialect, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from fine_tuning_store.errors import InvalidValueError, UnsupportedDatabaseError
from fine_tuning_store.sql.dialects import Traits, traits_of
from fine_tuning_store.sql.migration_lock import POOLED

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

E = TypeVar("E")

NEEDS_AIO = "an async driver needs more packages: pip install 'fine-tuning-store[aio]'"
_NO_URL = "this is not a database URL: use one like sqlite:///fine_tuning.db, and percent-encode @ : / % in a password (%40 %3A %2F %25)"


def connect(url: str | URL, *, transaction_pooler: bool = False) -> Engine:
    """A sync engine for the URL; it connects on first use. A URL without a driver takes the default one of its database.

    `transaction_pooler` is for a PgBouncer that pools transactions. Raises InvalidValueError where it means nothing, and UnsupportedDatabaseError for
    an unknown database, a missing driver or an async one. No message holds a password.
    """
    parsed, traits = _parsed(url)
    parsed = _with_driver(parsed, traits.driver)
    if _dialect(parsed, traits).is_async:
        raise UnsupportedDatabaseError(
            f"{parsed.drivername!r} is an async driver and this store is synchronous: use {traits.name}+{traits.driver}://"
        )
    return _sync(parsed, traits, _behind_a_pooler(parsed, traits) if transaction_pooler else {})


def connect_async(url: str | URL, *, transaction_pooler: bool = False) -> AsyncEngine:
    """The same as an async engine."""
    parsed, traits = _parsed(url)
    parsed = _with_driver(parsed, traits.async_driver)
    if not _dialect(parsed, traits).get_async_dialect_cls(parsed).is_async:
        raise UnsupportedDatabaseError(
            f"{parsed.drivername!r} is a synchronous driver and this store is async: use {traits.name}+{traits.async_driver}://"
        )
    return _async(parsed, traits, _behind_a_pooler(parsed, traits) if transaction_pooler else {})


def connect_either(url: str | URL, *, connects: bool = True) -> Engine | AsyncEngine:
    """An engine for a command, of the colour of the URL's driver; sync where it names none, or one of both colours.

    Nothing stays prepared on its connections, so that they may lead through a pooler. A migration notices that by itself.
    A command that never `connects` needs no more of the URL than the kind of its database.
    """
    parsed, traits = _parsed(url, connects=connects)
    if connects and traits.is_in_memory(parsed):
        raise UnsupportedDatabaseError("a database in memory is gone when the command ends: name a file, as in sqlite:///fine_tuning.db")
    parsed = _with_driver(parsed, traits.driver)
    dialect = _dialect(parsed, traits)
    return (_async if dialect.is_async else _sync)(parsed, traits, traits.pooled_options.get(dialect.driver, {}))


def _behind_a_pooler(url: URL, traits: Traits) -> dict[str, Any]:
    driver = _dialect(url, traits).driver
    if driver not in traits.pooled_options:
        rule = f"must be False for {url.drivername}:// (it is for a pooler of transactions before PostgreSQL, and psycopg or asyncpg)"
        raise InvalidValueError("transaction_pooler", True, rule)
    return {**traits.pooled_options[driver], "execution_options": POOLED}


def _sync(url: URL, traits: Traits, options: Mapping[str, Any]) -> Engine:
    # By way of its module: a tracer may have put a function of its own there.
    engine = _create(sqlalchemy.create_engine, url, traits, _dialect(url, traits), options)
    traits.prepare_engine(engine)
    return engine


def _async(url: URL, traits: Traits, options: Mapping[str, Any]) -> AsyncEngine:
    try:
        from sqlalchemy.ext.asyncio import create_async_engine
    except ImportError as error:  # from SQLAlchemy, which wants greenlet before it looks for an async driver
        raise UnsupportedDatabaseError(NEEDS_AIO) from error
    engine = _create(create_async_engine, url, traits, _dialect(url, traits).get_async_dialect_cls(url), options)
    traits.prepare_engine(engine.sync_engine)
    return engine


def for_others(engine: Engine) -> Engine:
    """A view of an engine of ours for users who know nothing of our units; it shares the pool."""
    view = engine.execution_options()
    begin = traits_of(engine.dialect.name).begin
    if begin is not None:
        event.listen(view, "begin", begin)
    return view


def prepare_sqlite_engine(engine: Engine | AsyncEngine) -> None:
    """Set up a SQLite engine of yours for many processes, as this package sets up its own. Call it right after create_engine.

    Each new connection is in WAL mode, keeps foreign keys and waits up to 30 seconds for another one's lock. Each transaction begins
    with BEGIN IMMEDIATE, so that what it read is still true when it writes; one with the execution option `sqlite_read_only=True`
    begins with BEGIN, which waits for no writer, and must not write. Raises UnsupportedDatabaseError for another database.
    """
    prepared = engine if isinstance(engine, Engine) else engine.sync_engine
    traits = traits_of(prepared.dialect.name)
    if traits.begin is None:
        raise UnsupportedDatabaseError(f"{traits.name} needs no such preparation: use this engine as it is")
    traits.prepare_engine(prepared)
    event.listen(prepared, "begin", traits.begin)


def shown(url: str | URL) -> str:
    """A URL without its password, and without its query, which may hold one too."""
    return _made(url).set(query={}).render_as_string(hide_password=True)


def _made(url: str | URL) -> URL:
    """The URL without the line's end that a secret from a file brings along."""
    return make_url(url.strip() if isinstance(url, str) else url)


def _parsed(url: str | URL, *, connects: bool = True) -> tuple[URL, Traits]:
    try:
        parsed = _made(url)
    except (ArgumentError, ValueError):
        raise UnsupportedDatabaseError(_NO_URL) from None
    has_password = isinstance(url, str) and parsed.password is not None
    if has_password and "@" in f"{parsed.host}{parsed.database}":  # a part of the password was taken for them
        raise UnsupportedDatabaseError(_NO_URL)
    traits = traits_of(parsed.get_backend_name())
    if connects and traits.needs_database and not parsed.database:
        raise UnsupportedDatabaseError(f"the URL names no database: use one like {traits.name}://user@host/fine_tuning")
    return parsed, traits


def _with_driver(url: URL, driver: str) -> URL:
    return url if "+" in url.drivername else url.set(drivername=f"{url.drivername}+{driver}")


def _dialect(url: URL, traits: Traits) -> type[Dialect]:
    try:
        return url.get_dialect()
    except NoSuchModuleError:
        raise UnsupportedDatabaseError(f"SQLAlchemy knows no driver {url.drivername!r}: use {traits.name}+{traits.driver}://") from None


def _create(create: Callable[..., E], url: URL, traits: Traits, dialect: type[Dialect], options: Mapping[str, Any]) -> E:
    try:
        return create(url, **traits.engine_options(url, dialect), **options)
    except ImportError as error:
        extras = ["aio"] if dialect.is_async else []
        if traits.extra and (dialect.driver == traits.driver or not dialect.is_async):
            extras.append(traits.extra)
        ours = f"'fine-tuning-store[{','.join(extras)}]'"
        if dialect.driver in (traits.driver, traits.async_driver):
            install = f"pip install {ours}" if extras else "install it"
        else:
            driver = traits.async_driver if dialect.is_async else traits.driver
            install = f"install it, or use {traits.name}+{driver}://" + (f" of {ours}" if extras else "")
        raise UnsupportedDatabaseError(f"the driver of {url.drivername!r} is not installed ({error}): {install}") from error


def require_sync_engine(engine):
    if not isinstance(engine, Engine) or engine.dialect.is_async:
        raise TypeError("x")

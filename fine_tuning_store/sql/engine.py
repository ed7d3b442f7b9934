"""An engine from a URL, set up right for its database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from fine_tuning_store.errors import UnsupportedDatabaseError
from fine_tuning_store.sql.dialects import Traits, traits_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

E = TypeVar("E")


def connect(url: str | URL) -> Engine:
    """A sync engine for the URL; it connects on first use. A URL without a driver takes the default one of its database.

    Raises UnsupportedDatabaseError for an unknown database, a missing driver or an async one. No message holds a password.
    """
    parsed, traits = _resolved(url)
    if _is_async(parsed, traits):
        raise UnsupportedDatabaseError(
            f"{parsed.drivername!r} is an async driver and this store is synchronous: use {traits.name}+{traits.driver}://"
        )
    engine = _create(create_engine, parsed, traits)
    traits.prepare_engine(engine)
    return engine


def connect_either(url: str | URL) -> Engine | AsyncEngine:
    """The same, for a URL of either colour."""
    parsed, traits = _resolved(url)
    if not _is_async(parsed, traits):
        return connect(parsed)
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = _create(create_async_engine, parsed, traits)
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


def _resolved(url: str | URL) -> tuple[URL, Traits]:
    parsed = _parsed(url)
    traits = traits_of(parsed.get_backend_name())
    if "+" not in parsed.drivername:
        parsed = parsed.set(drivername=f"{parsed.drivername}+{traits.driver}")
    return parsed, traits


def _is_async(url: URL, traits: Traits) -> bool:
    try:
        return url.get_dialect().is_async
    except NoSuchModuleError:
        raise UnsupportedDatabaseError(f"SQLAlchemy knows no driver {url.drivername!r}: use {traits.name}+{traits.driver}://") from None


def _create(create: Callable[..., E], url: URL, traits: Traits) -> E:
    try:
        return create(url, **traits.engine_options(url))
    except ImportError as error:
        install = f"pip install 'fine-tuning-store[{traits.extra}]'" if traits.extra else "install it"
        raise UnsupportedDatabaseError(f"the driver of {url.drivername!r} is not installed ({error}): {install}") from error


def _parsed(url: str | URL) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise UnsupportedDatabaseError("this is not a database URL: use one like sqlite:///fine_tuning.db") from None

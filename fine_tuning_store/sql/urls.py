"""The URLs of databases: parsed with what SQLAlchemy does not accept, and shown without their secrets."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import URL, Dialect, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from fine_tuning_store.errors import UnsupportedDatabaseError
from fine_tuning_store.sql.dialects import Database, database_named
from fine_tuning_store.sql.dialects.base import require_port
from fine_tuning_store.sql.dialects.sqlite_url import as_sqlite_reads_it

_NOT_A_URL: Final = (
    "this is not a database URL: use one like sqlite:///fine_tuning.db, and percent-encode @ : / % in a password (%40 %3A %2F %25)"
)
#: A URL with several hosts, as libpq writes it: SQLAlchemy takes them for one, with a port that is not a number.
_SEVERAL_HOSTS: Final = re.compile(r"(?P<start>[\w+]+://(?:[^@]*@)?)(?P<hosts>[^@/?]*,[^@/?]*)(?P<end>[/?].*)?", re.DOTALL)


def parse(url: str | URL, *, connects: bool = True) -> tuple[URL, Database]:
    """Return a URL and its database.

    Args:
        url: The URL.
        connects: False if only the kind of the database counts.

    Raises:
        UnsupportedDatabaseError: It is not a URL, or its database is not supported.
        EngineConfigurationError: It has a port that does not exist.
    """
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
    if parsed.port is not None:
        require_port(parsed.port)
    return parsed, database


def with_driver(url: URL, driver: str) -> URL:
    """Return a URL that names the driver, unless it names another one."""
    return url if "+" in url.drivername else url.set(drivername=f"{url.drivername}+{driver}")


def dialect_class(url: URL, database: Database) -> type[Dialect]:
    """Return the class of a URL's dialect. Raises UnsupportedDatabaseError if its driver is not supported."""
    try:
        dialect = url.get_dialect()
    except NoSuchModuleError:
        raise UnsupportedDatabaseError(f"SQLAlchemy knows no driver {url.drivername!r}: use {database.name}+{database.driver}://") from None
    database.require_supported(dialect)
    return dialect


def offline_url(url: str) -> URL:
    """Return the URL of a script of a migration, with a driver: only the kind of the database counts."""
    parsed, database = parse(url, connects=False)
    parsed = with_driver(parsed, database.driver)
    dialect_class(parsed, database)
    return parsed


def shown(url: str | URL) -> str:
    """Return a URL without its password and its query, which may contain one too."""
    return _made(url).set(query={}).render_as_string(hide_password=True)


def _made(url: str | URL) -> URL:
    """Make a URL, without the line end of a secret that was read from a file, and with several hosts in the query, one by one."""
    if not isinstance(url, str):
        made = url
    elif several := _SEVERAL_HOSTS.fullmatch(url.strip()):
        made = make_url(several["start"] + (several["end"] or "")).update_query_dict({"host": several["hosts"].split(",")})
    else:
        made = as_sqlite_reads_it(make_url(url.strip()))
    scheme, plus, driver = made.drivername.partition("+")
    return made.set(drivername=f"postgresql{plus}{driver}") if scheme == "postgres" else made

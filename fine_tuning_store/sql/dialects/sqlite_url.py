"""The URLs of SQLite databases."""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import unquote

from sqlalchemy import URL

from fine_tuning_store.errors import EngineConfigurationError

_URI_PARAMETERS: Final = ("cache", "immutable", "mode", "modeof", "nolock", "psow", "vfs")
_EXAMPLE: Final = "sqlite:///file:fine_tuning.db?mode=rw&uri=true"
_FLAG: Final = ("true|false|yes|no|on|off|0|1", "true or false")
#: What the values of parameters must be: SQLite and its driver name some wrong ones late, and others never.
_VALUES: Final = {
    "uri": _FLAG,
    "immutable": _FLAG,
    "nolock": _FLAG,
    "psow": _FLAG,
    "mode": ("ro|rw|rwc|memory", "ro, rw, rwc or memory"),
    "cache": ("shared|private", "shared or private"),
    "cached_statements": ("[0-9]{1,9}", "a whole number"),
}
_ITSELF: Final = "the store sets it itself"
_ADVICE: Final = {
    "timeout": "use timeouts=Timeouts(lock=...)",
    "schema": "a SQLite file has no schemas",
    **dict.fromkeys(("autocommit", "check_same_thread", "detect_types", "factory", "isolation_level"), _ITSELF),
    **dict.fromkeys(("pool_size", "max_overflow", "pool_recycle", "pool_pre_ping"), "use engine_options="),
}


def path_of(url: URL) -> str | None:
    """Return the absolute path of a database's file, None if the database is in memory."""
    is_uri = _is_uri(url)
    name = url.database or ""
    if is_uri and (uri := re.match("file:(?://(?:localhost)?(?=/))?([^?#]*)", name)):
        name = unquote(uri[1])
    if name in ("", ":memory:") or (is_uri and (url.query.get("mode") == "memory" or url.query.get("vfs") == "memdb")):
        return None
    return os.path.realpath(name)


def as_sqlite_reads_it(url: URL) -> URL:
    """Return a URL that was made of a text, such that SQLite finds the file of a URI. SQLAlchemy 2.1 has decoded %23 and %3F in it."""
    if not (_is_uri(url) and url.database):
        return url
    return url.set(database=url.database.replace("#", "%23").replace("?", "%3F"))


def check_parameters(url: URL) -> None:
    """Refuse parameters that are not possible, and URIs that SQLite would take for another database.

    SQLAlchemy passes the parameters of SQLite's URIs on, and leaves unknown ones out with a warning.
    """
    if url.host or url.port or url.username or url.password:
        raise EngineConfigurationError(
            "a SQLite URL has no host: write sqlite:///fine_tuning.db for a file in this folder, and sqlite:////var/lib/fine_tuning.db for "
            "one in another folder"
        )
    if str(url.database).startswith("file:") and not _is_uri(url):
        raise EngineConfigurationError(
            f"{url.database!r} would be the name of a file: add uri=true to the URL's parameters, or write ./ before the name"
        )
    if _is_uri(url) and not str(url.database).startswith("file:"):  # SQLite would take the parameters for a part of the name
        raise EngineConfigurationError(f"with uri=true the URL must name its file like {_EXAMPLE}: write file: before the name")
    if _is_uri(url) and re.search("[#?]", str(url.database)):
        raise EngineConfigurationError(
            "the name of the file contains # or ?, where SQLite would cut it: with uri=true, write %23 and %3F in URL.create(database=...)"
        )
    for name in url.query:
        if name in _ADVICE:
            raise EngineConfigurationError(f"the URL's parameter {name!r} is not possible: {_ADVICE[name]}")
        if name not in ("uri", "cached_statements", *_URI_PARAMETERS) or (name in _URI_PARAMETERS and not _is_uri(url)):
            raise EngineConfigurationError(
                f"the URL's parameter {name!r} is not possible: use {', '.join(_URI_PARAMETERS)}, in a URL like {_EXAMPLE}"
            )
    for name, (pattern, rule) in _VALUES.items():
        value = url.query.get(name)
        if value is not None and not (isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII | re.IGNORECASE)):
            raise EngineConfigurationError(f"the URL's parameter {name!r} must be {rule}")


def _is_uri(url: URL) -> bool:
    return str(url.query.get("uri", "")).lower() in ("true", "1", "yes", "on")

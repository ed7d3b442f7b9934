"""The parameters of a PostgreSQL URL, which are libpq's, as each driver takes them.

psycopg and psycopg2 pass them to libpq. asyncpg has arguments of its own: it gets what it can do as well, and what is true of it anyway is
left out.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from sqlalchemy import URL, Dialect

from fine_tuning_store.errors import EngineConfigurationError
from fine_tuning_store.sql.dialects.base import require_port

_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSION_ATTRIBUTES: Final = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_UTF8: Final = ("utf8", "UTF8", "utf-8", "UTF-8", "unicode", "UNICODE")
_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": _SSL_MODES,
    "target_session_attrs": _SESSION_ATTRIBUTES,
    "client_encoding": _UTF8,
}
#: The value of sslrootcert that means the certificates of the operating system.
_SYSTEM: Final = "system"
#: The settings of a TCP connection.
TCP: Final = ("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
_NUMBERS: Final = frozenset({"connect_timeout", *TCP})

_SCHEMA: Final = "name the schema by schema=, on the command line by --schema"
_POOLER: Final = "open the store with transaction_pooler=True; the command line and Alembic need nothing"
_POOL: Final = "use engine_options="
#: What other programs and drivers call something that the store has, and what to do instead.
_ADVICE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("schema", "currentSchema", "search_path"), _SCHEMA),
    **dict.fromkeys(("pgbouncer", "prepare_threshold", "statement_cache_size", "prepared_statement_cache_size"), _POOLER),
    **dict.fromkeys(("connection_limit", "pool_size", "max_overflow", "pool_recycle", "pool_pre_ping"), _POOL),
    **dict.fromkeys(("pool_timeout", "lock_timeout"), "use timeouts="),
    "command_timeout": "limit statements by ?options=-cstatement_timeout=...",
    "replication": "a store needs an ordinary connection",
}

#: What asyncpg reads from a DSN by the names of libpq.
_IN_ASYNCPG_DSN: Final = frozenset(
    {
        "krbsrvname",
        "passfile",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslpassword",
        "sslrootcert",
        "target_session_attrs",
    }
)
#: What asyncpg ignores if its argument `ssl` is a context.
_IGNORED_BESIDE_A_CONTEXT: Final = {name for name in _IN_ASYNCPG_DSN if name.startswith("ssl")}
_ASYNCPG_ARGUMENTS: Final = {"dbname": "database", "user": "user", "password": "password"}
#: Settings that the server applies when a session begins. Of two of one name the later one counts.
_ASYNCPG_SETTINGS: Final = {
    "fallback_application_name": "application_name",
    "application_name": "application_name",
    "options": "options",
}
#: The values that describe what asyncpg does anyway.
_TRUE_OF_ASYNCPG: Final[Mapping[str, tuple[str, ...]]] = {
    "channel_binding": ("disable", "prefer"),
    "client_encoding": _UTF8,
    "gssencmode": ("disable", "prefer"),
    "load_balance_hosts": ("disable",),
    "sslcompression": ("0",),
    "sslnegotiation": ("postgres",),
    "sslsni": ("1",),
}


def connect_arguments(url: URL, dialect: type[Dialect]) -> tuple[URL, dict[str, Any]]:
    """Return a URL with the parameters that the driver takes as they are, and the others as arguments of its connect().

    Raises:
        EngineConfigurationError: The driver has no such parameter, or the value is wrong. The message contains no value.
    """
    parameters = {name: value for name, value in url.query.items() if name not in ("host", "port")}
    if jdbc := parameters.pop("ssl", None):  # of JDBC, which libpq understands, and of asyncpg
        parameters.setdefault("sslmode", "require" if jdbc == "true" else jdbc)
    for name, value in parameters.items():
        _check(name, value)
    texts = {name: value for name, value in parameters.items() if isinstance(value, str)}
    if dialect.driver == "asyncpg" and os.environ.get("PGSSLROOTCERT") == _SYSTEM:  # libpq reads it by itself
        texts.setdefault("sslrootcert", _SYSTEM)
    # Without it, a libpq before 16 would take the word for a file, and connect without it.
    if texts.get("sslrootcert") == _SYSTEM and texts.setdefault("sslmode", "verify-full") != "verify-full":
        raise EngineConfigurationError(
            "sslrootcert=system (in the URL or PGSSLROOTCERT) allows no sslmode but verify-full: write sslmode=verify-full, or leave it out"
        )
    addresses = _in_query(_hosts(url), all_ports=dialect.driver == "asyncpg")
    if dialect.driver == "asyncpg":
        return url.set(query=addresses), _for_asyncpg(texts)
    _check_libpq(texts, dialect)
    # By default the database, the role or PGCLIENTENCODING chooses the encoding, and no other than UTF-8 has all characters.
    return url.set(query={**texts, **addresses}), {"client_encoding": "utf8"}


def _check(name: str, value: object) -> None:
    if name in _ADVICE:
        raise EngineConfigurationError(f"the URL has the parameter {name!r}, which PostgreSQL does not know: {_ADVICE[name]}")
    if not isinstance(value, str):
        raise EngineConfigurationError(f"the URL has the parameter {name!r} more than once: keep one")
    if name in _NUMBERS and not re.fullmatch(r"-?\d{1,9}", value):
        raise EngineConfigurationError(f"the URL's parameter {name!r} must be a whole number")
    if name in _VALUES and value not in _VALUES[name]:
        raise EngineConfigurationError(f"the URL's parameter {name!r} must be one of {', '.join(_VALUES[name])}")


def _check_libpq(parameters: Mapping[str, str], dialect: type[Dialect]) -> None:
    check = _checked_by(dialect)
    for name, value in parameters.items():
        try:
            check(**{name: value})
        except Exception as error:  # the driver's, of a module that may not be installed
            raise EngineConfigurationError(f"the URL has the parameter {name!r}, which libpq does not know: leave it out") from error


def _checked_by(dialect: type[Dialect]) -> Callable[..., object]:
    """Return a function that raises unless the driver's libpq knows the parameters: which ones it knows depends on its release."""
    if dialect.driver == "psycopg2":
        from psycopg2.extensions import make_dsn  # type: ignore[import-untyped]

        checked: Callable[..., object] = make_dsn
        return checked
    from psycopg.conninfo import make_conninfo

    return make_conninfo


def _for_asyncpg(parameters: Mapping[str, str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if parameters.get("sslrootcert") == _SYSTEM:  # asyncpg would take it for a file
        arguments["ssl"] = ssl.create_default_context()  # which verifies the certificate and its name
        parameters = {name: value for name, value in parameters.items() if name not in ("sslrootcert", "sslmode")}
        for name in _IGNORED_BESIDE_A_CONTEXT & parameters.keys():
            raise EngineConfigurationError(
                f"the URL's parameter {name!r} is not possible beside sslrootcert=system with asyncpg: leave it out, or use "
                "postgresql+psycopg_async://, which has all parameters of libpq"
            )
    in_dsn = {name: value for name, value in parameters.items() if name in _IN_ASYNCPG_DSN}
    if in_dsn:
        arguments["dsn"] = f"postgresql://?{urlencode(in_dsn, quote_via=quote)}"
    settings = {_ASYNCPG_SETTINGS[name]: parameters[name] for name in _ASYNCPG_SETTINGS if name in parameters}
    if settings:
        arguments["server_settings"] = settings
    for name, value in parameters.items():
        if name == "connect_timeout":
            arguments["timeout"] = int(value) if int(value) > 0 else None
        elif name in TCP:
            arguments[name] = int(value)
        elif name in _ASYNCPG_ARGUMENTS:
            arguments[_ASYNCPG_ARGUMENTS[name]] = value
        elif name not in in_dsn and name not in _ASYNCPG_SETTINGS and value not in _TRUE_OF_ASYNCPG.get(name, ()):
            raise EngineConfigurationError(
                f"the URL's parameter {name!r} is not possible with asyncpg: leave it out, or use postgresql+psycopg_async://, which has "
                "all parameters of libpq"
            )
    return arguments


# Several hosts are tried one after the other. SQLAlchemy takes apart some of the forms, and not for every driver.


def _hosts(url: URL) -> list[tuple[str, str]]:
    """Return the hosts and their ports; nothing if the URL has the usual form, which needs no translation."""
    given, ports = (_several(url.query.get(name)) for name in ("host", "port"))
    if not given and not ports and not re.search("[,%]", url.host or ""):
        return []
    hosts = [_host_and_port(each) for each in given or unquote(url.host or "").split(",")]
    own_ports = [port for _, port in hosts]
    if any(own_ports):
        ports = own_ports if not ports else []
    else:
        ports = ports or ["" if url.port is None else str(url.port)]
        ports = ports * len(hosts) if len(ports) == 1 else ports
    if len(hosts) > 1 and not all(host for host, _ in hosts):
        raise EngineConfigurationError("the URL names several hosts, of which one is empty: name each, as in ?host=db1:5432&host=db2:5432")
    if len(ports) != len(hosts) or not all(re.fullmatch(r"\d*", port) for port in ports):
        raise EngineConfigurationError(
            "the URL's hosts and ports do not match: write ?host=db1:5432&host=db2:5432, or one port for all hosts"
        )
    for port in filter(None, ports):
        require_port(int(port))
    return [(host, port) for (host, _), port in zip(hosts, ports, strict=True)]


def _several(given: str | tuple[str, ...] | None) -> list[str]:
    return list(given) if isinstance(given, tuple) else given.split(",") if given else []


def _host_and_port(text: str) -> tuple[str, str]:
    if bracketed := re.fullmatch(r"\[(.+)\](?::(.*))?", text):
        return bracketed[1], bracketed[2] or ""
    host, _, port = text.partition(":") if text.count(":") == 1 else (text, "", "")  # an IPv6 address has more
    return host, port


def _in_query(hosts: list[tuple[str, str]], *, all_ports: bool) -> dict[str, str]:
    """Return the hosts in the one form that SQLAlchemy understands for all of them. With several, asyncpg needs all ports."""
    names, ports = ([each[part] for each in hosts] for part in (0, 1))
    if all_ports and len(hosts) > 1:
        ports = [port or "5432" for port in ports]
    made = {"host": ",".join(names), "port": ",".join(ports)}
    return {name: value for name, value in made.items() if value.strip(",")}

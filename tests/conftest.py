"""Fixtures: every test that takes `database`, `url` or `store` runs on SQLite, PostgreSQL and MariaDB.

Where a module is marked `every_driver`, its tests that take a `store` run on an async one of every driver as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy.pool import QueuePool

from fine_tuning_store import FineTuningStore
from tests.support import databases
from tests.support.async_store import AwaitedStore
from tests.support.databases import Database


@cache
def found(name: str) -> Database | str:
    return databases.find_postgresql() if name == "postgresql" else databases.find_mariadb()


def pytest_report_header() -> list[str]:
    """Say which databases take part."""
    servers = (found(name) for name in ("postgresql", "mariadb"))
    return ["sqlite: temporary files", *(server if isinstance(server, str) else f"{server.name}: {server.where}" for server in servers)]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_driver: the tests that take a store run on sync and async ones alike")
    config.addinivalue_line("markers", "async_drivers: the tests run on each async driver and take its `async_url`")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the databases, and the drivers where the test takes a store. A test that names its own keeps them."""
    if any({"database", "driver"} & set(_names(mark.args[0])) for mark in metafunc.definition.iter_markers("parametrize")):
        return
    if "driver" in metafunc.fixturenames:
        marked = {mark.name for mark in metafunc.definition.iter_markers()}
        sync = [] if "async_drivers" in marked else [None]
        every = bool(marked & {"every_driver", "async_drivers"})
        pairs = [(name, driver) for name in databases.NAMES for driver in (*sync, *(databases.ASYNC_DRIVERS[name] if every else ()))]
        ids = [f"{name}-{driver}" if driver else name for name, driver in pairs]
        metafunc.parametrize(("database", "driver"), pairs, ids=ids, indirect=True, scope="session")
    elif "database" in metafunc.fixturenames:
        metafunc.parametrize("database", databases.NAMES, indirect=True, scope="session")


def _names(given: str | Sequence[str]) -> Sequence[str]:
    return [name.strip() for name in given.split(",")] if isinstance(given, str) else given


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that was given an async store in that store's loop."""
    store = pyfuncitem.funcargs.get("store")
    if not isinstance(store, AwaitedStore):
        return None
    store.run_test(partial(pyfuncitem.obj, **{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True


def pytest_addoption(parser: pytest.Parser) -> None:
    """How hard races and start-up storms try."""
    parser.addoption("--rounds", type=int, default=2, help="rounds of each race and each storm of processes (default 2)")
    parser.addoption("--kill-every", type=int, default=9, help="kill migrations after each so many of their statements (default 9)")
    parser.addoption("--soak-seconds", type=float, default=2.0, help="how long tasks work and are cancelled at random (default 2)")


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    rounds: int = request.config.getoption("--rounds")
    return rounds


@pytest.fixture(scope="session")
def soak_seconds(request: pytest.FixtureRequest) -> float:
    seconds: float = request.config.getoption("--soak-seconds")
    return seconds


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A kind of database."""
    if request.param == "sqlite":
        yield databases.Sqlite(tmp_path_factory.mktemp("sqlite"))
        return
    server = found(request.param)
    if isinstance(server, str):
        databases.missing(server)
    yield server
    server.close()


@pytest.fixture
def empty_url(database: Database) -> Iterator[str]:
    """A database without tables."""
    with database.empty() as url:
        yield url


@pytest.fixture
def url(database: Database) -> Iterator[str]:
    """A migrated database without jobs."""
    with database.migrated() as url:
        yield url


@pytest.fixture(scope="session")
def driver(request: pytest.FixtureRequest) -> str | None:
    """The async driver of the store, None for a sync store."""
    driver: str | None = getattr(request, "param", None)
    return driver


@pytest.fixture
def async_url(url: str, driver: str) -> str:
    """A migrated database without jobs, by way of an async driver."""
    return databases.with_driver(url, driver)


@pytest.fixture
def store(url: str, driver: str | None) -> Iterator[FineTuningStore]:
    """A store on a migrated database without jobs. No connection of it may be out after the test."""
    store = FineTuningStore.from_url(url) if driver is None else AwaitedStore(databases.with_driver(url, driver))
    yield cast("FineTuningStore", store)
    pool = store.engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0
    if isinstance(store, AwaitedStore):
        store.close_all()
    else:
        store.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[FineTuningStore]:
    """A store where the database does not matter."""
    with FineTuningStore.from_url(f"sqlite:///{tmp_path}/jobs.db") as store:
        store.schema.upgrade()
        yield store

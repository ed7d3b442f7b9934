"""Fixtures: every test that takes `database`, `url` or `store` runs on SQLite, PostgreSQL and MariaDB.

In a module marked `every_driver`, tests that take a `store` also run on the other sync drivers, and on an async store with each async
driver.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import make_url
from sqlalchemy.pool import QueuePool

from fine_tuning_store import FineTuningStore
from tests.support import databases, servers
from tests.support.async_store import AwaitedStore
from tests.support.databases import Database
from tests.support.tables import Row

TITLES = {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}
found_key = pytest.StashKey[dict[str, "dict[str, str] | str"]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Find the servers once per run. The xdist controller passes them to its workers."""
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        config.stash[found_key] = worker_input["servers"]
        return
    found = {"postgresql": servers.find_postgresql(), "mariadb": servers.find_mariadb()}
    config.stash[found_key] = found
    config.add_cleanup(servers.stop_started)
    for server in found.values():
        if not isinstance(server, str):
            servers.drop_abandoned_databases(server["url"])
        elif servers.REQUIRED:
            raise pytest.UsageError(f"FINE_TUNING_STORE_REQUIRE_SERVERS=1, but there is {server}")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the servers to a worker."""
    node.workerinput["servers"] = node.config.stash[found_key]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """List the databases of this run."""
    lines = [server if isinstance(server, str) else f"{name}: {server['where']}" for name, server in config.stash[found_key].items()]
    return ["sqlite: temporary files", *lines]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print one line for each database that was not tested."""
    for name, server in config.stash[found_key].items():
        if isinstance(server, str):
            terminalreporter.write_line(f"Not tested on {TITLES[name]}: {server}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of unavailable servers, and mark everything in system/ as slow."""
    absent = {name for name, server in config.stash[found_key].items() if isinstance(server, str)}
    left_out = [item for item in items if _database(item) in absent]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _database(item) not in absent]
    for item in items:
        if SYSTEM in item.path.parents:
            item.add_marker("slow")


def pytest_collection_finish() -> None:
    """Leave what the imports have made out of every later collection of garbage, and collect less often: 6 % of the time of a run.

    Tests that look for garbage collect it themselves.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


SYSTEM = Path(__file__).parent / "system"


def _database(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("database") if callspec else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test by database, and by driver if it takes a store, unless it does so itself."""
    if any({"database", "driver"} & set(_names(mark.args[0])) for mark in metafunc.definition.iter_markers("parametrize")):
        return
    if "driver" in metafunc.fixturenames:
        marked = {mark.name for mark in metafunc.definition.iter_markers()}
        sync = [] if "async_drivers" in marked else [None]
        drivers: list[Mapping[str, Sequence[str]]] = []
        if "every_driver" in marked:
            drivers = [databases.SYNC_DRIVERS, databases.ASYNC_DRIVERS]
        elif "async_drivers" in marked:
            drivers = [databases.ASYNC_DRIVERS]
        pairs = [(name, driver) for name in databases.NAMES for driver in (*sync, *(driver for kind in drivers for driver in kind[name]))]
        ids = [f"{name}-{driver}" if driver else name for name, driver in pairs]
        metafunc.parametrize(("database", "driver"), pairs, ids=ids, indirect=True, scope="session")
    elif "database" in metafunc.fixturenames:
        metafunc.parametrize("database", databases.NAMES, indirect=True, scope="session")


def _names(given: str | Sequence[str]) -> Sequence[str]:
    return [name.strip() for name in given.split(",")] if isinstance(given, str) else given


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that takes an async store in the event loop of that store."""
    store = pyfuncitem.funcargs.get("store")
    if not isinstance(store, AwaitedStore):
        return None
    store.run_test(partial(pyfuncitem.obj, **{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options for the intensity of races, start-up storms, kills and soaks."""
    parser.addoption("--rounds", type=int, default=2, help="rounds of each race and each storm of processes (default: 2)")
    parser.addoption("--kill-every", type=int, default=9, help="kill migrations after every Nth of their statements (default: 9)")
    parser.addoption("--soak-seconds", type=float, default=2.0, help="how long tasks work and are cancelled at random (default: 2)")


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    rounds: int = request.config.getoption("--rounds")
    return rounds


@pytest.fixture(scope="session")
def soak_seconds(request: pytest.FixtureRequest) -> float:
    seconds: float = request.config.getoption("--soak-seconds")
    return seconds


@pytest.fixture(scope="session")
def find_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Database]]:
    """Return a function that finds a database by name. Each is created on first use and kept for the session."""
    made: dict[str, Database] = {}

    def find(name: str) -> Database:
        if name not in made:
            if name == "sqlite":
                made[name] = databases.Sqlite(tmp_path_factory.mktemp("sqlite"))
            else:
                server = request.config.stash[found_key][name]
                if isinstance(server, str):
                    databases.missing(server)
                made[name] = databases.Server(name, make_url(server["url"]), server["where"])
        return made[name]

    yield find
    for database in made.values():
        database.close()


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest, find_database: Callable[[str], Database]) -> Database:
    """The database that the test runs on."""
    return find_database(request.param)


@pytest.fixture
def empty_url(database: Database) -> Iterator[str]:
    """The URL of a new database without tables."""
    with database.empty() as url:
        yield url


@pytest.fixture
def url(database: Database) -> Iterator[str]:
    """The URL of the shared migrated database, without jobs. The test must not change its tables."""
    yield database.shared
    database.clean()


@pytest.fixture
def altered_url(database: Database) -> Iterator[str]:
    """The URL of a new migrated database, without jobs. The test may change its tables."""
    with database.altered() as url:
        yield url


@pytest.fixture(scope="session")
def driver(request: pytest.FixtureRequest) -> str | None:
    """The driver of the store, or None for a sync store with the driver that a URL without one gets."""
    driver: str | None = getattr(request, "param", None)
    return driver


@pytest.fixture
def async_url(url: str, driver: str) -> str:
    """The URL of the shared migrated database, without jobs, with an async driver."""
    return databases.with_driver(url, driver)


class Stores:
    """One store per database and driver, kept for the session."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str | None], FineTuningStore] = {}

    def get(self, url: str, driver: str | None) -> FineTuningStore:
        key = (url, driver)
        if key not in self._open:
            named = url if driver is None else databases.with_driver(url, driver)
            made = FineTuningStore.from_url(named) if databases.is_sync(driver) else AwaitedStore(named)
            self._open[key] = cast("FineTuningStore", made)
        return self._open[key]

    def check(self) -> None:
        """Assert that all connections are checked in. A store that leaked one is closed, so that the next test gets a new store."""
        leaked = []
        for key, store in list(self._open.items()):
            pool = store.engine.pool
            assert isinstance(pool, QueuePool)
            if pool.checkedout():
                leaked.append(pool.status())
                self._close(self._open.pop(key))
        assert leaked == []

    def close(self) -> None:
        while self._open:
            self._close(self._open.popitem()[1])

    @staticmethod
    def _close(store: FineTuningStore) -> None:
        if isinstance(store, AwaitedStore):
            store.close_all()
        else:
            store.close()


@pytest.fixture(scope="session")
def _stores() -> Iterator[Stores]:
    stores = Stores()
    yield stores
    stores.close()


@pytest.fixture
def store(url: str, driver: str | None, _stores: Stores) -> Iterator[FineTuningStore]:
    """A store on the shared migrated database, without jobs. After the test, all its connections must be checked in."""
    yield _stores.get(url, driver)
    _stores.check()


@pytest.fixture
def row(request: pytest.FixtureRequest, subtests: pytest.Subtests) -> Row:
    """Return a context manager for each row of a table: a subtest, after which the databases are emptied."""
    shared = {"url", "store"} & set(request.fixturenames)
    find_database, stores = (request.getfixturevalue(name) for name in ("find_database", "_stores"))
    database = request.getfixturevalue("database") if shared else None

    @contextmanager
    def row(name: str) -> Iterator[None]:
        with subtests.test(name):
            try:
                yield
            finally:
                if database is not None:
                    database.clean()
                elif "sqlite_store" in request.fixturenames:
                    find_database("sqlite").clean()
            stores.check()

    return row


@pytest.fixture
def sqlite_store(find_database: Callable[[str], Database], _stores: Stores) -> Iterator[FineTuningStore]:
    """A store on SQLite, for tests in which the database does not matter."""
    sqlite = find_database("sqlite")
    yield _stores.get(sqlite.shared, None)
    _stores.check()
    sqlite.clean()

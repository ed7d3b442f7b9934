"""Fixtures: every test that takes `database`, `url` or `store` runs on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy.pool import QueuePool

from fine_tuning_store import FineTuningStore
from tests import databases
from tests.databases import Database


@cache
def found(name: str) -> Database | str:
    return databases.find_postgresql() if name == "postgresql" else databases.find_mariadb()


def pytest_report_header() -> list[str]:
    """Say which databases take part."""
    servers = (found(name) for name in ("postgresql", "mariadb"))
    return ["sqlite: temporary files", *(server if isinstance(server, str) else f"{server.name}: {server.where}" for server in servers)]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How hard races and start-up storms try."""
    parser.addoption("--rounds", type=int, default=2, help="rounds of each race and each storm of processes (default 2)")


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    rounds: int = request.config.getoption("--rounds")
    return rounds


@pytest.fixture(scope="session", params=databases.NAMES)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A kind of database."""
    if request.param == "sqlite":
        yield databases.Sqlite(tmp_path_factory.mktemp("sqlite"))
        return
    server = found(request.param)
    if isinstance(server, str):
        if databases.REQUIRED:
            pytest.fail(server)
        pytest.skip(server)
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


@pytest.fixture
def store(url: str) -> Iterator[FineTuningStore]:
    """A store on a migrated database without jobs. No connection of it may be out after the test."""
    with FineTuningStore.connect(url) as store:
        yield store
        pool = store.engine.pool
        assert isinstance(pool, QueuePool)
        assert pool.checkedout() == 0


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[FineTuningStore]:
    """A store where the database does not matter."""
    with FineTuningStore.connect(f"sqlite:///{tmp_path}/jobs.db") as store:
        store.schema.upgrade()
        yield store

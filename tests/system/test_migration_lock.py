"""Migrations where a session cannot hold a lock: through a PgBouncer that pools transactions, and on a Galera cluster of three nodes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from sqlalchemy import URL, Connection, StaticPool, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import AsyncFineTuningStore, EngineConfigurationError, FineTuningStore, SchemaConflictError, SchemaLockTimeoutError
from fine_tuning_store.schema import galera_lease
from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.galera_lease import lease
from fine_tuning_store.sql.models import VERSION_TABLE
from fine_tuning_store.sql.waiting import poll
from tests.schema.test_cli import db_json
from tests.schema.test_schema import HEAD
from tests.support import galera, pgbouncer
from tests.support.databases import ASYNC_DRIVERS, SYNC_DRIVERS, Database, Server, with_driver
from tests.support.future_release import ROOT, alembic
from tests.support.parallel import at_once
from tests.system.test_killed import from_nothing, from_the_first, kill_upgrade, kill_upgrades
from tests.system.test_storms import PROCESSES, from_the_first_release, start, start_async

pytestmark = pytest.mark.timeout(1800)

on_galera = pytest.mark.parametrize("place", ["galera"], indirect=True, scope="module")

TERMINATE_HOLDER = text(
    "SELECT pg_terminate_backend(pid) FROM pg_locks "
    "WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@dataclass
class Place:
    """A server and the URLs by which it is reached, one of which may be a pooler."""

    server: Server
    addresses: list[URL]
    pooler: URL | None = None

    @contextmanager
    def empty(self) -> Iterator[list[str]]:
        """Yield the URLs of a database without tables, one for each URL of the server."""
        with self.server.empty() as url:
            name = make_url(url).database
            urls = [way.set(database=name).render_as_string(hide_password=False) for way in self.addresses]
            for each in urls:
                with self.connect(each) as store:
                    assert poll(partial(has_database, store), 30, is_async=False)
            yield urls

    def pooled(self, url: str) -> bool:
        return self.pooler is not None and make_url(url).port == self.pooler.port

    def connect(self, url: str) -> FineTuningStore:
        return FineTuningStore.from_url(url, transaction_pooler=self.pooled(url))


def has_database(store: FineTuningStore) -> bool:
    """Return whether the node has received the new database, which takes a moment in a cluster."""
    try:
        return store.schema.current() is None
    except Exception:  # noqa: BLE001 - retried
        return False


def has_jobs(store: FineTuningStore, jobs: int) -> bool:
    """Return whether the node has received the jobs that were written to other nodes."""
    return len({job.id for job in store.jobs.iterate()}) == jobs


@pytest.fixture(scope="module", params=["pgbouncer", "galera"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, find_database: Callable[[str], Database]
) -> Iterator[Place]:
    if request.param == "galera":
        with galera.cluster() as urls:
            yield Place(Server("mariadb", urls[0], "Galera"), urls)
        return
    server = find_database("postgresql")
    assert isinstance(server, Server)
    with pgbouncer.pooled(server.admin, tmp_path_factory.mktemp("pgbouncer")) as url:
        yield Place(server, [url, server.admin], url)


@pytest.fixture
def urls(place: Place) -> Iterator[list[str]]:
    with place.empty() as urls:
        yield urls


def held_lock(connection: Connection, seconds: float = 1) -> Any:
    return support_for(connection.dialect).migration_lock(connection, seconds)


def change(store: FineTuningStore, values: str) -> None:
    """Update the lease manually, as soon as the node has received it."""

    def is_changed() -> bool:
        try:
            with store.engine.begin() as connection:
                return connection.execute(text(f"UPDATE {lease.name} SET {values}")).rowcount == 1
        except DBAPIError:
            return False

    assert poll(is_changed, 30, is_async=False)


def test_processes_that_start_at_once_all_work(place: Place, rounds: int) -> None:
    for number in range(rounds):
        with place.empty() as urls, place.connect(urls[0]) as store:
            if number % 2:
                from_the_first_release(store)
            drivers = ASYNC_DRIVERS[place.server.name]
            calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
            for process in range(PROCESSES):
                url = urls[process % len(urls)]
                if process % 2:
                    calls.append((start, (url, place.pooled(url))))
                else:
                    async_url = with_driver(url, drivers[process // 2 % len(drivers)])
                    calls.append((start_async, (async_url, place.pooled(url))))

            assert at_once(*calls) == [(store.schema.head(), None)] * PROCESSES

            assert poll(partial(has_jobs, store, PROCESSES + number % 2), 30, is_async=False)
            assert store.schema.check() == ()
            with store.engine.connect() as connection:
                assert connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")).all() == [store.schema.head()]


@pytest.mark.parametrize("place", ["pgbouncer"], indirect=True, scope="module")
def test_the_migration_commands_work_through_a_pooler_too(place: Place, urls: list[str]) -> None:
    for driver in (None, *SYNC_DRIVERS["postgresql"], *ASYNC_DRIVERS["postgresql"]):
        url = urls[0] if driver is None else with_driver(urls[0], driver)
        assert db_json("upgrade", url=url) == (0, {"revision": HEAD})
        assert db_json("check", url=url) == (0, {"differences": []})
        alembic(ROOT, url, "downgrade", "base")


def test_the_error_of_a_lock_timeout_names_the_holder(place: Place, urls: list[str]) -> None:
    holder_pattern = rf"process {os.getpid()} on .*, which has \d+ s left" if place.pooler is None else r"PostgreSQL process \d+"
    for one, another in ((urls[0], urls[-1]), (urls[-1], urls[0])):
        with place.connect(one) as holder, place.connect(another) as other:
            with holder.engine.connect() as connection, held_lock(connection):
                for call in (other.schema.upgrade, other.schema.adopt):
                    with pytest.raises(SchemaLockTimeoutError, match=holder_pattern):
                        call(lock_timeout=0.2)
            other.schema.upgrade()
            other.schema.downgrade("base")


@pytest.mark.parametrize("pool", [{"poolclass": StaticPool}, {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}])
def test_a_pool_that_has_no_second_connection_is_refused(place: Place, urls: list[str], pool: dict[str, Any]) -> None:
    engine = create_engine(urls[0], connect_args={} if place.pooler is None else {"prepare_threshold": None}, **pool)
    with pytest.raises(EngineConfigurationError, match="two connections"):
        FineTuningStore(engine).schema.upgrade()
    engine.dispose()

    with place.connect(urls[-1]) as other:
        other.schema.upgrade(lock_timeout=5)


@on_galera
def test_a_lease_is_renewed_during_a_long_statement(place: Place, urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(galera_lease, "RENEWAL_SECONDS", 0.05)

    def is_renewed(other: FineTuningStore) -> bool:
        with other.engine.connect() as connection:
            return bool(connection.scalar(text(f"SELECT expires_at FROM {lease.name}")))

    def wait_until_renewed(connection: Connection) -> None:
        with held_lock(connection), place.connect(urls[-1]) as other:
            change(other, "expires_at = 0")
            assert poll(lambda: is_renewed(other), 30, is_async=connection.dialect.is_async)

    with place.connect(urls[0]) as store, store.engine.connect() as connection:
        wait_until_renewed(connection)

    async def wait_in_a_task(url: str) -> None:
        async with AsyncFineTuningStore.from_url(url, transaction_pooler=place.pooled(url)) as store, store.engine.connect() as connection:
            await connection.run_sync(wait_until_renewed)
            assert len(asyncio.all_tasks()) == 1

    for driver in ASYNC_DRIVERS[make_url(urls[0]).get_backend_name()]:
        asyncio.run(wait_in_a_task(with_driver(urls[0], driver)))


@pytest.mark.parametrize("isolation_level", ["READ COMMITTED", "REPEATABLE READ", "AUTOCOMMIT"])
def test_a_migration_whose_lock_was_lost_commits_nothing_more(place: Place, urls: list[str], isolation_level: Any) -> None:
    with place.connect(urls[0]) as own, place.connect(urls[-1]) as other:
        host = own.engine.execution_options(isolation_level=isolation_level)

        def lose_lock(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
            if "EXISTS fine_tuning_jobs (" not in statement:
                return
            if place.pooler is None:
                change(other, "holder = 'another process'")
            else:
                with other.engine.begin() as admin:
                    assert admin.scalars(TERMINATE_HOLDER).all() == [True]

        event.listen(host, "after_cursor_execute", lose_lock)
        with pytest.raises(SchemaConflictError, match="the migration lock was lost"):
            FineTuningStore(host).schema.upgrade()

        assert other.schema.current() is None
        if place.pooler is None:
            with pytest.raises(SchemaLockTimeoutError, match="another process"):
                other.schema.upgrade(lock_timeout=0.1)
            change(other, "expires_at = 0")  # the lease of the new holder expires
        other.schema.upgrade()
        assert other.schema.check() == ()


@on_galera
def test_the_lease_of_a_dead_process_is_valid_until_it_expires(place: Place, urls: list[str]) -> None:
    assert at_once((kill_upgrade, (urls[0], 20))) == [(True, None)]
    with place.connect(urls[-1]) as store:
        with pytest.raises(SchemaLockTimeoutError):
            store.schema.upgrade(lock_timeout=0.2)
        assert store.schema.check() != ()

        change(store, "expires_at = 0")
        store.schema.upgrade()

        assert store.schema.check() == ()


def kill_upgrades_with_short_leases(
    wait: Callable[[], object], url: str, begin: Callable[[FineTuningStore], None], every: int, pooled: bool
) -> int:
    galera_lease.LEASE_SECONDS = 0
    return kill_upgrades(wait, url, begin, every, pooled)


@pytest.mark.parametrize("begin", [from_nothing, from_the_first])
def test_an_upgrade_that_is_killed_anywhere_is_finished_by_the_next(
    place: Place, urls: list[str], begin: Callable[[FineTuningStore], None], request: pytest.FixtureRequest
) -> None:
    every = request.config.getoption("--kill-every")

    ((times, failure),) = at_once((kill_upgrades_with_short_leases, (urls[0], begin, every, place.pooled(urls[0]))))

    assert failure is None
    logging.getLogger(__name__).info("killed %d times", times)
    assert times > 10 / every

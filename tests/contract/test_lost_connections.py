"""Connections that are lost, or whose server is silent: one error on every driver, and no wait without end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from fine_tuning_store import FineTuningStore, ReadOnlyStoreError, Timeouts, retries
from tests.support.async_store import AwaitedStore, run_with_store
from tests.support.databases import Database, with_driver
from tests.support.factories import stored
from tests.support.forwarder import Forwarder, forwarding

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.parametrize(
        ("database", "driver"),
        [("postgresql", None), ("postgresql", "asyncpg"), ("postgresql", "psycopg_async"), ("mariadb", None), ("mariadb", "aiomysql")],
        indirect=True,
    ),
]

NETWORK_SECONDS = 2
#: What the test allows beyond a limit, on a busy machine.
PATIENCE = 10


@pytest.fixture
def path(url: str) -> Iterator[tuple[Forwarder, str]]:
    """A forwarder to the server, and the URL of the migrated database through it."""
    with forwarding(url) as (forwarder, through):
        yield forwarder, through.render_as_string(hide_password=False)


def test_a_connection_that_is_lost_in_a_unit_or_again_and_again_is_an_operational_error(
    path: tuple[Forwarder, str], driver: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarder, url = path
    monkeypatch.setattr(retries, "RECONNECT_SECONDS", 0.2)

    def lose(store: Any) -> None:
        job = stored(store)

        with pytest.raises(OperationalError) as in_a_unit, store.begin() as unit:
            unit.jobs.get(job.id)
            forwarder.lose_connections()
            unit.jobs.enqueue(job.id)

        forwarder.loses_at = b"fine_tuning_store.enqueue"
        with pytest.raises(OperationalError) as during:
            store.jobs.enqueue(job.id)
        forwarder.loses_at = None

        assert in_a_unit.value.connection_invalidated
        assert during.value.connection_invalidated
        assert store.jobs.enqueue(job.id).status == "queued"
        assert store.engine.pool.checkedout() == 0

    run_with_store(lose, url, driver)


def test_pool_pre_ping_replaces_an_idle_connection_that_was_lost_for_a_unit(path: tuple[Forwarder, str], driver: str | None) -> None:
    forwarder, url = path

    def lose(store: Any) -> None:
        job = stored(store)
        forwarder.lose_connections()
        with store.begin() as unit:
            assert unit.jobs.enqueue(job.id).status == "queued"

    run_with_store(lose, url, driver, engine_options={"pool_pre_ping": True})


def test_connections_to_a_server_that_became_read_only_are_replaced(database: Database, altered_url: str, driver: str | None) -> None:
    if database.name != "postgresql":
        pytest.skip("MariaDB has this as a setting of the whole server only")
    setting = f"ALTER DATABASE {make_url(altered_url).database} %s default_transaction_read_only"
    owner = create_engine(altered_url, isolation_level="AUTOCOMMIT")
    with owner.connect() as connection:
        connection.execute(text(setting % "SET" + " = on"))

        def be_refused_once(store: Any) -> None:
            with pytest.raises(ReadOnlyStoreError, match="is read-only now"):
                stored(store)
            store.jobs.list()
            connection.execute(text(setting % "RESET"))
            stored(store)  # on a new connection

        run_with_store(be_refused_once, altered_url, driver)
    owner.dispose()

    def write_on_a_read_only_store(store: Any) -> None:
        with pytest.raises(DBAPIError, match="read-only transaction") as refused, store.begin() as unit:
            unit.connection.execute(text("DELETE FROM fine_tuning_jobs"))
        assert not refused.value.connection_invalidated

    run_with_store(write_on_a_read_only_store, altered_url, driver, read_only=True)


def test_a_connection_that_is_lost_before_it_is_ready_is_an_operational_error(
    path: tuple[Forwarder, str], driver: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarder, url = path
    monkeypatch.setattr(retries, "RECONNECT_SECONDS", 0.2)

    def lose(store: Any) -> None:
        forwarder.loses_at = b"lock_timeout" if "postgresql" in url else b"innodb_lock_wait_timeout"
        with pytest.raises(OperationalError):
            store.jobs.list()
        forwarder.loses_at = None
        assert store.jobs.list().data == ()

    run_with_store(lose, url, driver)


def test_close_waits_for_a_silent_server_no_longer_than_for_a_silent_network(path: tuple[Forwarder, str], driver: str | None) -> None:
    forwarder, url = path

    def open_three_connections(store: Any) -> None:
        connections = [store.engine.connect() for _ in range(3)]
        for connection in connections:
            connection.close()
        forwarder.is_silent = True

    timeouts = Timeouts(network=NETWORK_SECONDS)
    if driver is None:
        store = FineTuningStore.from_url(url, timeouts=timeouts)
        open_three_connections(store)
        started = time.monotonic()
        store.close()
    else:
        awaited = AwaitedStore(with_driver(url, driver), timeouts=timeouts)
        awaited.run_test(partial(open_three_connections, awaited))
        started = time.monotonic()
        awaited.loop.run(asyncio.wait_for(awaited.target.close(), PATIENCE))
        awaited.loop.close()
    assert time.monotonic() - started < 2 * NETWORK_SECONDS

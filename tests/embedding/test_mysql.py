"""A MySQL server is refused by name. It is a MariaDB server behind a forwarder that replaces its version by one of MySQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from fine_tuning_store import AsyncFineTuningStore, FineTuningJobRepository, FineTuningStore, UnsupportedDatabaseError
from tests.support.forwarder import forwarding
from tests.support.programs import alembic, fine_tuning_store

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

#: MySQL's last release in which SQLAlchemy's first queries are those that it sends to MariaDB.
VERSION = "5.7.19"
REFUSAL = rf"the server is MySQL {VERSION}.*use MariaDB, PostgreSQL or SQLite"


@pytest.fixture
def mysql_url(empty_url: str) -> Iterator[str]:
    """The URL of a server that says it is MySQL, without TLS. An empty database."""
    url = make_url(empty_url)
    engine = create_engine(url)
    with engine.connect() as connection:
        version: str = connection.scalar(text("SELECT VERSION()"))
    engine.dispose()
    mysql = f"{VERSION}-0ubuntu0.16.04.1".ljust(len(version), "0")[: len(version)]

    def change(data: bytes) -> bytes:
        return data.replace(version.encode(), mysql.encode())

    with forwarding(empty_url) as (forwarder, forwarded):
        forwarder.change = change
        yield forwarded.set(query={"ssl_disabled": "true"}).render_as_string(hide_password=False)


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_a_store_refuses_a_mysql_server_at_its_first_connection(mysql_url: str, scheme: str) -> None:
    url = make_url(mysql_url).set(drivername=scheme).render_as_string(hide_password=False)
    with FineTuningStore.from_url(url) as store:
        calls: list[Callable[[], object]] = [
            store.jobs.list,
            store.schema.upgrade,
            store.schema.state,
            store.schema.check,
            lambda: store.begin().__enter__(),
            lambda: store.engine.connect(),
        ]
        for call in calls:
            with pytest.raises(UnsupportedDatabaseError, match=REFUSAL):
                call()

    async def refuse() -> None:
        async with AsyncFineTuningStore.from_url(url) as store:
            for call in (store.jobs.list, store.schema.upgrade):
                with pytest.raises(UnsupportedDatabaseError, match=REFUSAL):
                    await call()

    asyncio.run(refuse())


def test_an_engine_a_session_and_a_connection_of_the_host_are_refused_too(mysql_url: str) -> None:
    url = make_url(mysql_url).set(drivername="mysql+pymysql")
    engine = create_engine(url)
    store = FineTuningStore(engine)
    for call in (store.jobs.list, store.schema.upgrade, store.schema.state, store.schema.require_usable):
        with pytest.raises(UnsupportedDatabaseError, match=REFUSAL):
            call()
    with engine.connect() as connection, pytest.raises(UnsupportedDatabaseError, match=REFUSAL):
        FineTuningJobRepository(connection)
    with Session(engine) as session, pytest.raises(UnsupportedDatabaseError, match=REFUSAL):
        FineTuningJobRepository(session).list()
    engine.dispose()

    async def refuse() -> None:
        engine = create_async_engine(make_url(mysql_url).set(drivername="mysql+aiomysql", query={}))
        with pytest.raises(UnsupportedDatabaseError, match=REFUSAL):
            await AsyncFineTuningStore(engine).jobs.list()
        await engine.dispose()

    asyncio.run(refuse())


def test_the_command_line_and_alembic_refuse_a_mysql_server(mysql_url: str) -> None:
    for command in ("state", "upgrade", "check"):
        done = fine_tuning_store("db", command, "--url", mysql_url)
        assert done.returncode == 3
        assert f"the server is MySQL {VERSION}" in done.stderr
    done = alembic("-x", f"url={mysql_url}", "upgrade", "head")
    assert done.returncode == 1
    assert f"the server is MySQL {VERSION}" in done.stderr

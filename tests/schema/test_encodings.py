"""Databases and connections whose encoding does not have all characters are named before anything is stored; all others hold all text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import greenlet_spawn

from fine_tuning_store import (
    AsyncFineTuningStore,
    EngineConfigurationError,
    FineTuningStore,
    JobError,
    SchemaStatus,
    UnsupportedDatabaseError,
)
from fine_tuning_store.sql.models import METADATA
from tests.support.async_store import Awaited, run_with_store
from tests.support.databases import ASYNC_DRIVERS, SYNC_DRIVERS, Database, Server, host_url, is_sync, with_driver
from tests.support.factories import created
from tests.support.programs import alembic, fine_tuning_store

#: Characters of one to four bytes in UTF-8, and one that is a pair of surrogates in UTF-16.
TEXT = "aé€😀"
ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
ON_MARIADB = pytest.mark.parametrize("database", ["mariadb"], indirect=True)


def drivers(database: Database) -> tuple[str | None, ...]:
    return (None, *SYNC_DRIVERS[database.name], *ASYNC_DRIVERS[database.name])


def run_on_host_engine(test: Callable[[Any], object], url: str, driver: str | None, **options: Any) -> None:
    """Run a test with the migrations of a store on an engine of the host, in an event loop if the driver is async."""
    given = url if driver is None else with_driver(url, driver)
    if is_sync(driver):
        engine = create_engine(given, **options)
        test(FineTuningStore(engine).schema)
        engine.dispose()
        return

    async def run() -> None:
        engine = create_async_engine(host_url(given), **options)
        await greenlet_spawn(test, Awaited(AsyncFineTuningStore(engine)).schema)
        await engine.dispose()

    asyncio.run(run())


def tables(url: str) -> set[str]:
    engine = create_engine(url, connect_args={"client_encoding": "UTF8"} if url.startswith("postgresql") else {})
    found = set(inspect(engine).get_table_names())
    engine.dispose()
    return found


def use(store: Any) -> None:
    """Store all kinds of text, and find it again."""
    store.schema.upgrade()
    assert (store.schema.state().status, store.schema.check()) == (SchemaStatus.CURRENT, ())
    job = created(store, organization_id=TEXT, suffix=TEXT, training_file=TEXT, metadata={TEXT: TEXT})
    other = created(store, organization_id=TEXT, training_file="aé€😁", metadata={TEXT: "aé€😁"})
    store.events.append(job.id, TEXT, data={TEXT: [TEXT]})
    failed = store.jobs.fail(job.id, JobError(code=TEXT, message=TEXT), reason=TEXT)
    assert store.jobs.get(job.id) == failed
    assert failed.training_file == TEXT
    for filters in ({"training_file": TEXT}, {"metadata": {TEXT: TEXT}}, {"error_code": TEXT}):
        assert store.jobs.list(organization_id=TEXT, **filters).data == (failed,)
    assert store.jobs.list(limit=1, after=other.id).data == (failed,)
    assert store.events.tail(job.id).data[0].data == {TEXT: [TEXT]}
    assert store.transitions.list(job.id).data[0].reason == TEXT
    assert [row.code for row in store.statistics.error_codes()] == [TEXT]


@pytest.fixture(params=["LATIN1", "SQL_ASCII", "EUC_JP"])
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def unencodable_url(encoding: str, database: Server) -> Iterator[str]:
    """The URL of a database of PostgreSQL in an encoding that does not have all characters."""
    with database.created_with(f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0") as url:
        yield url


@ON_POSTGRESQL
def test_a_database_that_cannot_hold_all_text_is_refused_and_reported(database: Database, encoding: str, unencodable_url: str) -> None:
    expected = f"the encoding of the database is {encoding}, which cannot hold all text: .* ENCODING 'UTF8' TEMPLATE template0"

    def refused(store: Any) -> None:
        with pytest.raises(UnsupportedDatabaseError, match=expected):
            store.schema.upgrade()
        state = store.schema.state()
        assert (state.status, state.is_usable, len(state.problems)) == (SchemaStatus.UNUSABLE, False, 1)
        with pytest.raises(UnsupportedDatabaseError, match=expected):
            raise UnsupportedDatabaseError(state.problems[0])

    for driver in drivers(database):
        run_with_store(refused, unencodable_url, driver)
    assert tables(unencodable_url) == set()

    with FineTuningStore.from_url(unencodable_url) as store:
        METADATA.create_all(store.engine)  # as a dump restores them
        refused(store)


@ON_POSTGRESQL
def test_the_command_lines_name_an_encoding_that_cannot_hold_all_text(encoding: str, unencodable_url: str) -> None:
    problem = f"the encoding of the database is {encoding}, which cannot hold all text"

    upgraded, state, check = (fine_tuning_store("db", command, url=unencodable_url) for command in ("upgrade", "state", "check"))
    assert (upgraded.returncode, state.returncode, check.returncode) == (3, 1, 1)
    assert problem in upgraded.stderr
    assert problem in state.stdout
    assert problem in check.stdout
    bare = alembic("upgrade", "head", FINE_TUNING_STORE_URL=unencodable_url)
    assert bare.returncode != 0
    assert problem in bare.stderr
    assert tables(unencodable_url) == set()


@ON_POSTGRESQL
def test_a_store_asks_for_utf8_whatever_the_environment_and_the_database_say(database: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    for driver in drivers(database):
        with database.created_with("") as url:
            database._execute(f"ALTER DATABASE {make_url(url).database} SET client_encoding = 'LATIN1'")
            run_with_store(use, url, driver)


def refused_connection(name: str) -> Callable[[Any], None]:
    def refused(schema: Any) -> None:
        with pytest.raises(EngineConfigurationError, match=f"connection is {name}, which cannot hold all text"):
            schema.upgrade()
        state = schema.state()
        assert (state.status, len(state.problems)) == (SchemaStatus.UNUSABLE, 1)
        assert f"connection is {name}" in state.problems[0]

    return refused


@ON_POSTGRESQL
@pytest.mark.parametrize("driver", [None, "psycopg2", "psycopg_async"])
def test_a_hosts_engine_with_another_client_encoding_is_refused_and_reported(empty_url: str, driver: str | None) -> None:
    run_on_host_engine(refused_connection("LATIN1"), empty_url, driver, connect_args={"client_encoding": "LATIN1"})
    assert tables(empty_url) == set()


@ON_MARIADB
@pytest.mark.parametrize("options", [{"charset": "utf8"}, {"charset": "latin1"}])
def test_a_hosts_engine_with_another_character_set_is_refused_and_reported(
    database: Database, empty_url: str, options: dict[str, str]
) -> None:
    for driver in drivers(database):
        name = "utf8mb3" if options.get("charset") == "utf8" else "latin1"
        run_on_host_engine(refused_connection(name), empty_url, driver, connect_args=options)
    assert tables(empty_url) == set()


@ON_MARIADB
def test_a_database_of_another_default_character_set_holds_all_text(database: Server) -> None:
    for driver in drivers(database):
        with database.created_with("CHARACTER SET latin1") as url:
            run_with_store(use, url, driver)


@ON_MARIADB
def test_another_character_set_of_an_option_file_is_not_taken_or_refused(empty_url: str, tmp_path: Path) -> None:
    options = tmp_path / "my.cnf"
    options.write_text("[client]\ndefault-character-set = latin1\n")
    url = make_url(empty_url).update_query_dict({"read_default_file": str(options)}).render_as_string(hide_password=False)
    run_with_store(lambda store: refused_connection("latin1")(store.schema), url, "aiomysql")  # it takes what the file says
    run_with_store(use, url, None)


@ON_MARIADB
def test_an_initial_command_of_the_client_or_the_server_does_not_change_the_character_set(database: Server) -> None:
    for driver in drivers(database):
        with database.created_with("") as url:
            changed = make_url(url).update_query_dict({"init_command": "SET NAMES latin1"})  # runs when the server's init_connect does
            run_with_store(use, changed.render_as_string(hide_password=False), driver)


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_file_of_sqlite_in_utf16_holds_all_text(encoding: str, tmp_path: Path) -> None:
    for driver in (None, "aiosqlite"):
        url = f"sqlite:///{tmp_path}/{driver}.db"
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text(f"PRAGMA encoding = '{encoding}'"))
            connection.execute(text("CREATE TABLE of_the_host (id INTEGER)"))
        run_with_store(use, url, driver)
        with engine.connect() as connection:
            assert connection.scalar(text("PRAGMA encoding")) == encoding
        engine.dispose()

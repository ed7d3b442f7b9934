"""Migrations on an application's engine: they respect its settings, refuse what cannot work, and leave nothing behind."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, StaticPool, create_engine, event, inspect, make_url, text

from fine_tuning_store import EngineConfigurationError, FineTuningStore, InvalidValueError, SchemaConflictError
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE
from tests.support.databases import Database
from tests.support.factories import created

on_servers = pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    """An application's engine with a pool of one connection."""
    engine = create_engine(empty_url, pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


@on_servers
def test_a_migration_that_is_interrupted_after_it_got_the_lock_releases_it(engine: Engine, empty_url: str) -> None:
    def interrupt(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "lock(" in statement:
            raise RuntimeError

    event.listen(engine, "after_cursor_execute", interrupt)
    with pytest.raises(RuntimeError):
        FineTuningStore(engine).schema.upgrade()

    with FineTuningStore.from_url(empty_url) as other:
        other.schema.upgrade(lock_timeout=5)


SETTINGS = {
    "postgresql": ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SHOW transaction_isolation", "serializable"),
    "mariadb": ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT @@tx_isolation", "SERIALIZABLE"),
}


@on_servers
def test_connections_keep_what_the_application_sets_on_them(engine: Engine, database: Database) -> None:
    setting, query, value = SETTINGS[database.name]

    @event.listens_for(engine, "connect")
    def connected(dbapi_connection: Any, _: object) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute(setting)
        cursor.close()
        dbapi_connection.commit()

    store = FineTuningStore(engine)
    for migrate in (store.schema.upgrade, partial(store.schema.downgrade, "base")):
        migrate()
        with engine.connect() as connection:
            assert connection.scalar(text(query)) == value


@on_postgresql
@pytest.mark.parametrize("first", [None, "fine_tuning_store_0001"])
def test_tables_of_another_schema_on_the_search_path_are_not_added_to(empty_url: str, first: str | None) -> None:
    with FineTuningStore.from_url(empty_url) as public:
        public.schema.upgrade(first or "head")
        with public.engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA service"))
        path = make_url(empty_url).update_query_dict({"options": "-c search_path=service,public"})
        with FineTuningStore.from_url(path) as both, FineTuningStore.from_url(path, schema="service") as service:
            if first is not None:
                with pytest.raises(SchemaConflictError, match="schema='public'"):
                    both.schema.upgrade()
            else:
                both.schema.upgrade()  # does nothing
            with pytest.raises(SchemaConflictError, match="schema='public'"):
                both.schema.downgrade("base")
            assert inspect(public.engine).get_table_names("service") == []

            service.schema.upgrade()
            assert {*METADATA.tables, VERSION_TABLE} == set(inspect(public.engine).get_table_names("service"))
        public.schema.upgrade()
        assert public.schema.check() == ()


def test_an_engine_that_translates_schemas_is_refused_by_every_call(engine: Engine) -> None:
    store = FineTuningStore(engine.execution_options(schema_translate_map={None: "elsewhere"}))

    for name in ("upgrade", "state", "check", "adopt", "current", "require_usable"):
        with pytest.raises(EngineConfigurationError, match="translates the default schema"):
            getattr(store.schema, name)()


def test_a_limit_that_is_no_number_of_seconds_is_refused(engine: Engine) -> None:
    store = FineTuningStore(engine)
    store.schema.upgrade()
    calls: list[Any] = [store.schema.upgrade, store.schema.adopt, partial(store.schema.downgrade, "base")]

    for call, seconds in itertools.product(calls, [float("nan"), -1, "5", None, True]):
        with pytest.raises(InvalidValueError, match="number of seconds"):
            call(lock_timeout=seconds)


@on_sqlite
def test_a_refused_migration_leaves_a_file_unlocked_in_autocommit_mode_too(empty_url: str) -> None:
    engine = create_engine(empty_url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE fine_tuning_jobs (theirs INTEGER)"))
    with pytest.raises(SchemaConflictError, match="another application"):
        FineTuningStore(engine).schema.upgrade()

    other = create_engine(empty_url, connect_args={"timeout": 0})
    with other.begin() as connection:
        connection.execute(text("DROP TABLE fine_tuning_jobs"))
    FineTuningStore(engine).schema.upgrade()
    other.dispose()
    engine.dispose()


@on_sqlite
def test_a_foreign_key_of_the_application_that_cannot_be_checked_is_ignored(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        with store.engine.begin() as connection:
            connection.execute(text("CREATE TABLE parent (x, y)"))
            connection.execute(text("CREATE TABLE child (y REFERENCES parent (y))"))

        store.schema.upgrade()
        created(store)
        store.schema.downgrade("base", allow_data_loss=True)


def test_a_database_in_memory_outlives_its_migration() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    store = FineTuningStore(engine)
    store.schema.upgrade()

    assert store.jobs.get(created(store).id)
    engine.dispose()


def test_a_database_in_memory_of_each_connection_is_refused_with_what_to_use(tmp_path: Path) -> None:
    private = create_engine("sqlite://", poolclass=NullPool)
    store = FineTuningStore(private)
    for call in (store.jobs.list, lambda: created(store)):
        with pytest.raises(EngineConfigurationError, match="poolclass=StaticPool"):
            call()

    named = create_engine("sqlite://", creator=lambda: sqlite3.connect(tmp_path / "jobs.db"), poolclass=NullPool)
    shared = create_engine("sqlite:///file:shared?mode=memory&cache=shared&uri=true", poolclass=NullPool)
    of_this_thread = create_engine("sqlite://")
    with shared.connect():
        for engine in (named, shared, of_this_thread):
            store = FineTuningStore(engine)
            store.schema.upgrade()
            assert store.jobs.get(created(store).id)
            engine.dispose()


def test_a_view_with_a_name_of_the_store_is_refused_and_nothing_is_changed(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        with store.engine.begin() as connection:
            connection.execute(text("CREATE VIEW fine_tuning_job_events AS SELECT 1 AS one"))

        assert "fine_tuning_job_events" in str(store.schema.state().problems[0])
        with pytest.raises(SchemaConflictError, match="fine_tuning_job_events"):
            store.schema.upgrade()
        assert inspect(store.engine).get_table_names() == []


def test_several_rows_of_the_store_in_the_version_table_are_refused_by_every_migration(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        with store.engine.begin() as connection:
            connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES ('fine_tuning_store_0001')"))

        for call in (store.schema.upgrade, partial(store.schema.downgrade, "base")):
            with pytest.raises(SchemaConflictError, match="several revisions of the store"):
                call()

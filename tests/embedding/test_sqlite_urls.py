"""SQLite databases by every spelling of their URLs, and engines of hosts whose driver controls transactions in a newer way."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from fine_tuning_store import (
    AsyncFineTuningStore,
    EngineConfigurationError,
    FineTuningJobRepository,
    FineTuningStore,
    prepare_sqlite_engine,
)
from tests.support.async_store import run_with_store
from tests.support.factories import created

IN_MEMORY = (
    "sqlite://",
    "sqlite:///:memory:",
    "sqlite:///file::memory:?uri=true",
    "sqlite:///file::memory:?cache=shared&uri=true",
    "sqlite:///file:one?mode=memory&uri=true",
    "sqlite:///file:two?mode=memory&cache=shared&uri=true",
    "sqlite:///file:/three?vfs=memdb&uri=true",
)
NAMES = ("a b.db", "number#1.db", "50%.db", "%41.db", "ä.db", "a&b=c.db", "quote'd.db")


@pytest.mark.parametrize("driver", [None, "aiosqlite"])
@pytest.mark.parametrize("url", IN_MEMORY)
def test_a_database_in_memory_is_one_database_for_all_calls_and_threads(url: str, driver: str | None) -> None:
    def use(store: Any) -> None:
        store.schema.upgrade()
        job = created(store)
        with store.begin() as unit:
            unit.jobs.enqueue(job.id)
        assert store.jobs.get(job.id).status == "queued"
        if driver is None:
            with ThreadPoolExecutor(4) as pool:
                assert [page.data[0].id for page in pool.map(lambda _: store.jobs.list(), range(8))] == [job.id] * 8

    run_with_store(use, url, driver)


@pytest.mark.parametrize("driver", [None, "aiosqlite"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_may_have_any_name(tmp_path: Path, name: str, driver: str | None) -> None:
    def use(store: Any) -> None:
        store.schema.upgrade()
        assert len(store.jobs.list().data) == 0
        created(store)

    url = URL.create("sqlite", database=str(tmp_path / name))
    run_with_store(use, url.render_as_string(), driver)
    with FineTuningStore.from_url(url) as store, FineTuningStore.from_url(url, read_only=True) as reader:
        assert store.jobs.count() == reader.jobs.count() == 1
    assert (tmp_path / name).exists()


def test_a_uri_of_a_database_in_memory_that_sqlite_would_take_for_a_name_is_refused() -> None:
    with pytest.raises(EngineConfigurationError, match="add uri=true"):
        FineTuningStore.from_url("sqlite:///file::memory:")


@pytest.mark.parametrize("name", ["u%23x.db", "u%3Fx.db"])
def test_a_uri_leads_to_the_file_that_it_names(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///file:{tmp_path}/{name}?mode=rwc&uri=true"
    with FineTuningStore.from_url(url) as store, FineTuningStore.from_url(url, read_only=True) as reader:
        store.schema.upgrade()
        assert reader.schema.current() is not None
        assert store.engine.url.database == f"file:{tmp_path}/{name}"
        made = URL.create("sqlite", database=f"file:{tmp_path}/{name}", query={"uri": "true"})
        for same in (made.render_as_string(), made, store.engine.url.render_as_string()):
            with FineTuningStore.from_url(same) as other:
                assert other.schema.current() is not None
    run_with_store(lambda store: store.jobs.count(), url, "aiosqlite")
    assert {path.name for path in tmp_path.iterdir()} == {unquote(name)}


@pytest.mark.parametrize("kind", [FineTuningStore, AsyncFineTuningStore])
def test_a_uri_that_would_lead_to_another_file_is_refused_with_what_to_write(tmp_path: Path, kind: Any) -> None:
    for name in ("u#x.db", "u?x.db", "jobs.db?mode=ro"):
        with pytest.raises(EngineConfigurationError, match="write %23 and %3F"):
            kind.from_url(URL.create("sqlite", database=f"file:{tmp_path}/{name}", query={"uri": "true"}))
    with pytest.raises(EngineConfigurationError, match="write file: before the name"):
        kind.from_url(f"sqlite:///{tmp_path}/jobs.db?mode=rwc&uri=true")
    assert list(tmp_path.iterdir()) == []


newer_control = pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 has no attribute autocommit before Python 3.12")


@newer_control
@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_host_may_let_the_driver_begin_transactions(tmp_path: Path, is_prepared: bool) -> None:
    url = f"sqlite:///{tmp_path / 'host.db'}"
    engine = create_engine(url, connect_args={"autocommit": False})
    if is_prepared:
        prepare_sqlite_engine(engine)
    store = FineTuningStore(engine)
    store.schema.upgrade()
    job = created(store)
    with store.begin() as unit:
        unit.jobs.enqueue(job.id)
    with Session(engine) as session:
        FineTuningJobRepository(session).start(job.id)
        session.rollback()
        FineTuningJobRepository(session).pause(job.id)
        session.commit()
    store.schema.downgrade("fine_tuning_store_0008", allow_data_loss=True)
    store.schema.upgrade()
    engine.dispose()

    with FineTuningStore.from_url(url) as other:
        assert other.jobs.get(job.id).status == "paused"


@newer_control
def test_writers_take_turns_if_the_driver_begins_transactions(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'host.db'}", connect_args={"autocommit": False, "timeout": 60})
    store = FineTuningStore(engine)
    store.schema.upgrade()
    job = created(store)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: store.events.append(job.id, f"message {number}"), range(40)))
    assert len(store.events.list(job.id, limit=100).data) == 40
    engine.dispose()


@newer_control
def test_a_driver_that_never_ends_a_transaction_is_refused(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'host.db'}", connect_args={"autocommit": True})
    store = FineTuningStore(engine)
    store.schema.upgrade()
    with pytest.raises(EngineConfigurationError, match="autocommit=True"):
        created(store)
    with pytest.raises(EngineConfigurationError, match="autocommit=True"):
        store.jobs.list()
    engine.dispose()


@newer_control
def test_aiosqlite_is_refused_where_its_transactions_cannot_be_controlled(tmp_path: Path) -> None:
    async def migrate() -> None:
        engine = create_async_engine(make_url(f"sqlite+aiosqlite:///{tmp_path / 'host.db'}"), connect_args={"autocommit": False})
        with pytest.raises(EngineConfigurationError, match="autocommit="):
            await AsyncFineTuningStore(engine).schema.upgrade()
        await engine.dispose()

    asyncio.run(migrate())


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("sqlite:////tmp/x.db?cached_statements=x", "'cached_statements' must be a whole number"),
        ("sqlite:///file:/tmp/x.db?uri=zz", "file:/tmp/x.db"),
        ("sqlite:///x.db?uri=zz", "'uri' must be true or false"),
        ("sqlite:///file:/tmp/x.db?mode=zz&uri=true", "'mode' must be ro, rw"),
        ("sqlite:///file:/tmp/x.db?cache=zz&uri=true", "'cache' must be shared or private"),
        ("sqlite:///file:/tmp/x.db?immutable=zz&uri=true", "'immutable' must be true or false"),
        ("sqlite:///file:/tmp/x.db?mode=ro&mode=rw&uri=true", "'mode' must be"),
        ("sqlite:///file:x.db", "add uri=true"),
        ("sqlite:///file:x.db?uri=false", "add uri=true"),
    ],
)
@pytest.mark.parametrize("kind", [FineTuningStore, AsyncFineTuningStore])
def test_a_wrong_value_of_a_parameter_is_refused_by_name(kind: Any, url: str, named: str) -> None:
    with pytest.raises(EngineConfigurationError, match=named):
        kind.from_url(url)

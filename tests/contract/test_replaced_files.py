"""A SQLite file that is replaced or deleted while a store has it open: no call acknowledges what would be lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from fine_tuning_store import DatabaseUnreachableError, FineTuningStore, prepare_sqlite_engine
from tests.support.async_store import run_with_store
from tests.support.factories import stored
from tests.support.tables import each

pytestmark = pytest.mark.parametrize(("database", "driver"), [("sqlite", None), ("sqlite", "aiosqlite")], indirect=True)


def delete(path: Path, _: Path) -> None:
    path.unlink()


def delete_with_what_is_beside_it(path: Path, _: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def move_away(path: Path, _: Path) -> None:
    path.rename(path.with_suffix(".old"))


def replace(path: Path, backup: Path) -> None:
    backup.replace(path)


def restore(path: Path, backup: Path) -> None:
    delete_with_what_is_beside_it(path, backup)
    backup.rename(path)


def delete_the_log(path: Path, _: Path) -> None:
    Path(f"{path}-wal").unlink()


CHANGES: dict[str, Callable[[Path, Path], None]] = {
    change.__name__: change for change in (delete, delete_with_what_is_beside_it, move_away, replace, restore, delete_the_log)
}


@pytest.fixture
def path(altered_url: str) -> Path:
    return Path(altered_url.removeprefix("sqlite:///"))


@pytest.fixture
def backup(path: Path) -> Path:
    """A migrated database without jobs."""
    return Path(shutil.copy(path, path.with_suffix(".backup")))


def rows(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = [id for (id,) in connection.execute("SELECT id FROM fine_tuning_jobs")]
    connection.close()
    return found


@pytest.mark.parametrize("spelling", ["sqlite:///{path}", "sqlite:///file:{path}?uri=true"])
@each("change", CHANGES)
def test_every_call_raises_once_the_file_was_replaced_or_deleted(
    path: Path, backup: Path, driver: str | None, spelling: str, change: str
) -> None:
    url = spelling.format(path=shutil.copy(backup, path.with_name(f"{change}.db")))
    file, other = path.with_name(f"{change}.db"), Path(shutil.copy(backup, path.with_name(f"{change}.backup")))

    def use(store: Any) -> None:
        job = stored(store)
        idle = [store.engine.connect() for _ in range(3)]
        for connection in idle:
            connection.close()
        CHANGES[change](file, other)
        there = file.exists()

        for _ in range(len(idle) + 2):
            for call in (lambda: store.jobs.enqueue(job.id), lambda: store.jobs.get(job.id), store.jobs.list, lambda: stored(store)):
                with pytest.raises(DatabaseUnreachableError, match="was replaced or deleted"):
                    call()
        assert file.exists() == there  # nothing is created in its place
        assert store.engine.pool.checkedout() == 0

    run_with_store(use, url, driver)

    if change == "restore":
        assert rows(file) == []
        run_with_store(lambda store: stored(store), url, driver)
        assert len(rows(file)) == 1
    for left in path.parent.glob(f"{change}.*"):
        left.unlink()


def test_a_unit_of_work_that_a_new_file_overtakes_does_not_commit(path: Path, backup: Path, altered_url: str, driver: str | None) -> None:
    def use(store: Any) -> None:
        with pytest.raises(DatabaseUnreachableError), store.begin() as unit:
            unit.jobs.create(organization_id="org-1", model="m", training_file="f")
            backup.replace(path)

    run_with_store(use, altered_url, driver)
    assert rows(path) == []


def test_a_closed_store_opens_the_file_that_is_there_now(path: Path, backup: Path, altered_url: str, driver: str | None) -> None:
    if driver is not None:  # it is closed in another event loop
        return
    with FineTuningStore.from_url(altered_url) as store:
        stored(store)
        store.close()
        backup.replace(path)
        assert store.jobs.list().data == ()

        path.unlink()
        with pytest.raises(DatabaseUnreachableError):
            store.jobs.list()
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))  # may get the inode of the deleted file, which no process has open any more
        with pytest.raises(DatabaseUnreachableError):
            store.jobs.list()


def test_a_read_only_store_notices_a_new_file(path: Path, backup: Path, altered_url: str, driver: str | None) -> None:
    def use(store: Any) -> None:
        assert store.jobs.list().data == ()
        backup.replace(path)
        with pytest.raises(DatabaseUnreachableError, match="was replaced or deleted"):
            store.jobs.list()

    run_with_store(use, altered_url, driver, read_only=True)


def test_a_prepared_engine_of_the_host_notices_it_too(path: Path, backup: Path, altered_url: str, driver: str | None) -> None:
    if driver is not None:
        return
    engine = create_engine(altered_url)
    prepare_sqlite_engine(engine)
    store = FineTuningStore(engine)
    stored(store)
    restore(path, backup)
    with pytest.raises(DatabaseUnreachableError):
        stored(store)
    engine.dispose()
    stored(store)
    engine.dispose()
    assert len(rows(path)) == 1


def test_an_engine_that_keeps_no_connection_open_uses_the_file_that_is_there(
    path: Path, backup: Path, altered_url: str, driver: str | None
) -> None:
    if driver is not None:
        return
    engine = create_engine(altered_url, poolclass=NullPool)
    prepare_sqlite_engine(engine)
    stored(FineTuningStore(engine))
    backup.replace(path)
    stored(FineTuningStore(engine))
    assert len(rows(path)) == 1


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"])
def test_databases_in_memory_have_no_file(url: str, driver: str | None, database: object) -> None:
    def use(store: Any) -> None:
        store.schema.upgrade()
        assert store.jobs.list().data == ()
        assert store.jobs.get(stored(store).id)

    run_with_store(use, url, driver)

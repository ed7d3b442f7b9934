"""Damaged data: a clear error that names the row, while all other rows stay readable. No error shows the values of customers."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import (
    AsyncFineTuningStore,
    CorruptDataError,
    FineTuningStore,
    JobError,
    JobNotFoundError,
    error_to_wire,
    prepare_sqlite_engine,
)
from tests.support.async_store import run_with_store
from tests.support.databases import ASYNC_DRIVERS, Database, with_driver
from tests.support.factories import stored
from tests.support.programs import fine_tuning_store

#: What lets a statement write a status that the CHECK constraints forbid.
WITHOUT_CHECKS = {
    "sqlite": ["PRAGMA ignore_check_constraints = ON"],
    "postgresql": ["ALTER TABLE fine_tuning_jobs DROP CONSTRAINT ck_fine_tuning_jobs_status"],
    "mariadb": ["SET check_constraint_checks = OFF"],
}


def damage(store: FineTuningStore, database: Database, *statements: str) -> None:
    with store.engine.connect() as connection:
        for statement in (*WITHOUT_CHECKS[database.name], *statements):
            connection.execute(text(statement))
        connection.commit()
        connection.invalidate()


def test_a_job_with_an_unknown_status_is_named_and_others_are_read(altered_url: str, database: Database) -> None:
    with FineTuningStore.from_url(altered_url) as store:
        damaged, whole = stored(store), stored(store)
        damage(store, database, f"UPDATE fine_tuning_jobs SET status = 'melted' WHERE id = '{damaged.id}'")

        for read in (lambda: store.jobs.get(damaged.id), store.jobs.list, lambda: list(store.jobs.iterate())):
            with pytest.raises(CorruptDataError, match=damaged.id) as caught:
                read()
            assert (caught.value.table, caught.value.row_id) == ("fine_tuning_jobs", damaged.id)
        assert store.jobs.get(whole.id) == whole
        assert store.jobs.list(status="validating_files").data == (whole,)
        assert error_to_wire(caught.value)[0] == 500
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_transition_with_an_unknown_status_is_named(altered_url: str, database: Database) -> None:
    with FineTuningStore.from_url(altered_url) as store:
        job = store.jobs.enqueue(stored(store).id)
        (entry,) = store.transitions.list(job.id)
        damage(store, database, "UPDATE fine_tuning_job_transitions SET to_status = 'melted'")

        with pytest.raises(CorruptDataError, match=f"'{entry.id}' of fine_tuning_job_transitions"):
            store.transitions.list(job.id)


@pytest.mark.parametrize("database", ["sqlite", "mariadb"], indirect=True)  # PostgreSQL stores no broken JSON
def test_broken_json_is_an_error_that_names_its_row(altered_url: str, database: Database) -> None:
    with FineTuningStore.from_url(altered_url) as store:
        job = stored(store, status="failed", error=JobError(code="c"), extra={"a": 1})
        event = store.events.append(job.id, message="m", data={"a": 1})
        damage(store, database, "UPDATE fine_tuning_jobs SET extra = '{'", "UPDATE fine_tuning_job_events SET data = '{'")

        with pytest.raises(CorruptDataError, match=job.id):
            store.jobs.get(job.id)
        with pytest.raises(CorruptDataError, match=event.id):
            store.events.list(job.id)


def overwrite_page(url: str, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change the first page of a table or an index in a SQLite file that no process has open."""
    with FineTuningStore.from_url(url) as store, store.engine.connect() as connection:
        root = connection.exec_driver_sql("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).scalar_one()
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    with Path(url.removeprefix("sqlite:///")).open("r+b") as file:
        file.seek((root - 1) * size)
        page = file.read(size)
        changed = change(page)
        assert changed != page
        file.seek((root - 1) * size)
        file.write(changed)


def fill(page: bytes) -> bytes:
    return b"\xff" * len(page)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_command_line_finds_a_damaged_page_of_a_sqlite_file(altered_url: str) -> None:
    assert fine_tuning_store("db", "check", url=altered_url).returncode == 0

    overwrite_page(altered_url, "ix_fine_tuning_jobs_status", fill)

    done = fine_tuning_store("db", "check", url=altered_url)
    assert done.returncode == 1, done.stderr
    assert "damaged: " in done.stdout


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_key_that_an_index_has_lost_is_found_though_its_pages_look_whole(altered_url: str) -> None:
    """SQLite does not notice it when it looks for a key, and a search for one that is not there cannot read the whole table."""
    with FineTuningStore.from_url(altered_url) as store:
        lost, others = stored(store), [stored(store) for _ in range(3)]

    overwrite_page(altered_url, "sqlite_autoindex_fine_tuning_jobs_1", lambda page: page.replace(lost.id.encode(), b"!" * len(lost.id)))

    with FineTuningStore.from_url(altered_url) as store:
        with pytest.raises(JobNotFoundError):
            store.jobs.get(lost.id)
        assert [store.jobs.get(other.id) for other in others] == others
        assert any("sqlite_autoindex_fine_tuning_jobs_1" in line for line in store.schema.damage())
    assert fine_tuning_store("db", "check", url=altered_url).returncode == 1


def damage_a_page(url: str) -> None:
    overwrite_page(url, "fine_tuning_jobs", fill)


def damage_the_index(url: str) -> None:
    overwrite_page(url, "sqlite_autoindex_fine_tuning_jobs_1", fill)


def damage_a_text(url: str) -> None:
    overwrite_page(url, "fine_tuning_jobs", lambda page: page.replace(b"file-damaged", b"file-\xff\xff\xff\xff\xff\xff\xff"))


def damage_a_name(url: str) -> None:
    path = Path(url.removeprefix("sqlite:///"))
    damaged, times = re.subn(
        rb"jobs_status(fine_tuning_jobs.{1,2})CREATE INDEX", b"jobs_statu\xf9\\1CREATE INDEY", path.read_bytes(), flags=re.DOTALL
    )
    assert times
    path.write_bytes(damaged)


def write_something_else(url: str) -> None:
    Path(url.removeprefix("sqlite:///")).write_bytes(b"This is a text. " * 1000)


@pytest.mark.parametrize(("database", "driver"), [("sqlite", None), ("sqlite", "aiosqlite")], indirect=True)
@pytest.mark.parametrize("damaged_by", [damage_a_page, damage_the_index, damage_a_text, damage_a_name, write_something_else])
def test_damage_that_sqlite_finds_is_a_typed_error(altered_url: str, driver: str | None, damaged_by: Callable[[str], None]) -> None:
    with FineTuningStore.from_url(altered_url) as store:
        job = stored(store, training_file="file-damaged")
    damaged_by(altered_url)

    def call(store: Any) -> None:
        calls: list[Callable[[], Any]] = [
            lambda: store.jobs.get(job.id),
            lambda: [store.jobs.get(found.id) for found in store.jobs.list().data],
        ]
        if not store._transactions.read_only:
            calls.append(lambda: store.jobs.enqueue(job.id))
        for attempt in calls:
            with pytest.raises(CorruptDataError, match="the SQLite file is damaged") as caught:
                attempt()
            assert (caught.value.table, caught.value.row_id) == (None, None)
            assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    run_with_store(call, altered_url, driver)
    run_with_store(call, altered_url, driver, read_only=True)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_engine_of_the_host_raises_the_error_of_its_driver(altered_url: str) -> None:
    with FineTuningStore.from_url(altered_url) as store:
        job = stored(store)
    damage_a_page(altered_url)
    engine = create_engine(altered_url)
    prepare_sqlite_engine(engine)
    with pytest.raises(DBAPIError, match="malformed"):
        FineTuningStore(engine).jobs.get(job.id)
    engine.dispose()


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_no_value_of_a_customer_is_in_the_error_or_the_log_of_a_failed_statement(
    altered_url: str, database: Database, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The engines of stores hide parameters. What the database itself says may name the value at fault."""
    secret = "words of a customer"[::-1]  # which no line of source contains
    arguments: dict[str, Any] = {"organization_id": "org-1", "model": "m", "training_file": secret, "suffix": secret}
    with FineTuningStore.from_url(altered_url) as store, store.engine.begin() as connection:
        store.schema.require_usable()
        connection.execute(text("DROP VIEW fine_tuning_job_overview"))
        connection.execute(text("DROP TABLE fine_tuning_job_metadata"))

    async def create() -> None:
        async with AsyncFineTuningStore.from_url(with_driver(altered_url, ASYNC_DRIVERS[database.name][0])) as store:
            await store.jobs.create(**arguments, metadata={"key": secret})

    with caplog.at_level(logging.INFO, logger="sqlalchemy.engine"), pytest.raises(DBAPIError) as caught:
        if is_async:
            asyncio.run(create())
        else:
            with FineTuningStore.from_url(altered_url) as store:
                store.jobs.create(**arguments, metadata={"key": secret})

    assert "fine_tuning_job_metadata" in str(caught.value)
    assert "INSERT" in caplog.text
    assert secret not in "".join(traceback.format_exception(caught.value)) + caplog.text

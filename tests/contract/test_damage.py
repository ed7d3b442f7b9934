"""Damaged data: a clear error that names the row, while all other rows stay readable. No error shows the values of customers."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import AsyncFineTuningStore, CorruptDataError, FineTuningStore, JobError, error_to_wire
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


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_command_line_finds_a_damaged_page_of_a_sqlite_file(altered_url: str) -> None:
    url, path = altered_url, Path(altered_url.removeprefix("sqlite:///"))
    with FineTuningStore.from_url(url) as store, store.engine.connect() as connection:
        root = connection.exec_driver_sql("SELECT rootpage FROM sqlite_schema WHERE name = 'ix_fine_tuning_jobs_status'").scalar_one()
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    assert fine_tuning_store("db", "check", url=url).returncode == 0

    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)

    done = fine_tuning_store("db", "check", url=url)
    assert done.returncode == 1, done.stderr
    assert "damaged: " in done.stdout


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

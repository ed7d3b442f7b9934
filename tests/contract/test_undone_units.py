"""Units that were undone or ended early, guests in the wrong transaction, schemas that could leak."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import (
    AsyncFineTuningStore,
    EngineConfigurationError,
    FineTuningJobRepository,
    FineTuningStore,
    FineTuningStoreError,
    JobNotFoundError,
    UnitOfWork,
)
from tests.support.databases import Database
from tests.support.factories import stored

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


def created(unit: UnitOfWork) -> str:
    return unit.jobs.create(organization_id="org-1", model="m", training_file="f").id


@on_postgresql
def test_a_delete_in_one_schema_leaves_the_job_of_the_same_id_in_another_alone(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as public, FineTuningStore.from_url(empty_url, schema="ft") as other:
        public.schema.upgrade()
        other.schema.upgrade(create_schema=True)
        job = stored(other, status="cancelled")
        public.jobs.add(replace(job, organization_id="org-other", metadata={"kept": "yes"}))
        public.events.append(job.id, "kept")

        other.jobs.delete(job.id)

        assert public.jobs.get(job.id).metadata == {"kept": "yes"}
        assert [event.message for event in public.events.list(job.id).data] == ["kept"]


@pytest.mark.parametrize("ending", ["rollback", "close"])
def test_a_unit_whose_host_ended_its_transaction_does_not_pass_for_committed(store: FineTuningStore, ending: str) -> None:
    def end(unit: UnitOfWork) -> str:
        id = created(unit)
        getattr(unit.connection, ending)()
        return id

    try:
        id = store.run_in_transaction(end)
    except Exception:  # noqa: BLE001 - any error tells the caller
        return
    assert store.jobs.get(id).id == id


def test_a_unit_that_the_database_undid_does_not_pass_for_committed(store: FineTuningStore) -> None:
    """PostgreSQL answers ROLLBACK to the COMMIT of a transaction in which a statement failed, without an error."""

    def swallow(unit: UnitOfWork) -> str:
        id = created(unit)
        with suppress(DBAPIError):
            unit.connection.execute(text("SELECT * FROM there_is_no_such_table"))
        return id

    try:
        id = store.run_in_transaction(swallow)
    except Exception:  # noqa: BLE001 - any error tells the caller
        return
    assert store.jobs.get(id).id == id


def test_a_guest_of_a_connection_that_commits_each_statement_is_refused(url: str, database: Database, store: FineTuningStore) -> None:
    if database.name == "sqlite":  # SQLite's own answer is BEGIN IMMEDIATE, or a refusal too
        return
    engine = create_engine(url)
    job = stored(store, status="running")

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with pytest.raises(EngineConfigurationError, match="AUTOCOMMIT"):
            FineTuningJobRepository(connection).succeed(job.id, fine_tuned_model="m", result_files=["file-1"])
    engine.dispose()


@on_postgresql
def test_an_upgrade_on_an_engine_that_translates_schemas_is_whole_or_refused(empty_url: str) -> None:
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA theirs"))
    store = FineTuningStore(engine.execution_options(schema_translate_map={None: "theirs"}))

    try:
        store.schema.upgrade()
    except FineTuningStoreError:
        assert inspect(engine).get_table_names("theirs") == inspect(engine).get_table_names() == []
    else:
        store.schema.require_usable()
    engine.dispose()


def test_an_async_function_is_refused_by_a_sync_run(store: FineTuningStore) -> None:
    async def work(unit: Any) -> None:
        created(unit)

    with pytest.raises(TypeError):
        assert store.run_in_transaction(work) is None  # not a coroutine that nobody awaits


@on_sqlite
def test_a_task_that_waits_for_sqlites_lock_is_cancelled_at_once(url: str) -> None:
    async def main(holder: FineTuningStore) -> None:
        async with AsyncFineTuningStore.from_url(url.replace("sqlite:", "sqlite+aiosqlite:")) as store:
            await store.jobs.list()
            with holder.begin() as unit:
                created(unit)
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await store.jobs.create(organization_id="org-1", model="m", training_file="f")
                assert time.monotonic() - began < 5
            with pytest.raises(JobNotFoundError):
                await store.jobs.get("ftjob-none")

    with FineTuningStore.from_url(url) as holder:
        asyncio.run(main(holder))

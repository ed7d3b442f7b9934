"""Units that the host or the database ended early, repositories on unsuitable connections, and isolation of schemas."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fine_tuning_store import (
    AsyncFineTuningStore,
    EngineConfigurationError,
    FineTuningJobRepository,
    FineTuningStore,
    FineTuningStoreError,
    JobNotFoundError,
    UnitEndedError,
    UnitOfWork,
)
from tests.contract.test_units import create_job
from tests.support.factories import stored

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


@on_postgresql
def test_a_delete_in_one_schema_does_not_affect_the_job_of_the_same_id_in_another(empty_url: str) -> None:
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
def test_a_unit_whose_transaction_the_host_ended_raises_or_commits(store: FineTuningStore, ending: str) -> None:
    def end(unit: UnitOfWork) -> str:
        id = create_job(unit).id
        getattr(unit.connection, ending)()
        return id

    try:
        id = store.run_in_transaction(end)
    except (UnitEndedError, SQLAlchemyError):
        return
    assert store.jobs.get(id).id == id


def test_a_unit_that_the_database_rolled_back_raises_or_commits(store: FineTuningStore) -> None:
    """PostgreSQL rolls back on the COMMIT of a transaction in which a statement failed, and reports no error."""

    def ignore_an_error(unit: UnitOfWork) -> str:
        id = create_job(unit).id
        with suppress(DBAPIError):
            unit.connection.execute(text("SELECT * FROM no_such_table"))
        return id

    try:
        id = store.run_in_transaction(ignore_an_error)
    except DBAPIError:
        return
    assert store.jobs.get(id).id == id


def test_a_repository_on_an_autocommit_connection_is_refused(url: str, store: FineTuningStore) -> None:
    engine = create_engine(url)
    job = stored(store, status="running")

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with pytest.raises(EngineConfigurationError, match=r"(?i)in autocommit mode"):
            FineTuningJobRepository(connection).succeed(job.id, fine_tuned_model="m", result_files=["file-1"])
    assert store.jobs.get(job.id) == job
    engine.dispose()


@on_postgresql
def test_an_upgrade_on_an_engine_with_a_schema_translate_map_is_complete_or_refused(empty_url: str) -> None:
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA translated"))
    store = FineTuningStore(engine.execution_options(schema_translate_map={None: "translated"}))

    try:
        store.schema.upgrade()
    except FineTuningStoreError:
        assert inspect(engine).get_table_names("translated") == inspect(engine).get_table_names() == []
    else:
        store.schema.require_usable()
    engine.dispose()


def test_a_sync_store_refuses_to_run_an_async_function(store: FineTuningStore) -> None:
    async def work(unit: Any) -> None:
        create_job(unit)

    with pytest.raises(TypeError):
        assert store.run_in_transaction(work) is None  # not a coroutine that is never awaited


@on_sqlite
def test_a_task_that_waits_for_sqlites_lock_can_be_cancelled_at_once(url: str) -> None:
    async def main(holder: FineTuningStore) -> None:
        async with AsyncFineTuningStore.from_url(url.replace("sqlite:", "sqlite+aiosqlite:")) as store:
            await store.jobs.list()
            with holder.begin() as unit:
                create_job(unit)
                start = time.monotonic()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await store.jobs.create(organization_id="org-1", model="m", training_file="f")
                assert time.monotonic() - start < 5
            with pytest.raises(JobNotFoundError):
                await store.jobs.get("ftjob-none")

    with FineTuningStore.from_url(url) as holder:
        asyncio.run(main(holder))

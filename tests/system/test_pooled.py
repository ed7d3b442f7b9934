"""Stores on a PgBouncer that pools transactions, where each transaction may use another server connection."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import (
    AsyncFineTuningStore,
    FineTuningStore,
    InvalidValueError,
    JobStatus,
    ReadOnlyStoreError,
    StoreBusyError,
    Timeouts,
)
from tests.support import databases, pgbouncer
from tests.support.async_store import AwaitedStore, run_with_store
from tests.support.databases import Database
from tests.support.factories import ORGANIZATION

CLIENTS = 50
#: The clients have fewer connections than they are.
PATIENT = Timeouts(pool=60)

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture(scope="module")
def pooler(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """The URL of a PgBouncer in front of the PostgreSQL under test."""
    assert isinstance(database, databases.Server)
    with pgbouncer.pooled(database.admin, tmp_path_factory.mktemp("pgbouncer")) as url:
        yield url


def through(pooler: URL, url: str, driver: str = "psycopg") -> URL:
    """Return the URL of a database through the pooler."""
    return pooler.set(drivername=f"postgresql+{driver}", database=make_url(url).database)


def new_job(jobs: Any) -> Any:
    return jobs.create(organization_id=ORGANIZATION, model="m", training_file="f", metadata={"a": "b"})


def steps(id: str) -> list[Callable[[Any], Any]]:
    """Return the operations on a job, each in a transaction, for a sync or async repository."""
    return [
        lambda jobs: jobs.enqueue(id),
        lambda jobs: jobs.start(id, message="hello"),
        lambda jobs: jobs.list(metadata={"a": "b"}, limit=5),
        lambda jobs: jobs.succeed(id, fine_tuned_model="ft:m", result_files=["a", "b"]),
        lambda jobs: jobs.get(id),
    ]


def assert_all_succeeded(url: str, jobs: int) -> None:
    with FineTuningStore.from_url(url) as store:
        assert [job.status for job in store.jobs.iterate()] == [JobStatus.SUCCEEDED] * jobs


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_threads_share_few_server_connections(pooler: URL, url: str, driver: str) -> None:
    failed: list[Exception] = []

    def run_jobs(store: FineTuningStore) -> None:
        try:
            for _ in range(4):
                job = new_job(store.jobs)
                for step in steps(job.id):
                    step(store.jobs)
        except Exception as error:  # noqa: BLE001 - asserted below
            failed.append(error)

    with FineTuningStore.from_url(through(pooler, url, driver), transaction_pooler=True, timeouts=PATIENT) as store:
        threads = [threading.Thread(target=run_jobs, args=(store,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert failed == []
    assert_all_succeeded(url, CLIENTS * 4)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg_async", "asyncpg"])
def test_tasks_share_few_server_connections(pooler: URL, url: str, driver: str) -> None:
    async def run() -> None:
        async with AsyncFineTuningStore.from_url(through(pooler, url, driver), transaction_pooler=True, timeouts=PATIENT) as store:

            async def run_jobs() -> None:
                job = await new_job(store.jobs)
                for step in steps(job.id):
                    await step(store.jobs)

            await asyncio.gather(*(run_jobs() for _ in range(CLIENTS)))

    asyncio.run(run())
    assert_all_succeeded(url, CLIENTS)


@pytest.mark.parametrize("driver", [None, "psycopg_async", "asyncpg"])
def test_a_read_only_store_leaves_the_server_connections_to_others_as_they_were(pooler: URL, url: str, driver: str | None) -> None:
    def read_and_try_to_write(reader: Any) -> None:
        for _ in range(20):
            assert len(reader.jobs.list()) == 1
            with pytest.raises(ReadOnlyStoreError):
                new_job(reader.jobs)
            with pytest.raises(DBAPIError, match="read-only transaction"), reader.begin() as unit:
                unit.connection.execute(text("DELETE FROM fine_tuning_jobs"))
        assert reader.schema.state().is_read_only

    with FineTuningStore.from_url(through(pooler, url), transaction_pooler=True) as writer:
        job = new_job(writer.jobs)
        if driver is None:
            with FineTuningStore.from_url(through(pooler, url), transaction_pooler=True, read_only=True) as reader:
                read_and_try_to_write(reader)
        else:
            shown = through(pooler, url, driver).render_as_string(hide_password=False)
            awaited = AwaitedStore(shown, transaction_pooler=True, read_only=True)
            awaited.run_test(partial(read_and_try_to_write, awaited))
            awaited.close_all()
        for _ in range(20):
            writer.jobs.update(job.id, metadata={"a": "c"})
        assert not writer.schema.state().is_read_only


@pytest.mark.parametrize("driver", [None, "psycopg_async", "asyncpg"])
def test_a_row_that_another_client_holds_ends_the_call_and_leaves_no_lock_timeout_to_others(
    pooler: URL, url: str, driver: str | None
) -> None:
    shown = through(pooler, url).render_as_string(hide_password=False)
    settings = text("SELECT pg_backend_pid(), current_setting('lock_timeout')")

    def wait(brief: Any) -> None:
        """Meet the held row by every server connection but the holder's, and let another client use the same one at once."""
        calls: list[Callable[[], Any]] = [lambda: brief.jobs.cancel(job.id), lambda: brief.events.append(job.id, "It waits.")]
        for call in calls:
            started = time.monotonic()
            with pytest.raises(StoreBusyError, match=r"within 1 s") as caught:
                call()
            assert caught.value.waited_for == "lock"
            assert time.monotonic() - started < 10
        with brief.begin() as unit:
            used, limit = unit.connection.execute(settings).one()
        assert limit == "500ms"
        with other.connect() as connection:
            assert connection.execute(settings).one() == (used, "0")  # the pooler has no other server connection that is free

    with FineTuningStore.from_url(url) as direct, FineTuningStore.from_url(shown, transaction_pooler=True) as holder:
        job = new_job(direct.jobs)
        other = create_engine(through(pooler, url), connect_args={"prepare_threshold": None})
        with holder.begin() as unit:
            unit.jobs.update(job.id, metadata={"a": "c"})
            run_with_store(wait, shown, driver, transaction_pooler=True, timeouts=Timeouts(lock=1))
        other.dispose()
        assert direct.jobs.get(job.id).metadata == {"a": "c"}


@pytest.mark.parametrize("url", ["sqlite:///file.db", "mariadb://host/db"])
@pytest.mark.parametrize("kind", [FineTuningStore, AsyncFineTuningStore])
def test_transaction_pooler_is_refused_on_other_databases(kind: Any, url: str, database: Database) -> None:
    with pytest.raises(InvalidValueError, match="before PostgreSQL") as caught:
        kind.from_url(url, transaction_pooler=True)

    assert caught.value.field == "transaction_pooler"

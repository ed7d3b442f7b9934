"""A host's SQLite engine: the guarantees with `prepare_sqlite_engine`, and those that hold without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

from fine_tuning_store import (
    EngineConfigurationError,
    FineTuningJobCheckpoint,
    FineTuningJobCheckpointRepository,
    FineTuningJobRepository,
    FineTuningStore,
    IllegalTransitionError,
    JobAlreadyExistsError,
    JobNotFoundError,
    JobStatus,
    UnsupportedDatabaseError,
    prepare_sqlite_engine,
)
from fine_tuning_store.sql import models
from fine_tuning_store.sql.engine import connect_async
from tests.support.factories import ORGANIZATION, a_job
from tests.support.parallel import at_once

PROCESSES, TIMES = 8, 25


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a migrated database file."""
    path = tmp_path / "jobs.db"
    with FineTuningStore.from_url(f"sqlite:///{path}") as store:
        store.schema.upgrade()
    return path


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    """A host's engine after `prepare_sqlite_engine`."""
    engine = create_engine(f"sqlite:///{path}")
    prepare_sqlite_engine(engine)
    yield engine
    engine.dispose()


def test_connections_are_configured_like_those_of_a_store(engine: Engine) -> None:
    prepare_sqlite_engine(engine)  # a second time changes nothing
    with engine.connect() as connection:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert settings == ["wal", 1, 1, 30_000]


def test_foreign_keys_and_rollbacks_work(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (job_id VARCHAR REFERENCES fine_tuning_jobs (id))"))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text("INSERT INTO notes VALUES ('none')"))
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE lost (id INTEGER)"))
        connection.rollback()
        assert not engine.dialect.has_table(connection, "lost")


def test_a_read_only_transaction_does_not_wait_for_a_writer(engine: Engine) -> None:
    readers = engine.execution_options(sqlite_read_only=True)
    store = FineTuningStore(engine)
    with engine.begin() as writer:
        writer.execute(text("UPDATE fine_tuning_store_compatibility SET id = 1"))
        started = time.monotonic()
        with readers.connect() as connection, connection.begin():
            assert connection.scalar(select(func.count()).select_from(models.jobs)) == 0
        assert store.jobs.list().data == ()
        assert time.monotonic() - started < 10


def test_a_connection_that_was_closed_is_replaced(engine: Engine) -> None:
    with engine.connect() as connection:
        driver_connection: Any = connection.connection.driver_connection
        driver_connection.close()
        with pytest.raises(DBAPIError, match="closed database") as caught:
            connection.execute(text(MARK))
        assert caught.value.connection_invalidated
    with engine.begin() as connection:
        connection.execute(text(MARK))


def begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


@pytest.mark.parametrize("make", [Session, Engine.connect])
def test_a_repository_is_refused_where_a_rollback_would_undo_nothing(path: Path, make: Callable[[Engine], Any]) -> None:
    """With isolation_level=None the driver sends no BEGIN. The documentation of SQLAlchemy has a listener that does."""
    bare = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None})
    with make(bare) as source, pytest.raises(EngineConfigurationError, match="prepare_sqlite_engine"):
        FineTuningJobRepository(source).create(organization_id=ORGANIZATION, model="m", training_file="f")

    prepared, listening = (create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None}) for _ in range(2))
    prepare_sqlite_engine(prepared)
    event.listen(listening, "begin", begin)
    for engine in (prepared, listening):
        with make(engine) as source:
            FineTuningJobRepository(source).create(organization_id=ORGANIZATION, model="m", training_file="f")
            source.rollback()
            kept = FineTuningJobRepository(source).create(organization_id=ORGANIZATION, model="m", training_file="f")
            source.commit()
        assert [job.id for job in FineTuningStore(bare).jobs.list().data] == [kept.id]
        FineTuningStore(bare).jobs.cancel(kept.id)
        FineTuningStore(bare).jobs.delete(kept.id)
    for engine in (bare, prepared, listening):
        engine.dispose()


def test_another_database_is_refused() -> None:
    with pytest.raises(UnsupportedDatabaseError, match="postgresql needs no such"):
        prepare_sqlite_engine(create_engine("postgresql+psycopg://127.0.0.1:1/none"))


# Many processes


def count_up(wait: Callable[[], object], path: str) -> None:
    """Repeatedly read a number, write the next one and add a job, in one transaction of the host."""
    engine = create_engine(f"sqlite:///{path}")
    prepare_sqlite_engine(engine)
    wait()
    for _ in range(TIMES):
        with Session(engine) as session, session.begin():
            number = session.execute(text("SELECT number FROM counter")).scalar_one()
            FineTuningJobRepository(session).create(organization_id=ORGANIZATION, model="m", training_file="f")
            session.execute(text("UPDATE counter SET number = :number"), {"number": number + 1})
    engine.dispose()


@pytest.mark.slow
def test_no_update_of_many_processes_is_lost_on_prepared_engines(path: Path, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE counter (number INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))

    results = at_once(*[(count_up, (str(path),))] * PROCESSES)

    assert [error for _, error in results] == [None] * PROCESSES
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT number FROM counter")) == PROCESSES * TIMES
        assert connection.scalar(select(func.count()).select_from(models.jobs)) == PROCESSES * TIMES


def work_on(
    jobs: FineTuningJobRepository, checkpoints: FineTuningJobCheckpointRepository, number: int, by: str
) -> Iterator[Callable[[], Any]]:
    """Yield calls on a job that all processes work on at once. The fastest process deletes it while the others still use it."""
    id = f"ftjob-{number}"
    yield lambda: jobs.add(a_job(id=id, status="queued", metadata={"by": by}, result_files=("f",)))
    yield lambda: jobs.update(id, metadata={"by": by, "again": by})
    yield lambda: checkpoints.add(
        FineTuningJobCheckpoint(id=f"ftckpt-{by}", created_at=1, fine_tuned_model_checkpoint=by, fine_tuning_job_id=id, step_number=1)
    )
    yield lambda: jobs.start(id)
    yield lambda: jobs.succeed(id, fine_tuned_model=by, result_files=[by], message=by)
    yield lambda: jobs.update(id, metadata={"by": by, "finally": by})
    if number % 2:
        yield lambda: jobs.delete(id)


def done(call: Callable[[], object]) -> bool:
    """Return whether a call succeeded. Some never get the lock, because the driver waits for only 5 seconds."""
    try:
        call()
    except (IllegalTransitionError, JobAlreadyExistsError, JobNotFoundError):
        return False
    except OperationalError as error:
        if "database is locked" not in str(error):
            raise
        return False
    return True


def work_with_a_store(wait: Callable[[], object], path: str, by: str) -> list[tuple[int, int]]:
    engine = create_engine(f"sqlite:///{path}")
    store = FineTuningStore(engine)
    store.jobs.list()
    wait()
    did = []
    for number in range(TIMES):
        did += [(number, step) for step, call in enumerate(work_on(store.jobs, store.checkpoints, number, by)) if done(call)]
    engine.dispose()
    return did


def work_in_sessions(wait: Callable[[], object], path: str, by: str) -> list[tuple[int, int]]:
    engine = create_engine(f"sqlite:///{path}")
    wait()
    did = []
    for number in range(TIMES):
        with Session(engine) as session:
            repositories = FineTuningJobRepository(session), FineTuningJobCheckpointRepository(session)
            for step, call in enumerate(work_on(*repositories, number, by)):
                if done(call):
                    did.append((number, step))
                    session.commit()
                else:
                    session.rollback()
    engine.dispose()
    return did


@pytest.mark.slow
@pytest.mark.parametrize("work", [work_with_a_store, work_in_sessions])
def test_on_an_unprepared_engine_no_job_is_lost_or_partially_written(path: Path, work: Any) -> None:
    results = at_once(*[(work, (str(path), f"p{number}")) for number in range(PROCESSES)])

    assert [error for _, error in results] == [None] * PROCESSES
    did = [step for steps, _ in results for step in steps]
    with FineTuningStore.from_url(f"sqlite:///{path}") as store:
        jobs = {job.id: job for job in store.jobs.iterate()}
        for number in range(TIMES):
            added, started, succeeded, deleted = (did.count((number, step)) for step in (0, 3, 4, 6))
            assert added - deleted == (f"ftjob-{number}" in jobs)
            assert started <= added
            assert succeeded <= started
        for job in jobs.values():
            assert job.metadata is not None
            assert set(job.metadata.values()) == {job.metadata["by"]}
            if job.status is JobStatus.SUCCEEDED:
                assert job.result_files == (job.fine_tuned_model,)
                assert [event.message for event in store.events.list(job.id)] == [job.fine_tuned_model]
        with store.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


# Cancelled tasks


LONG = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT max(i) FROM n"
MARK = "UPDATE fine_tuning_store_compatibility SET id = 1"


async def write_and_be_cancelled(engine: AsyncEngine, turns: int) -> None:
    """Cancel a task that has written, after some turns of the event loop, while it awaits a SELECT in the same transaction."""
    written = asyncio.Event()

    async def work() -> None:
        async with engine.begin() as connection:
            await connection.execute(text(MARK))
            written.set()
            for _ in range(20):
                await connection.execute(text(LONG))

    task = asyncio.create_task(work())
    await written.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def prepared_async_engine(url: str) -> AsyncEngine:
    engine = create_async_engine(url)
    prepare_sqlite_engine(engine)
    return engine


@pytest.mark.parametrize("make", [prepared_async_engine, connect_async])
def test_a_task_that_is_cancelled_leaves_no_lock(path: Path, make: Callable[[str], AsyncEngine]) -> None:
    async def run() -> None:
        engine = make(f"sqlite+aiosqlite:///{path}")
        event.listen(engine.sync_engine, "connect", lambda connection, _: connection.cursor().execute("PRAGMA busy_timeout=2000"))
        for turns in range(20):
            await write_and_be_cancelled(engine, turns)
            async with engine.begin() as connection:
                await connection.execute(text(MARK))
        await engine.dispose()

    asyncio.run(run())


def test_a_reader_that_blocks_a_migration_is_reported_and_nothing_is_changed(tmp_path: Path) -> None:
    """Test without WAL, where a reader prevents a writer from committing."""
    engine = create_engine(f"sqlite:///{tmp_path}/host.db", connect_args={"timeout": 0.2})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
    store = FineTuningStore(engine)

    with engine.connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.execute(text("SELECT * FROM theirs")).all()
        with pytest.raises(OperationalError, match="database is locked"):
            store.schema.upgrade()

    assert store.schema.current() is None
    store.schema.upgrade()
    assert store.schema.check() == ()
    engine.dispose()

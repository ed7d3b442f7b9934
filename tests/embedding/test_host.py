"""The store inside a host's transaction: it never commits, rolls back or reconfigures anything, and its errors leave it usable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from fine_tuning_store import (
    FineTuningJobRepository,
    FineTuningStore,
    IllegalTransitionError,
    InvalidValueError,
    JobAlreadyExistsError,
    JobNotFoundError,
    JobStatus,
)
from fine_tuning_store.errors import CursorNotFoundError
from fine_tuning_store.models import JobRow
from tests.support.factories import a_job, stored


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The host's engine, with the defaults of SQLAlchemy."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


def test_the_stores_rows_commit_and_roll_back_with_the_hosts_transaction(store: FineTuningStore, engine: Engine) -> None:
    with Session(engine) as session:
        jobs = FineTuningJobRepository(session)
        committed = jobs.add(a_job())
        jobs.start(committed.id)
        session.commit()
        rolled_back = jobs.add(a_job())
        jobs.pause(committed.id)
        assert {job.id for job in jobs.iterate()} == {committed.id, rolled_back.id}
        session.rollback()
        assert jobs.get(committed.id).status is JobStatus.RUNNING

    assert [job.id for job in store.jobs.iterate()] == [committed.id]


def test_a_connection_works_like_a_session(store: FineTuningStore, engine: Engine) -> None:
    with engine.connect() as connection:
        jobs = FineTuningJobRepository(connection)
        committed = jobs.add(a_job())
        connection.commit()
        jobs.cancel(committed.id)
        connection.rollback()
        assert jobs.get(committed.id) == committed
        connection.rollback()

    assert store.jobs.list().data == (committed,)


@pytest.mark.parametrize("kind", ["session", "connection"])
def test_each_error_of_the_store_leaves_the_hosts_transaction_usable(store: FineTuningStore, engine: Engine, kind: str) -> None:
    ended = stored(store, status="failed")
    with Session(engine) as session, session.begin():
        jobs = FineTuningJobRepository(session if kind == "session" else session.connection())
        first = jobs.add(a_job())
        for error, call in (
            (JobAlreadyExistsError, lambda: jobs.add(a_job(id=first.id))),
            (JobAlreadyExistsError, lambda: jobs.add(a_job(id=ended.id))),
            (JobAlreadyExistsError, lambda: jobs.add_many([a_job(), a_job(id=ended.id), a_job()])),
            (JobNotFoundError, lambda: jobs.get("none")),
            (JobNotFoundError, lambda: jobs.cancel("none")),
            (IllegalTransitionError, lambda: jobs.start(ended.id)),
            (IllegalTransitionError, lambda: jobs.delete(first.id)),
            (IllegalTransitionError, lambda: jobs.update(ended.id, trained_tokens=5)),
            (InvalidValueError, lambda: jobs.create(organization_id="o", model="\0", training_file="f")),
            (InvalidValueError, lambda: jobs.list(model="\ud800")),
            (CursorNotFoundError, lambda: jobs.list(after="none")),
        ):
            with pytest.raises(error):
                call()
        second = jobs.add(a_job())

    assert {job.id for job in store.jobs.iterate()} == {ended.id, first.id, second.id}


def test_the_hosts_engine_is_not_changed(url: str) -> None:
    engine = create_engine(url)
    before = (dict(engine.get_execution_options()), engine.dispatch.begin, list(engine.dispatch.begin), list(engine.pool.dispatch.connect))

    store = FineTuningStore(engine)
    job = store.jobs.create(organization_id="o", model="m", training_file="f")
    with store.begin() as unit:
        unit.jobs.start(job.id)

    assert (
        dict(engine.get_execution_options()),
        engine.dispatch.begin,
        list(engine.dispatch.begin),
        list(engine.pool.dispatch.connect),
    ) == before
    store.close()  # leaves it open
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT status FROM fine_tuning_jobs")) == "running"
    assert store.engine is engine
    engine.dispose()


def test_pending_rows_of_the_host_are_flushed_before_the_store_reads(engine: Engine, store: FineTuningStore) -> None:
    with Session(engine) as session:
        session.add(JobRow(id="ftjob-host", organization_id="o", created_at=1, status="running", model="m", training_file="f"))
        assert FineTuningJobRepository(session).get("ftjob-host").model == "m"
        session.rollback()


def test_a_scoped_session_works_too(engine: Engine, store: FineTuningStore) -> None:
    sessions = scoped_session(sessionmaker(engine))
    job = FineTuningJobRepository(sessions).add(a_job())
    sessions.commit()
    sessions.remove()

    assert store.jobs.list().data == (job,)


def test_an_object_that_is_no_session_is_refused_with_a_hint(engine: Engine) -> None:
    with pytest.raises(TypeError, match=r"FineTuningStore\(engine\)"):
        FineTuningJobRepository(engine)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"FineTuningStore\.from_url"):
        FineTuningStore("sqlite://")  # type: ignore[arg-type]

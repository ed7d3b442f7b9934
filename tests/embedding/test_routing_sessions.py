"""A host's Session that has several engines: what a repository writes goes where the Session sends writes, what it reads where it reads.

The follower is another database, which refuses writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Delete, Engine, Insert, Update, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from fine_tuning_store import (
    AsyncFineTuningJobRepository,
    CheckpointPermissionRepository,
    FineTuningJobCheckpointRepository,
    FineTuningJobEventRepository,
    FineTuningJobRepository,
    FineTuningStore,
    JobNotFoundError,
)
from fine_tuning_store.errors import FineTuningStoreError
from fine_tuning_store.models import JobRow
from fine_tuning_store.repositories.statistics import FineTuningJobStatistics
from fine_tuning_store.repositories.transitions import JobTransitionRepository
from tests.support.databases import Database, host_url, with_driver
from tests.support.factories import ORGANIZATION, a_job, created
from tests.support.read_only import READ_ONLY, READS, WRITES, filled


class Base(DeclarativeBase):
    pass


class Account(Base):
    """A table of the host, in its own database."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)


class Recorded:
    """An engine, and the statements that were executed on it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.statements: list[str] = []
        event.listen(engine, "before_cursor_execute", self._record)

    def _record(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)


def refuse_writes(engine: Engine, name: str) -> None:
    @event.listens_for(engine, "connect")
    def connected(dbapi_connection: Any, _: object) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute(READ_ONLY[name])
        cursor.close()
        dbapi_connection.commit()


@pytest.fixture
def leader(url: str) -> Iterator[Recorded]:
    engine = create_engine(url)
    yield Recorded(engine)
    engine.dispose()


@pytest.fixture
def follower(altered_url: str, database: Database) -> Iterator[Recorded]:
    engine = create_engine(altered_url)
    refuse_writes(engine, database.name)
    yield Recorded(engine)
    engine.dispose()


#: What the two editions of SQLAlchemy's recipe look for.
DML = {"1.4": (Update, Delete), "2.0": (Insert, Update, Delete)}


def routing(leader: Engine, follower: Engine, dml: tuple[type, ...] = DML["2.0"]) -> type[Session]:
    """Return the class of SQLAlchemy's recipe, as its documentation writes it."""

    class RoutingSession(Session):
        def get_bind(self, mapper: Any = None, clause: Any = None) -> Engine:  # type: ignore[override]
            if mapper and issubclass(mapper.class_, Account):
                raise AssertionError
            return leader if self._flushing or isinstance(clause, dml) else follower

    return RoutingSession


def repositories(session: Session | scoped_session[Any], organization_id: str | None = None) -> Any:
    """Return the repositories in a transaction of a host, named as those of a store."""
    kinds = {
        "jobs": FineTuningJobRepository,
        "events": FineTuningJobEventRepository,
        "checkpoints": FineTuningJobCheckpointRepository,
        "checkpoint_permissions": CheckpointPermissionRepository,
        "transitions": JobTransitionRepository,
        "statistics": FineTuningJobStatistics,
    }
    return SimpleNamespace(**{name: kind(session, organization_id=organization_id) for name, kind in kinds.items()})


def test_the_follower_refuses_writes(follower: Recorded) -> None:
    with pytest.raises(DBAPIError), Session(follower.engine) as session:
        FineTuningJobRepository(session).add(a_job())


@pytest.mark.parametrize("edition", DML)
@pytest.mark.parametrize("organization_id", [None, ORGANIZATION])
def test_each_write_goes_to_the_leader_and_each_read_to_a_follower(
    leader: Recorded, follower: Recorded, store: FineTuningStore, edition: str, organization_id: str | None
) -> None:
    id = filled(store)
    kind = routing(leader.engine, follower.engine, DML[edition])

    for name, call in {**WRITES, **READS}.items():
        leader.statements.clear()
        follower.statements.clear()
        with kind() as session:
            with suppress(FineTuningStoreError):  # not every write is possible for this job, and the follower has no job
                call(repositories(session, organization_id), id)
            if name in WRITES:
                assert (bool(leader.statements), follower.statements) == (True, []), name
            else:
                assert (leader.statements, bool(follower.statements)) == ([], True), name


def test_a_transaction_reads_where_it_has_written(leader: Recorded, follower: Recorded, store: FineTuningStore) -> None:
    with routing(leader.engine, follower.engine)() as session:
        bound = repositories(session)
        with pytest.raises(JobNotFoundError):
            bound.jobs.get(created(store).id)  # so far it reads from the follower
        job = bound.jobs.add(a_job())
        with session.begin_nested():
            bound.events.append(job.id, "hello")
        follower.statements.clear()
        assert bound.jobs.get(job.id) == job
        assert [event.message for event in bound.events.list(job.id)] == ["hello"]
        assert FineTuningJobRepository(session).count() == 2
        assert follower.statements == []

        session.commit()
        with pytest.raises(JobNotFoundError):
            bound.jobs.get(job.id)  # a new transaction reads from the follower again
    assert store.jobs.get(job.id) == job


def test_a_scoped_session_routes_too(leader: Recorded, follower: Recorded, store: FineTuningStore) -> None:
    sessions = scoped_session(sessionmaker(class_=routing(leader.engine, follower.engine)))

    job = FineTuningJobRepository(sessions).add(a_job())
    assert FineTuningJobRepository(sessions).get(job.id) == job
    sessions.commit()
    sessions.remove()

    assert store.jobs.list().data == (job,)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("scoped", [False, True])
def test_a_session_that_routes_may_have_the_tables_in_a_schema(empty_url: str, scoped: bool) -> None:
    with FineTuningStore.from_url(empty_url, schema="fine_tuning") as store:
        store.schema.upgrade(create_schema=True)
        sessions = sessionmaker(class_=routing(store.engine, store.engine))
        with sessions() as session:
            source = scoped_session(sessions) if scoped else session
            job = FineTuningJobRepository(source, schema="fine_tuning").add(a_job())
            source.commit()
            source.close()
        assert store.jobs.get(job.id) == job


@pytest.mark.parametrize("key", [JobRow, JobRow.__table__, JobRow.__mapper__, JobRow.__mro__[1]], ids=["class", "table", "mapper", "base"])
@pytest.mark.parametrize("writes_first", [True, False])
def test_a_session_may_map_the_jobs_to_an_engine(leader: Recorded, follower: Recorded, key: Any, writes_first: bool) -> None:
    with Session(follower.engine, binds={key: leader.engine, Base: follower.engine}) as session:
        jobs = FineTuningJobRepository(session)
        if not writes_first:
            assert jobs.count() == 0
        assert jobs.get(jobs.add(a_job()).id).model
    assert follower.statements == []


def test_a_sharded_session_chooses_the_shard_of_the_jobs(leader: Recorded, follower: Recorded) -> None:
    def shard_of(mapper: Any, instance: Any, clause: Any = None) -> str:
        assert instance is None
        return "jobs" if mapper.class_ is JobRow else "other"

    shards = {"jobs": leader.engine, "other": follower.engine}
    with ShardedSession(
        shard_chooser=shard_of, identity_chooser=lambda *_, **__: ["jobs"], execute_chooser=lambda _: ["jobs"], shards=shards
    ) as session:
        jobs = FineTuningJobRepository(session)
        assert jobs.get(jobs.add(a_job()).id).model
    assert follower.statements == []


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)  # SQLite has no two-phase transactions
def test_a_two_phase_session_commits_the_job_and_the_row_of_another_database(
    leader: Recorded, empty_url: str, store: FineTuningStore, database: Database
) -> None:
    with leader.engine.connect() as connection:
        if database.name == "postgresql" and connection.scalar(text("SHOW max_prepared_transactions")) == "0":
            pytest.skip("max_prepared_transactions is 0, PostgreSQL's default")
    engine = create_engine(empty_url)
    Base.metadata.create_all(engine)
    for commits in (True, False):
        with Session(twophase=True, binds={JobRow: leader.engine, Base: engine}) as session:
            job = FineTuningJobRepository(session).add(a_job())
            FineTuningJobRepository(session).cancel(job.id)
            session.add(Account(id=1 if commits else 2))
            session.flush()
            session.commit() if commits else session.rollback()
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT id FROM accounts")).all() == [1]
    assert store.jobs.count(status="cancelled") == 1
    engine.dispose()


@pytest.mark.async_drivers
def test_an_async_session_routes_by_its_sync_session_class(url: str, altered_url: str, driver: str, database: Database) -> None:
    async def work() -> str:
        leader, follower = (create_async_engine(host_url(with_driver(each, driver))) for each in (url, altered_url))
        refuse_writes(follower.sync_engine, database.name)
        kind = routing(leader.sync_engine, follower.sync_engine)
        async with AsyncSession(sync_session_class=kind) as session:
            jobs = AsyncFineTuningJobRepository(session)
            job = await jobs.add(a_job())
            assert await jobs.get(job.id) == job
            await session.commit()
            with pytest.raises(JobNotFoundError):
                await jobs.get(job.id)
        await leader.dispose()
        await follower.dispose()
        return job.id

    id = asyncio.run(work())
    with FineTuningStore.from_url(url) as store:
        assert [job.id for job in store.jobs.list()] == [id]

"""A host's tables with foreign keys to jobs: a violated key is a clear error, and pending rows are flushed in the right order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import ForeignKey, String, Table, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from fine_tuning_store import (
    FineTuningJobEvent,
    FineTuningJobRepository,
    FineTuningStore,
    FineTuningStoreError,
    JobAlreadyExistsError,
    JobNotFoundError,
    JobReferencedError,
)
from fine_tuning_store.sql import models
from tests.support.databases import Database
from tests.support.factories import ORGANIZATION, a_job, stored


@dataclass
class Host:
    """An application with a table of orders, each of which refers to a job."""

    store: FineTuningStore
    order: Any

    def refer_to(self, job_id: str) -> None:
        with Session(self.store.engine) as session, session.begin():
            session.add(self.order(number="1", job_id=job_id))

    def orders(self) -> list[str]:
        with Session(self.store.engine) as session:
            return list(session.scalars(select(self.order.job_id)))


def order_class(ondelete: str | None) -> Any:
    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "host_orders"
        number: Mapped[str] = mapped_column(String(20), primary_key=True)
        job_id: Mapped[str] = mapped_column(ForeignKey(models.jobs.c.id, ondelete=ondelete))

    return Order


@contextmanager
def host_of(store: FineTuningStore, ondelete: str | None) -> Iterator[Host]:
    """Create the host's table next to the store's tables, and drop it at the end of the block."""
    order = order_class(ondelete)
    table: Table = order.__table__
    with store.engine.begin() as connection:
        table.create(connection)
    try:
        yield Host(store, order)
    finally:
        with store.engine.begin() as connection:
            table.drop(connection)


@pytest.fixture
def host(store: FineTuningStore) -> Iterator[Host]:
    """A host whose foreign key has no ON DELETE clause, so that jobs with orders cannot be deleted."""
    with host_of(store, None) as host:
        yield host


Deletes = Callable[[FineTuningStore], AbstractContextManager[Callable[[str], None]]]


@contextmanager
def by_store(store: FineTuningStore) -> Iterator[Callable[[str], None]]:
    yield store.jobs.delete


@contextmanager
def by_organization(store: FineTuningStore) -> Iterator[Callable[[str], None]]:
    yield store.for_organization(ORGANIZATION).jobs.delete


@contextmanager
def by_unit(store: FineTuningStore) -> Iterator[Callable[[str], None]]:
    with store.begin() as unit:
        yield unit.jobs.delete
        unit.jobs.add(a_job(id="ftjob-after"))


@contextmanager
def by_session(store: FineTuningStore) -> Iterator[Callable[[str], None]]:
    with Session(store.engine) as session, session.begin():
        yield FineTuningJobRepository(session).delete
        FineTuningJobRepository(session).add(a_job(id="ftjob-after"))


@contextmanager
def by_connection(store: FineTuningStore) -> Iterator[Callable[[str], None]]:
    with store.engine.begin() as connection:
        yield FineTuningJobRepository(connection).delete
        FineTuningJobRepository(connection).add(a_job(id="ftjob-after"))


@pytest.mark.parametrize("rule", ["NO ACTION", "RESTRICT"])
@pytest.mark.parametrize("delete_in", [by_store, by_organization, by_unit, by_session, by_connection])
def test_a_job_that_a_host_refers_to_is_not_deleted_and_the_transaction_continues(
    store: FineTuningStore, delete_in: Deletes, rule: str
) -> None:
    job = stored(store, status="failed", metadata={"a": "b"}, result_files=("f",))
    event = FineTuningJobEvent(id="ftevent-1", created_at=1, message="hello")
    store.events.import_many(job.id, [event])
    free = stored(store, status="failed", metadata={"a": "b"})
    with host_of(store, rule) as host:
        host.refer_to(job.id)

        with delete_in(store) as delete:
            with pytest.raises(JobReferencedError, match=job.id) as caught:
                delete(job.id)
            delete(free.id)

        assert isinstance(caught.value, FineTuningStoreError)
        assert store.jobs.get(job.id) == job
        assert [event.id for event in store.events.list(job.id)] == ["ftevent-1"]
        with pytest.raises(JobNotFoundError):
            store.jobs.get(free.id)
        if delete_in not in (by_store, by_organization):
            assert store.jobs.get("ftjob-after").id == "ftjob-after"


@pytest.mark.parametrize("delete_in", [by_store, by_session])
def test_a_hosts_row_is_deleted_with_its_job_on_cascade(store: FineTuningStore, delete_in: Deletes) -> None:
    job = stored(store, status="failed")
    with host_of(store, "CASCADE") as host:
        host.refer_to(job.id)
        with delete_in(store) as delete:
            delete(job.id)

        assert host.orders() == []


@pytest.mark.parametrize("organization_id", [None, ORGANIZATION])
def test_a_delete_leaves_no_child_where_foreign_keys_are_off(
    store: FineTuningStore, database: Database, organization_id: str | None
) -> None:
    job = stored(store, status="failed", metadata={"a": "b"}, result_files=("f",))
    store.events.append(job.id, "hello")
    with store.engine.connect() as connection:
        if database.name == "sqlite":
            connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
        with connection.begin():
            FineTuningJobRepository(connection, organization_id=organization_id).delete(job.id)

            for table in models.METADATA.sorted_tables:
                if table is not models.compatibility:
                    assert connection.scalar(select(func.count()).select_from(table)) == 0, table
        connection.invalidate()


# The order in which pending rows of a Session and rows of the store are written


@pytest.mark.parametrize("many", [False, True])
def test_a_pending_row_waits_for_the_job_that_it_refers_to(host: Host, many: bool) -> None:
    job = a_job()
    for end in (Session.rollback, Session.commit):
        with Session(host.store.engine) as session:
            jobs = FineTuningJobRepository(session)
            session.add(host.order(number="1", job_id=job.id))
            if many:
                jobs.add_many([a_job(), job])
            else:
                jobs.add(job)
            assert jobs.get(job.id) == job  # flushes the order
            end(session)

        assert host.orders() == ([job.id] if end is Session.commit else [])
        assert (job in host.store.jobs.list(limit=10).data) is (end is Session.commit)


def test_a_pending_row_waits_for_the_job_that_is_created_for_it(host: Host) -> None:
    with Session(host.store.engine) as session, session.begin():
        order = host.order(number="1")
        session.add(order)
        order.job_id = FineTuningJobRepository(session).create(organization_id=ORGANIZATION, model="m", training_file="f").id

    assert host.orders() == [job.id for job in host.store.jobs.iterate()]


def test_a_pending_delete_is_flushed_before_its_job_is_deleted(host: Host) -> None:
    job = stored(host.store, status="failed")
    host.refer_to(job.id)
    for end in (Session.rollback, Session.commit):
        with Session(host.store.engine) as session:
            session.delete(session.scalars(select(host.order)).one())
            FineTuningJobRepository(session).delete(job.id)
            end(session)

        assert host.orders() == ([] if end is Session.commit else [job.id])
        assert host.store.jobs.list().data == (() if end is Session.commit else (job,))


def test_a_job_that_exists_already_leaves_the_pending_rows_and_the_transaction_alone(host: Host) -> None:
    job = stored(host.store)
    with Session(host.store.engine) as session, session.begin():
        jobs = FineTuningJobRepository(session)
        session.add(host.order(number="1", job_id=job.id))
        with pytest.raises(JobAlreadyExistsError):
            jobs.add(job)
        with pytest.raises(JobAlreadyExistsError):
            jobs.add_many([a_job(), job])

    assert host.orders() == [job.id]
    assert host.store.jobs.list().data == (job,)


def test_a_delete_that_is_refused_keeps_what_the_session_wrote(host: Host) -> None:
    job, other = stored(host.store, status="failed"), stored(host.store)
    host.refer_to(job.id)
    with Session(host.store.engine) as session, session.begin():
        session.add(host.order(number="2", job_id=other.id))
        with pytest.raises(JobReferencedError):
            FineTuningJobRepository(session).delete(job.id)

    assert sorted(host.orders()) == sorted([job.id, other.id])

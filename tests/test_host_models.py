"""A host's own tables refer to jobs by foreign keys: what its database forbids is a clear error, and its pending rows wait their turn."""

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
    JobNotFoundError,
    JobReferencedError,
)
from fine_tuning_store.sql import tables
from tests.databases import Database
from tests.given import ORGANIZATION, a_job, stored


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
        job_id: Mapped[str] = mapped_column(ForeignKey(tables.jobs.c.id, ondelete=ondelete))

    return Order


@contextmanager
def host_of(store: FineTuningStore, ondelete: str | None) -> Iterator[Host]:
    """The host's table lives beside ours for the time of the block."""
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
    """A host whose foreign key says nothing of deletes, which forbids those of jobs that have orders."""
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
        unit.jobs.add(a_job(id="ftjob-behind"))


@contextmanager
def by_session(store: FineTuningStore) -> Iterator[Callable[[str], None]]:
    with Session(store.engine) as session, session.begin():
        yield FineTuningJobRepository(session).delete
        FineTuningJobRepository(session).add(a_job(id="ftjob-behind"))


@contextmanager
def by_connection(store: FineTuningStore) -> Iterator[Callable[[str], None]]:
    with store.engine.begin() as connection:
        yield FineTuningJobRepository(connection).delete
        FineTuningJobRepository(connection).add(a_job(id="ftjob-behind"))


@pytest.mark.parametrize("rule", ["NO ACTION", "RESTRICT"])
@pytest.mark.parametrize("way", [by_store, by_organization, by_unit, by_session, by_connection])
def test_a_job_that_a_host_refers_to_is_not_deleted_and_the_transaction_goes_on(store: FineTuningStore, way: Deletes, rule: str) -> None:
    job = stored(store, status="failed", metadata={"a": "b"}, result_files=("f",))
    event = FineTuningJobEvent(id="ftevent-1", created_at=1, message="hello")
    store.events.append_many(job.id, [event])
    free = stored(store, status="failed", metadata={"a": "b"})
    with host_of(store, rule) as host:
        host.refer_to(job.id)

        with way(store) as delete:
            with pytest.raises(JobReferencedError, match=job.id) as caught:
                delete(job.id)
            delete(free.id)

        assert isinstance(caught.value, FineTuningStoreError)
        assert store.jobs.get(job.id) == job
        assert [event.id for event in store.events.list(job.id)] == ["ftevent-1"]
        with pytest.raises(JobNotFoundError):
            store.jobs.get(free.id)
        if way not in (by_store, by_organization):
            assert store.jobs.get("ftjob-behind").id == "ftjob-behind"


@pytest.mark.parametrize("way", [by_store, by_session])
def test_a_hosts_row_that_goes_with_its_job_goes(store: FineTuningStore, way: Deletes) -> None:
    job = stored(store, status="failed")
    with host_of(store, "CASCADE") as host:
        host.refer_to(job.id)
        with way(store) as delete:
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

            for table in tables.METADATA.sorted_tables:
                if table is not tables.compatibility:
                    assert connection.scalar(select(func.count()).select_from(table)) == 0, table
        connection.invalidate()

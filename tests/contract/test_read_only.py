"""Read-only stores: every read is that of another store, and no write reaches the database."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import (
    AsyncFineTuningStore,
    CheckpointPermissionRepository,
    FineTuningJobCheckpointRepository,
    FineTuningJobEventRepository,
    FineTuningJobRepository,
    FineTuningJobStatistics,
    FineTuningStore,
    JobNotFoundError,
    JobTransitionRepository,
    ReadOnlyStoreError,
    SchemaStatus,
    SchemaVersionError,
)
from fine_tuning_store.sql.dialects.base import run_on
from tests.contract.test_statement_counts import statements
from tests.support.async_store import Awaited, AwaitedStore
from tests.support.databases import Database, with_driver
from tests.support.factories import created
from tests.support.read_only import NEXT_PAGES, READ_ONLY, READS, WRITES, filled

pytestmark = pytest.mark.every_driver

REPOSITORIES: dict[str, type[Any]] = {
    "jobs": FineTuningJobRepository,
    "transitions": JobTransitionRepository,
    "statistics": FineTuningJobStatistics,
    "events": FineTuningJobEventRepository,
    "checkpoints": FineTuningJobCheckpointRepository,
    "checkpoint_permissions": CheckpointPermissionRepository,
}


class AwaitedReader(Awaited):
    """A read-only async store, in the loop of another one."""

    def __init__(self, url: str) -> None:
        super().__init__(AsyncFineTuningStore.from_url(url, read_only=True))

    @property
    def _transactions(self) -> Any:
        return self.target._sync._transactions


@pytest.fixture
def reader(store: FineTuningStore, url: str, driver: str | None) -> Iterator[FineTuningStore]:
    """A read-only store on the database of the store, with the same driver."""
    if isinstance(store, AwaitedStore):
        assert driver
        awaited = AwaitedReader(with_driver(url, driver))
        yield cast("FineTuningStore", awaited)
        store.loop.run(awaited.target.close())
    else:
        with FineTuningStore.from_url(url, read_only=True) as reader:
            yield reader


def everything(store: Any, id: str) -> dict[str, Any]:
    """What each call that reads returns."""
    return {name: call(store, id) for name, call in {**READS, **{f"{name} after": call for name, call in NEXT_PAGES.items()}}.items()}


def test_each_method_of_the_repositories_is_one_that_reads_or_one_that_writes() -> None:
    methods = {
        f"{repository}.{name}"
        for repository, kind in REPOSITORIES.items()
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }

    assert methods == READS.keys() | WRITES.keys()


def test_every_read_returns_what_another_store_wrote(store: FineTuningStore, reader: FineTuningStore) -> None:
    id = filled(store)
    expected = everything(store, id)

    assert all(expected.values())
    assert everything(reader, id) == expected
    assert everything(reader.for_organization("org-1"), id) == everything(store.for_organization("org-1"), id)
    with pytest.raises(JobNotFoundError):
        reader.for_organization("org-2").jobs.get(id)
    with reader.begin() as unit:
        assert everything(unit, id) == expected
    assert reader.run_in_transaction(lambda unit: everything(unit, id)) == expected


def test_no_write_reaches_the_database(store: FineTuningStore, reader: FineTuningStore) -> None:
    id = filled(store)
    expected = everything(store, id)
    reader.jobs.get(id)

    def refuses_all(target: Any) -> None:
        for name, call in WRITES.items():
            with pytest.raises(ReadOnlyStoreError, match="read_only=True"):
                call(target, id)
                pytest.fail(name)

    with statements(reader) as sent:
        refuses_all(reader)
        refuses_all(reader.for_organization("org-1"))
        with reader.begin() as unit:
            refuses_all(unit)
        reader.run_in_transaction(refuses_all)

    assert set(sent) <= {"SELECT 1"}  # before a COMMIT it asks asyncpg whether the transaction has failed
    assert everything(store, id) == expected


def test_the_database_refuses_a_write_of_the_hosts_own(store: FineTuningStore, reader: FineTuningStore) -> None:
    id = filled(store)

    for engine in (reader.engine, reader.for_organization("org-1").engine):
        with engine.connect() as connection:
            with pytest.raises(DBAPIError, match=r"(?i)read.?only"):
                connection.execute(text("DELETE FROM fine_tuning_jobs"))
    with pytest.raises(DBAPIError, match=r"(?i)read.?only"), reader.begin() as unit:
        unit.connection.execute(text("DELETE FROM fine_tuning_jobs"))
    assert store.jobs.get(id).id == id


def test_a_unit_that_reads_keeps_no_writer_waiting(store: FineTuningStore, reader: FineTuningStore) -> None:
    first = created(store)
    with reader.begin() as unit:
        assert unit.jobs.get(first.id) == first
        second = created(store)
        store.jobs.cancel(first.id)

    assert reader.jobs.get(first.id).status == "cancelled"
    assert reader.jobs.get(second.id) == second


def test_a_unit_that_loses_its_connection_is_run_again(store: FineTuningStore, reader: FineTuningStore, database: Database) -> None:
    if database.name == "sqlite":
        return  # which has no server
    job = created(store)
    own, kill = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mariadb": ("SELECT connection_id()", "KILL {}"),
    }[database.name]
    tries: list[int] = []

    def read(unit: Any) -> Any:
        process = unit.connection.scalar(text(own))
        tries.append(process)
        if len(tries) == 1:
            with store.engine.connect() as connection:
                connection.exec_driver_sql(kill.format(process))
        return unit.jobs.get(job.id)

    assert reader.run_in_transaction(read) == job
    assert len(tries) == 2


def test_the_schema_can_be_read_and_not_migrated(store: FineTuningStore, reader: FineTuningStore) -> None:
    with statements(reader) as sent:
        calls: list[Callable[..., object]] = [
            reader.schema.upgrade,
            partial(reader.schema.downgrade, "base", allow_data_loss=True),
            reader.schema.adopt,
        ]
        for call in calls:
            with pytest.raises(ReadOnlyStoreError):
                call()
    assert sent == []

    reader.schema.require_usable()
    state = reader.schema.state()
    assert (state.status, state.command, state.is_read_only) == (SchemaStatus.CURRENT, None, True)
    assert reader.schema.current() == reader.schema.head() == state.revision
    assert reader.schema.check() == ()
    assert not store.schema.state().is_read_only


def test_the_store_says_that_it_is_read_only(store: FineTuningStore, reader: FineTuningStore) -> None:
    assert repr(reader).endswith(", read_only=True)")
    assert repr(reader.for_organization("org-1")).endswith(", organization_id='org-1', read_only=True)")
    assert "read_only" not in repr(store)


def test_the_schema_is_checked_by_select_alone(store: FineTuningStore, reader: FineTuningStore) -> None:
    with statements(reader) as sent:
        reader.jobs.list()
        reader.schema.state()
        reader.schema.check()

    assert sent
    for statement in sent:
        words = statement.upper().split()
        assert words[0] in ("SELECT", "WITH", "PRAGMA", "SHOW", "DESCRIBE"), statement
        assert not {"UPDATE", "LOCK"} & set(words), statement


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_tables_that_are_missing_are_not_made(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store, store.engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # SQLite makes the file
    with FineTuningStore.from_url(empty_url, read_only=True) as reader:
        for call in (lambda: reader.jobs.list(), lambda: reader.begin().__enter__(), reader.schema.require_usable):
            with pytest.raises(SchemaVersionError, match="on its primary"):
                call()

        state = reader.schema.state()
        assert (state.status, state.command) == (SchemaStatus.EMPTY, "fine-tuning-store db upgrade")


def test_a_write_that_the_database_refuses_raises_the_error_of_a_read_only_store(store: FineTuningStore, database: Database) -> None:
    """For example of a role with default_transaction_read_only, or on a primary that was demoted."""
    id = filled(store)
    expected = everything(store, id)

    def make_read_only(dbapi_connection: Any, _: object) -> None:
        run_on(dbapi_connection, READ_ONLY[database.name])
        dbapi_connection.commit()

    event.listen(store._transactions.engine, "connect", make_read_only)
    store.engine.dispose()
    nothing_to_write = "jobs.delete_expired_idempotency_keys"
    for name, call in ((name, call) for name, call in WRITES.items() if name != nothing_to_write):
        with pytest.raises(ReadOnlyStoreError, match="is read-only now") as refused:
            call(store, id)
            pytest.fail(name)
        assert isinstance(refused.value.__cause__, DBAPIError)
    assert everything(store, id) == expected

    event.remove(store._transactions.engine, "connect", make_read_only)
    if database.name == "sqlite":  # whose connection stays in the pool
        store.engine.dispose()
    assert store.jobs.cancel(id).status == "cancelled"  # in a new session

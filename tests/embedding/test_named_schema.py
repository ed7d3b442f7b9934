"""The store's tables in a named schema of PostgreSQL: independent of search_path, and without changes to the host's settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
from sqlalchemy import Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from fine_tuning_store import (
    CheckpointPermissionRepository,
    FineTuningJobCheckpointRepository,
    FineTuningJobEventRepository,
    FineTuningJobRepository,
    FineTuningStore,
    Hyperparameters,
    InvalidValueError,
    JobAlreadyExistsError,
    JobError,
    SchemaConflictError,
    SchemaVersionError,
    UnsupportedDatabaseError,
)
from fine_tuning_store.schema.revisions import SCHEMA_NUMBER, revision_id
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE
from tests.support import programs
from tests.support.async_store import AwaitedStore
from tests.support.databases import Database, with_driver
from tests.support.factories import ORGANIZATION, a_job, created, stored
from tests.support.parallel import at_once

HEAD = revision_id(SCHEMA_NUMBER)
STORE_TABLES = {*METADATA.tables, VERSION_TABLE}
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def bare_url(empty_url: str) -> str:
    """The URL of a database with an empty search_path, so that unqualified names are not found."""
    return make_url(empty_url).update_query_dict({"options": "-c search_path="}).render_as_string(hide_password=False)


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    """A host's engine with a single connection, which keeps its settings."""
    engine = create_engine(empty_url, pool_size=1, max_overflow=0, pool_timeout=5)
    yield engine
    engine.dispose()


def tables(url: str, schema: str) -> set[str]:
    engine = create_engine(url)
    names = set(inspect(engine).get_table_names(schema))
    engine.dispose()
    return names


def search_path(engine: Engine) -> str:
    with engine.connect() as connection:
        shown: str = connection.scalars(text("SHOW search_path")).one()
    return shown


def use_every_method(store: FineTuningStore) -> None:
    """Call every method of the repositories at least once."""
    scoped = store.for_organization(ORGANIZATION)
    job = scoped.jobs.create(model="gpt-4o-mini", training_file="file-abc", metadata={"team": "nlp", "run": "1"})
    scoped.jobs.enqueue(job.id)
    scoped.jobs.start(job.id, hyperparameters=Hyperparameters(n_epochs=2), message="started")
    scoped.jobs.pause(job.id)
    scoped.jobs.resume(job.id)
    scoped.jobs.start(job.id)
    scoped.jobs.requeue(job.id)
    scoped.jobs.update(job.id, trained_tokens=5, metadata={"team": "nlp", "run": "2"})
    with store.begin() as unit:
        unit.jobs.start(job.id)
        unit.events.append(job.id, "step 1", data={"step": 1})
    checkpoint = scoped.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint="ft:step-1", metrics={"loss": 0.5})
    ended = store.run_in_transaction(
        lambda unit: unit.jobs.succeed(job.id, fine_tuned_model="ft:1", trained_tokens=7, result_files=["file-r"])
    )
    (permission,) = store.checkpoint_permissions.create("ft:step-1", ["proj-1"])
    failed = stored(store)
    store.jobs.fail(failed.id, JobError(code="bad", message="bad", param=None))
    imported = store.jobs.add_many([a_job(metadata={"team": "ops"}), a_job(model="m-2", error=None)])
    for several in ([a_job(), a_job(id=job.id)], [a_job(id=job.id)]):
        with pytest.raises(JobAlreadyExistsError):
            store.jobs.add_many(several)
    event = store.events.list(job.id).data[0]
    assert store.events.import_many(job.id, [event]) == (event,)
    with pytest.raises(InvalidValueError):
        store.events.import_many(job.id, [replace(event, message="different")])
    assert store.checkpoints.import_many(job.id, [checkpoint]) == (checkpoint,)
    assert store.checkpoint_permissions.import_many(job.id, [permission]) == (permission,)
    log = store.transitions.list(job.id).data
    assert store.transitions.import_many(job.id, log) == log
    old = stored(store, status="failed", finished_at=1, created_at=1)
    assert store.transitions.import_many(old.id, [replace(log[0], job_id=old.id)])[0].position == 1
    assert store.jobs.replace_many([old])[0].updated_at is not None
    assert store.retention.purge(finished_before=2, events_only=True, dry_run=False).jobs == 0
    assert store.retention.purge(finished_before=2, dry_run=False).jobs == 1

    assert scoped.jobs.get(job.id) == ended
    assert {found.id for found in store.jobs.get_many([job.id, failed.id])} == {job.id, failed.id}
    for expected, filters in (
        ({job.id}, {"metadata": {"team": "nlp", "run": "2"}, "organization_id": ORGANIZATION}),
        ({job.id, imported[0].id}, {"has_metadata": True}),
        ({failed.id, imported[1].id}, {"has_metadata": False}),
        ({imported[1].id}, {"model": "m-2", "created_since": 1, "created_until": 2**40}),
        ({job.id, failed.id}, {"status": ["succeeded", "failed"]}),
    ):
        assert {found.id for found in store.jobs.iterate(page_size=1, **filters)} == expected
    assert store.jobs.list(after=job.id, order="asc", limit=1).has_more is False
    assert [event.message for event in store.events.tail(job.id)] == ["started", "step 1"]
    assert store.checkpoints.list(job.id).data == (checkpoint,)
    assert store.checkpoint_permissions.list("ft:step-1", after=None).data == (permission,)
    store.checkpoint_permissions.delete(permission.id)
    for job_id in (job.id, failed.id):
        store.jobs.delete(job_id)
    assert {found.id for found in store.jobs.iterate()} == {kept.id for kept in imported}


@on_postgresql
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async"])
def test_everything_works_in_a_schema_with_an_async_store(empty_url: str, driver: str) -> None:
    async_store = AwaitedStore(with_driver(empty_url, driver), schema="ft")
    store = cast("FineTuningStore", async_store)

    def use() -> None:
        store.schema.upgrade(create_schema=True)
        assert store.schema.check() == ()
        use_every_method(store)

    async_store.run_test(use)
    async_store.close_all()

    assert (tables(empty_url, "ft"), tables(empty_url, "public")) == (STORE_TABLES, set())


@on_postgresql
@pytest.mark.parametrize("schema", ["ft", 'Select "x"', "50%s", "o'clock", "a.b:c", "Füße"])
def test_everything_works_in_a_schema_of_any_name_with_an_empty_search_path(bare_url: str, schema: str) -> None:
    with FineTuningStore.from_url(bare_url, schema=schema) as store:
        assert store.schema.current() is None
        with pytest.raises(SchemaVersionError):
            store.jobs.list()
        store.schema.upgrade(create_schema=True)

        use_every_method(store)

        store.schema.upgrade()
        store.schema.require_usable()
        assert (store.schema.current(), store.schema.check()) == (HEAD, ())
        assert tables(bare_url, schema) == STORE_TABLES


@on_postgresql
def test_up_and_down_and_up_and_down_leave_nothing_behind_in_public(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url, schema="ft") as store:
        for _ in range(2):
            store.schema.upgrade(create_schema=True)
            created(store)
            assert (tables(empty_url, "ft"), tables(empty_url, "public")) == (STORE_TABLES, set())
            store.schema.downgrade("fine_tuning_store_0001", allow_data_loss=True)
            assert store.schema.current() == "fine_tuning_store_0001"
            store.schema.downgrade("base", allow_data_loss=True)
            assert (tables(empty_url, "ft"), tables(empty_url, "public")) == (set(), set())
        assert f"missing: table {METADATA.sorted_tables[0].name}" in map(str, store.schema.check())


@on_postgresql
def test_stores_in_different_schemas_of_one_database_do_not_see_each_other(empty_url: str) -> None:
    with (
        FineTuningStore.from_url(empty_url, schema="one") as one,
        FineTuningStore.from_url(empty_url, schema="two") as two,
        FineTuningStore.from_url(empty_url) as public,
    ):
        one.schema.upgrade(create_schema=True)
        assert (two.schema.current(), public.schema.current()) == (None, None)
        two.schema.upgrade("fine_tuning_store_0001", create_schema=True)
        public.schema.upgrade()
        assert (one.schema.current(), two.schema.current()) == (HEAD, "fine_tuning_store_0001")
        two.schema.upgrade()
        jobs = {store: stored(store, id="ftjob-same", model=model) for store, model in ((one, "m-1"), (two, "m-2"), (public, "m-3"))}
        one.schema.downgrade("base", allow_data_loss=True)

        for store in (two, public):
            assert store.jobs.list().data == (jobs[store],)
            assert store.schema.check() == ()


@on_postgresql
def test_repositories_inside_a_hosts_transaction_find_the_schema_and_leave_the_connection_as_it_was(engine: Engine) -> None:
    store = FineTuningStore(engine, schema="ft")
    store.schema.upgrade(create_schema=True)
    before = search_path(engine)
    with engine.connect().execution_options(schema_translate_map={"theirs": "public"}) as connection:
        options = dict(connection.get_execution_options())
        jobs = FineTuningJobRepository(connection, schema="ft", organization_id=ORGANIZATION)
        job = jobs.create(model="m", training_file="f")
        FineTuningJobEventRepository(connection, schema="ft").append(job.id, "hello")
        FineTuningJobCheckpointRepository(connection, schema="ft").create(job.id, step_number=1, fine_tuned_model_checkpoint="ft:1")
        CheckpointPermissionRepository(connection, schema="ft").create("ft:1", ["proj-1"])
        assert connection.get_execution_options() == options
        assert connection.scalar(text("SHOW search_path")) == before
        connection.commit()
    sources: list[Callable[[], Session | scoped_session[Session]]] = [lambda: Session(engine), lambda: scoped_session(sessionmaker(engine))]
    for source in sources:
        session = source()
        FineTuningJobRepository(session, schema="ft").start(job.id)
        assert not session.connection().get_execution_options().get("schema_translate_map")
        session.rollback()
        session.close()

    assert store.jobs.list().data == (job,)
    assert store.events.list(job.id).data[0].message == "hello"


@on_postgresql
@pytest.mark.parametrize("path", ["ft, public", "", '"$user", public'])
def test_a_migration_leaves_the_search_path_of_the_hosts_connections_unchanged(engine: Engine, path: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA taken"))
        connection.execute(text("CREATE TABLE taken.fine_tuning_jobs (theirs INTEGER)"))
    event.listen(engine, "connect", partial(set_search_path, path))
    engine.dispose()
    store = FineTuningStore(engine, schema="ft")
    store.schema.upgrade(create_schema=True)
    assert search_path(engine) == path
    store.schema.downgrade("base")
    assert search_path(engine) == path
    with pytest.raises(InvalidValueError):
        FineTuningStore(engine, schema="missing").schema.upgrade()
    assert search_path(engine) == path
    with pytest.raises(SchemaConflictError, match="schema="):
        FineTuningStore(engine, schema="taken").schema.upgrade()
    assert search_path(engine) == path
    assert dict(engine.get_execution_options()) == {}


def set_search_path(path: str, dbapi_connection: Any, _: object) -> None:
    with dbapi_connection.cursor() as cursor:
        cursor.execute("SELECT set_config('search_path', %s, false)", (path,))
    dbapi_connection.commit()


@on_postgresql
def test_a_missing_schema_is_refused_without_create_schema(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url, schema="ft") as store, FineTuningStore.from_url(empty_url) as public:
        calls: list[Callable[[], object]] = [store.schema.upgrade, lambda: store.schema.downgrade("base")]
        for call in calls:
            with pytest.raises(InvalidValueError, match="create_schema=True") as caught:
                call()
            assert caught.value.field == "schema"
        with pytest.raises(InvalidValueError) as caught:
            public.schema.upgrade(create_schema=True)
        assert caught.value.field == "create_schema"
        assert tables(empty_url, "public") == set()
        store.schema.upgrade(create_schema=True)
        store.schema.upgrade(create_schema=True)


def migrate(wait: Callable[[], object], url: str) -> str | None:
    with FineTuningStore.from_url(url, schema="ft") as store:
        wait()
        store.schema.upgrade(create_schema=True)
        created(store)
        return store.schema.current()


@pytest.mark.slow
@on_postgresql
def test_eight_processes_that_create_the_schema_at_once_all_succeed(empty_url: str) -> None:
    assert at_once(*[(migrate, (empty_url,))] * 8) == [(HEAD, None)] * 8
    with FineTuningStore.from_url(empty_url, schema="ft") as store:
        assert len(store.jobs.list()) == 8
        assert store.schema.check() == ()


def alembic(url: str, *arguments: str) -> str:
    done = programs.alembic("-x", f"url={url}", "-x", "schema=f t", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@on_postgresql
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_the_command_line_migrates_a_schema(empty_url: str, driver: str) -> None:
    url = make_url(empty_url).set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
    with FineTuningStore.from_url(empty_url, schema="f t") as store:
        with store.engine.begin() as connection:
            connection.execute(text('CREATE SCHEMA "f t"'))

        alembic(url, "upgrade", "head")
        assert store.schema.check() == ()
        assert HEAD in alembic(url, "current")
        assert "No new upgrade operations" in alembic(url, "check")
        alembic(url, "downgrade", "base")
        assert (tables(empty_url, "f t"), tables(empty_url, "public")) == (set(), set())


@on_postgresql
def test_the_sql_for_a_dba_makes_the_tables_in_the_schema(empty_url: str) -> None:
    script = alembic(empty_url, "upgrade", "head", "--sql")
    engine = create_engine(empty_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text('CREATE SCHEMA "f t"'))
        before = connection.scalar(text("SHOW search_path"))
        for statement in re.split(r";\n", script):  # as psql does: CONCURRENTLY must be alone
            if statement.strip():
                connection.exec_driver_sql(statement.replace("%", "%%"))
        assert connection.scalar(text("SHOW search_path")) == before
    engine.dispose()

    with FineTuningStore.from_url(empty_url, schema="f t") as store:
        assert (store.schema.current(), store.schema.check()) == (HEAD, ())
        created(store)
    assert tables(empty_url, "public") == set()


@on_postgresql
@pytest.mark.parametrize("schema", ["", 5, b"ft", "a\0b", "x" * 64, "ü" * 32, "\ud800", "$user", "pg_mine", "a[b"])
def test_an_invalid_schema_name_is_refused(empty_url: str, schema: str) -> None:
    engine = create_engine(empty_url)
    calls: list[Callable[[], object]] = [
        lambda: FineTuningStore.from_url(empty_url, schema=schema),
        lambda: FineTuningStore(engine, schema=schema),
        lambda: FineTuningJobRepository(Session(engine), schema=schema),
    ]
    for call in calls:
        with pytest.raises(InvalidValueError) as caught:
            call()
        assert caught.value.field == "schema"
    engine.dispose()


@pytest.mark.parametrize("database", ["sqlite", "mariadb"], indirect=True)
def test_a_database_without_schemas_refuses_one(database: Database) -> None:
    with database.empty() as url:
        engine = create_engine(url)
        with engine.connect() as connection:
            calls: list[Callable[[], object]] = [
                lambda: FineTuningStore.from_url(url, schema="ft"),
                lambda: FineTuningStore(engine, schema="ft"),
                lambda: FineTuningJobRepository(connection, schema="ft"),
                lambda: FineTuningJobRepository(Session(engine), schema="ft"),
            ]
            for call in calls:
                with pytest.raises(UnsupportedDatabaseError, match="schema= is for PostgreSQL"):
                    call()
        engine.dispose()


def test_a_repository_of_a_store_has_the_stores_schema(sqlite_store: FineTuningStore) -> None:
    with pytest.raises(TypeError):
        FineTuningJobRepository(sqlite_store.jobs._source, schema="ft")

"""Revisions that change large tables do not block readers and writers for long (docs/decisions/0007)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text

from fine_tuning_store import FineTuningStore, SchemaLockTimeoutError
from fine_tuning_store.schema.revisions import SCHEMA_NUMBER, revision_id
from tests.support.databases import Database
from tests.support.factories import created, stored
from tests.support.future_release import alembic, release_to_come, started

HEAD = revision_id(SCHEMA_NUMBER)
INDEX, CHECK = "ix_fine_tuning_jobs_trained_tokens", "ck_fine_tuning_jobs_seed"
JOBS = 200_000
#: Seconds. A migration may block a reader for one second; the rest allows for a busy machine.
LONGEST_WAIT = 2.5

MANY_JOBS = text(
    "INSERT INTO fine_tuning_jobs (id, organization_id, created_at, status, model, training_file, trained_tokens, seed) "
    "SELECT 'ftjob-' || n, 'org-' || n % 50, 1700000000 + n, 'succeeded', 'm', 'f', n, n FROM generate_series(1, :jobs) AS n"
)
STATE = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
VALIDATED = text("SELECT convalidated FROM pg_constraint WHERE conname = :name")
IN_LOCK_QUEUE = text(
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 'fine_tuning_jobs'::regclass"
)
TERMINATE_BUILD = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE INDEX%'"
)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The path of a future release, whose revisions add an index and a CHECK constraint and validate it."""
    return release_to_come(tmp_path)


@pytest.fixture(scope="session")
def large(database: Database) -> Iterator[str]:
    """The URL of a database at head with many jobs."""
    with database.empty() as url:
        with FineTuningStore.from_url(url) as store:
            store.schema.upgrade()
            with store.engine.begin() as connection:
                connection.execute(MANY_JOBS, {"jobs": JOBS})
        yield url


@pytest.fixture
def engine(large: str) -> Iterator[Engine]:
    """Another engine for the large database, in autocommit mode."""
    engine = create_engine(large, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met within a minute"
        time.sleep(0.01)


@contextmanager
def active_users(url: str) -> Iterator[dict[str, float]]:
    """Read and write in two threads during the block. Afterwards, the yielded dict has the longest duration of each operation."""
    longest: dict[str, float] = {}
    failures: list[BaseException] = []
    done = threading.Event()

    def work(name: str, step: Callable[[FineTuningStore], object]) -> None:
        worst = 0.0
        try:
            with FineTuningStore.from_url(url) as store:
                while not done.is_set():
                    start = time.monotonic()
                    step(store)
                    worst = max(worst, time.monotonic() - start)
        except BaseException as error:  # noqa: BLE001 - asserted below
            failures.append(error)
        longest[name] = worst

    def read(store: FineTuningStore) -> object:
        return store.jobs.list(limit=20)

    def write(store: FineTuningStore) -> object:
        return store.jobs.start(created(store, seed=1).id)

    threads = [threading.Thread(target=work, args=arguments) for arguments in (("reader", read), ("writer", write))]
    for thread in threads:
        thread.start()
    try:
        yield longest
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    logging.getLogger(__name__).info("longest waits: %s", longest)


@contextmanager
def open_transaction(url: str, statement: str) -> Iterator[Connection]:
    """Keep a transaction open that has executed a statement."""
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text(statement))
        yield connection
        connection.rollback()
    engine.dispose()


@on_postgresql
def test_an_index_is_built_while_jobs_are_read_and_written(large: str, engine: Engine, release: Path) -> None:
    with active_users(large) as longest:
        alembic(release, large, "upgrade", "fine_tuning_store_9001")
        with engine.connect() as connection:
            assert connection.scalar(STATE, {"name": INDEX}) is True
        alembic(release, large, "downgrade", HEAD)

    assert max(longest.values()) < LONGEST_WAIT, longest
    with engine.connect() as connection:
        assert connection.scalar(STATE, {"name": INDEX}) is None


@on_postgresql
def test_an_index_whose_build_was_killed_is_rebuilt(large: str, engine: Engine, release: Path) -> None:
    with engine.connect() as connection:

        def state() -> object:
            return connection.scalar(STATE, {"name": INDEX})

        with open_transaction(large, "UPDATE fine_tuning_jobs SET seed = 2 WHERE id = 'ftjob-1'"):
            builder = started(release, large, "upgrade", "fine_tuning_store_9001")
            until(lambda: state() is False)  # it waits for the open transaction
            builder.kill()
            builder.communicate()
            assert connection.scalars(TERMINATE_BUILD).all() == [True]  # otherwise the server finishes it
        until(lambda: connection.scalars(TERMINATE_BUILD).all() == [])
        assert state() is False

        with FineTuningStore.from_url(large) as store:
            assert store.schema.current() == HEAD
            created(store)
        alembic(release, large, "upgrade", "fine_tuning_store_9001")

        assert state() is True
        alembic(release, large, "downgrade", HEAD)


@on_postgresql
def test_an_index_waits_for_an_old_transaction_for_as_long_as_it_takes(large: str, engine: Engine, release: Path) -> None:
    with engine.connect() as connection:
        with (
            open_transaction(large, "UPDATE fine_tuning_jobs SET seed = 3 WHERE id = 'ftjob-2'") as old,
            active_users(large) as longest,
        ):
            builder = started(release, large, "upgrade", "fine_tuning_store_9001")
            until(lambda: connection.scalar(STATE, {"name": INDEX}) is False)
            wait = old.scalar(text("SELECT clock_timestamp()"))
            until(lambda: connection.scalar(text("SELECT clock_timestamp() > CAST(:at AS timestamptz) + interval '2 s'"), {"at": wait}))
            assert builder.poll() is None
        _, errors = builder.communicate(timeout=60)

        assert builder.returncode == 0, errors
        assert connection.scalar(STATE, {"name": INDEX}) is True
        assert max(longest.values()) < LONGEST_WAIT, longest
    alembic(release, large, "downgrade", HEAD)


@on_postgresql
def test_a_check_is_added_and_validated_while_jobs_are_read_and_written(large: str, engine: Engine, release: Path) -> None:
    alembic(release, large, "upgrade", "fine_tuning_store_9001")
    with active_users(large) as longest, engine.connect() as connection:
        alembic(release, large, "upgrade", "fine_tuning_store_9002")
        assert connection.scalar(VALIDATED, {"name": CHECK}) is False
        alembic(release, large, "upgrade", "fine_tuning_store_9003")
        assert connection.scalar(VALIDATED, {"name": CHECK}) is True
        alembic(release, large, "downgrade", HEAD)
        assert connection.scalar(VALIDATED, {"name": CHECK}) is None

    assert max(longest.values()) < LONGEST_WAIT, longest


@on_postgresql
def test_no_user_waits_long_for_a_migration_that_waits_for_a_table(large: str, engine: Engine, release: Path) -> None:
    alembic(release, large, "upgrade", "fine_tuning_store_9001")
    with engine.connect() as connection:

        def is_queued() -> bool:
            return bool(connection.scalar(IN_LOCK_QUEUE))

        with active_users(large) as longest:
            with open_transaction(large, "SELECT 1 FROM fine_tuning_jobs LIMIT 1"):
                migration = started(release, large, "upgrade", "fine_tuning_store_9002")
                for _ in range(2):
                    until(is_queued)
                    until(lambda: not is_queued())  # it gave up its place in the lock queue
            _, errors = migration.communicate(timeout=60)

        assert migration.returncode == 0, errors
        assert connection.scalar(VALIDATED, {"name": CHECK}) is False
    assert max(longest.values()) < LONGEST_WAIT, longest
    alembic(release, large, "downgrade", HEAD)


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True, scope="session")
def test_a_table_that_is_in_use_for_too_long_ends_the_upgrade_and_blocks_no_reader_for_long(database: Database) -> None:
    with database.empty() as url, FineTuningStore.from_url(url) as store:
        store.schema.upgrade("fine_tuning_store_0001")
        with open_transaction(url, "SELECT 1 FROM fine_tuning_jobs"), ThreadPoolExecutor() as threads:
            upgrade = threads.submit(store.schema.upgrade, lock_timeout=3)
            longest = 0.0
            while not upgrade.done():
                start = time.monotonic()
                with store.engine.connect() as connection:
                    connection.execute(text("SELECT count(*) FROM fine_tuning_jobs"))
                longest = max(longest, time.monotonic() - start)
            with pytest.raises(SchemaLockTimeoutError):
                upgrade.result()
            assert longest < LONGEST_WAIT
            assert store.schema.current() == "fine_tuning_store_0001"
            assert not inspect(store.engine).has_table("fine_tuning_job_events")
        store.schema.upgrade()
        assert store.schema.check() == ()


@on_postgresql
def test_the_connections_own_lock_timeout_is_restored(database: Database, release: Path) -> None:
    with database.empty() as url:
        given = make_url(url).update_query_dict({"options": "-c lock_timeout=7s"})
        engine = create_engine(given, pool_size=1, max_overflow=0)
        with engine.connect() as connection:
            config = Config()
            config.set_main_option("script_location", str(release / "migrations"))
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            for migrate, revision in ((command.upgrade, "head"), (command.downgrade, "base")):
                migrate(config, revision)
                assert connection.scalar(text("SHOW lock_timeout")) == "7s"
                connection.rollback()
        engine.dispose()


def test_revisions_for_large_tables_go_up_and_down_on_every_database(empty_url: str, release: Path) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        job = stored(store, seed=1, metadata={"team": "nlp"})
        for _ in range(2):
            alembic(release, empty_url, "upgrade", "head")
            found = inspect(store.engine)
            assert INDEX in {index["name"] for index in found.get_indexes("fine_tuning_jobs")}
            assert CHECK in {check["name"] for check in found.get_check_constraints("fine_tuning_jobs")}
            assert store.jobs.get(job.id) == job
            alembic(release, empty_url, "downgrade", HEAD)
            assert store.schema.check() == ()
            assert store.jobs.get(job.id) == job

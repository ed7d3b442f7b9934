"""Regression tests for the findings of a hostile review: each attempt must be refused or give the right result."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from sqlalchemy import create_engine, event, inspect, text

from fine_tuning_store import (
    EngineConfigurationError,
    FineTuningJobRepository,
    FineTuningStore,
    Hyperparameters,
    InvalidValueError,
    JobAlreadyExistsError,
    JobError,
    Method,
    SchemaConflictError,
)
from fine_tuning_store.schema import migrations_path
from tests.contract.test_units import retryable_error
from tests.support.databases import Database
from tests.support.factories import a_job, stored

HOST_ENV = """
from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
"""


def host_alembic(folder: Path, connection: Any) -> Config:
    """Return the Alembic configuration of a host, with the store's revisions in its version_locations."""
    folder.mkdir(exist_ok=True)
    (folder / "env.py").write_text(HOST_ENV)
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", str(migrations_path() / "versions"))
    config.attributes["connection"] = connection
    return config


def test_a_hosts_alembic_neither_adopts_nor_drops_a_foreign_table_named_like_the_stores(database: Database, tmp_path: Path) -> None:
    from alembic import command

    with database.empty() as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE fine_tuning_jobs (id INTEGER, other INTEGER)"))
            connection.execute(text("INSERT INTO fine_tuning_jobs VALUES (1, 2)"))
        with engine.connect() as connection, pytest.raises(RuntimeError, match="fine_tuning_jobs"):
            command.upgrade(host_alembic(tmp_path / "host", connection), "heads")
        with engine.connect() as connection:
            assert connection.execute(text("SELECT * FROM fine_tuning_jobs")).all() == [(1, 2)]
        engine.dispose()


def test_migrating_again_with_a_hosts_alembic_does_not_lower_the_compatibility(database: Database, tmp_path: Path) -> None:
    from alembic import command

    with database.empty() as url, FineTuningStore.from_url(url) as store:
        engine = create_engine(url)
        with engine.connect() as connection:
            command.upgrade(host_alembic(tmp_path / "host", connection), "heads")
        assert store.schema.check() == ()
        job = stored(store)
        with engine.connect() as connection:
            row = connection.execute(text("SELECT schema_number, oldest_code_number FROM fine_tuning_store_compatibility")).one()
            connection.rollback()  # inside a transaction, PostgreSQL could not drop and create indexes concurrently
            command.downgrade(host_alembic(tmp_path / "host", connection), "fine_tuning_store_0001")
            command.upgrade(host_alembic(tmp_path / "host", connection), "heads")
            again = connection.execute(text("SELECT schema_number, oldest_code_number FROM fine_tuning_store_compatibility")).one()
        assert again == row
        assert store.jobs.get(job.id) == job
        engine.dispose()


def test_an_interrupted_downgrade_is_reported_by_upgrade(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        with store.engine.begin() as connection:
            connection.execute(text("DROP VIEW fine_tuning_job_overview"))
            for name in ("metadata", "result_files", "hyperparameters", "errors"):
                connection.execute(text(f"DROP TABLE fine_tuning_job_{name}"))
            connection.execute(text("DROP TABLE fine_tuning_store_compatibility"))

        with pytest.raises(SchemaConflictError, match="a downgrade to 'base'"):
            store.schema.upgrade()


def test_a_retry_sees_all_items_of_an_iterator(store: FineTuningStore) -> None:
    job = stored(store, status="running")
    failures: list[int] = []

    def fail_once(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT /* fine_tuning_store.insert_fine_tuning_job_result_files */") and not failures:
            failures.append(1)
            raise retryable_error()

    event.listen(store._transactions.engine, "before_cursor_execute", fail_once)

    done = store.jobs.succeed(job.id, fine_tuned_model="m", result_files=(f"file-{number}" for number in range(3)))

    event.remove(store._transactions.engine, "before_cursor_execute", fail_once)
    assert failures
    assert done.result_files == ("file-0", "file-1", "file-2")


def test_a_refused_import_writes_nothing_in_a_hosts_transaction_even_in_several_statements(url: str, store: FineTuningStore) -> None:
    stored(store, id="z-05")
    engine = create_engine(url, insertmanyvalues_page_size=2)

    with engine.begin() as connection, pytest.raises(JobAlreadyExistsError, match="z-05"):
        FineTuningJobRepository(connection).add_many(a_job(id=f"z-0{number}") for number in range(1, 8))
    engine.dispose()

    assert [job.id for job in store.jobs.iterate()] == ["z-05"]


def test_an_engine_that_commits_each_statement_is_refused(url: str, database: Database) -> None:
    if database.name == "sqlite":  # the store sends BEGIN IMMEDIATE itself
        return
    engine = create_engine(url, isolation_level="AUTOCOMMIT")

    with pytest.raises(EngineConfigurationError, match="AUTOCOMMIT"):
        FineTuningStore(engine).jobs.list()
    engine.dispose()


def test_an_update_that_waited_for_a_failure_returns_the_whole_failed_job(store: FineTuningStore, url: str, database: Database) -> None:
    job = stored(store, status="running")
    results = []
    with store.begin() as unit:
        unit.jobs.fail(job.id, JobError(code="broken"))

        def wait() -> None:
            with FineTuningStore.from_url(url) as other:
                results.append(other.jobs.update(job.id, metadata={"late": "yes"}))

        waiter = threading.Thread(target=wait)
        waiter.start()
        waiter.join(0.5)  # long enough for it to wait for the row; if not, the test passes without testing the wait
    waiter.join()

    assert results == [store.jobs.get(job.id)]
    assert results[0].error == JobError(code="broken")


def test_a_start_replaces_a_hyperparameter_that_an_import_kept_in_extra(store: FineTuningStore) -> None:
    job = stored(store, status="queued", hyperparameters=Hyperparameters(extra={"n_epochs": 2.5, "warmup": 1}))

    started = store.jobs.start(job.id, hyperparameters=Hyperparameters(n_epochs=3, extra={"schedule": "cosine"}))

    assert started.hyperparameters == Hyperparameters(n_epochs=3, extra={"warmup": 1, "schedule": "cosine"})
    assert store.jobs.add(replace(started, id="ftjob-again")).hyperparameters == started.hyperparameters


def test_a_start_refuses_a_hyperparameter_of_another_method(store: FineTuningStore) -> None:
    job = stored(store, status="queued", method=Method())

    with pytest.raises(InvalidValueError, match=r"hyperparameters\.beta"):
        store.jobs.start(job.id, hyperparameters=Hyperparameters(beta=0.1))

    assert store.jobs.get(job.id) == job


def test_a_repository_cannot_be_made_of_a_unit_or_for_an_empty_organization(store: FineTuningStore) -> None:
    with store.begin() as unit, pytest.raises(TypeError):
        FineTuningJobRepository(unit, organization_id="org-1")  # type: ignore[arg-type]
    with store.begin() as unit, pytest.raises(InvalidValueError, match="organization_id"):
        FineTuningJobRepository(unit.connection, organization_id="")


def test_a_hosts_begin_listener_is_called_for_reads_too(url: str, store: FineTuningStore) -> None:
    engine = create_engine(url)
    begins: list[int] = []
    event.listen(engine, "begin", lambda _: begins.append(1))
    job = stored(store)

    FineTuningStore(engine).jobs.get(job.id)

    assert begins
    engine.dispose()


def test_blocks_of_two_stores_may_end_out_of_order(tmp_path: Path) -> None:
    stores = [FineTuningStore.from_url(f"sqlite:///{tmp_path}/{name}.db") for name in "ab"]
    for store in stores:
        store.schema.upgrade()
    first, second = (store.begin() for store in stores)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)

    for store in stores:
        assert store.jobs.list().data == ()
        store.close()


def test_a_migration_restores_the_hosts_lock_timeout(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/jobs.db", connect_args={"timeout": 3}, pool_size=1)

    FineTuningStore(engine).schema.upgrade()

    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 3000
        assert inspect(connection).has_table("fine_tuning_jobs")
    engine.dispose()


def test_secrets_are_not_shown(sqlite_store: FineTuningStore) -> None:
    with pytest.raises(InvalidValueError) as caught:
        sqlite_store.jobs.create(
            organization_id="o",
            model="m",
            training_file="f",
            integrations={"type": "wandb", "wandb": {"project": "p", "api_key": "SECRET"}},  # type: ignore[arg-type]
        )

    assert "SECRET" not in f"{caught.value} {vars(caught.value)}"
    assert "SECRET" not in repr(FineTuningStore.from_url("postgresql://127.0.0.1/db?user=u&password=SECRET"))


@pytest.mark.parametrize("revision", [None, 5, ""])
def test_a_revision_that_is_not_a_string_is_refused(sqlite_store: FineTuningStore, revision: Any) -> None:
    with pytest.raises(InvalidValueError, match="revision"):
        sqlite_store.schema.upgrade(revision)


def test_a_lock_timeout_that_is_not_a_number_of_seconds_is_refused(sqlite_store: FineTuningStore) -> None:
    for seconds in ("x", None, -1, True):
        with pytest.raises(InvalidValueError, match="lock_timeout"):
            sqlite_store.schema.downgrade("base", lock_timeout=seconds)  # type: ignore[arg-type]

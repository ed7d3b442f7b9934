"""A downgrade never deletes jobs unintentionally, however it is run and whatever runs at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import Connection, text

from fine_tuning_store import FineTuningStore, InvalidValueError, SchemaConflictError, SchemaStatus
from fine_tuning_store.schema import SCHEMA_NUMBER, manager
from fine_tuning_store.sql.waiting import poll
from tests.support.databases import Database
from tests.support.factories import created
from tests.support.programs import ROOT, alembic
from tests.system.test_storms import JOB

FIRST = "fine_tuning_store_0001"

#: Counts sessions that wait for a lock in this database.
WAITING = {
    "postgresql": (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database WHERE NOT granted AND datname = current_database()"
    ),
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND info LIKE 'SELECT fine_tuning_jobs.id%'",
}


def is_waiting(connection: Connection) -> bool:
    waits = bool(connection.scalar(text(WAITING[connection.dialect.name])))
    connection.rollback()
    return waits


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("target", ["base", FIRST])
def test_a_downgrade_waits_for_a_job_that_is_being_stored_and_keeps_it(empty_url: str, database: Database, target: str) -> None:
    with FineTuningStore.from_url(empty_url) as store, ThreadPoolExecutor() as threads:
        store.schema.upgrade()
        with store.engine.connect() as connection, store.engine.connect() as watching:
            connection.execute(JOB)
            downgrade = threads.submit(store.schema.downgrade, target)
            assert poll(lambda: is_waiting(watching), 30, is_async=False)
            connection.commit()

            with pytest.raises(SchemaConflictError, match="jobs are stored"):
                downgrade.result()

        assert store.schema.check() == ()
        assert store.jobs.get("ftjob-old").status == "running"


BY_A_CONFIG = "from alembic import command; from alembic.config import Config; command.downgrade(Config('alembic.ini'), 'base')"


def by_a_config(url: str) -> None:
    environment = {**os.environ, "FINE_TUNING_STORE_URL": url}
    done = subprocess.run([sys.executable, "-c", BY_A_CONFIG], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SchemaConflictError(done.stderr)


def by_the_command(*arguments: str) -> Callable[[str], None]:
    def downgrade(url: str) -> None:
        done = alembic("-x", f"url={url}", *arguments, "downgrade", "base")
        if done.returncode:
            raise SchemaConflictError(done.stderr)

    return downgrade


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("downgrade", "refusal"),
    [
        (by_a_config, "jobs are stored"),
        (by_the_command(), "jobs are stored"),
        (by_the_command("-x", "allow_data_loss=false"), "jobs are stored"),
        (by_the_command("-x", "allow_data_loss=perhaps"), "must be true or false"),
    ],
)
def test_alembic_refuses_as_the_store_does(empty_url: str, downgrade: Callable[[str], None], refusal: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        job = created(store)

        with pytest.raises(SchemaConflictError, match=refusal):
            downgrade(empty_url)

        assert store.jobs.get(job.id) == job
        by_the_command("-x", "allow_data_loss=true")(empty_url)
        assert store.schema.state().status is SchemaStatus.EMPTY


def test_an_invalid_target_is_refused_before_any_job_is_counted(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        created(store)

        with pytest.raises(InvalidValueError, match="must be head, base"):
            store.schema.downgrade("nonsense")


@pytest.mark.parametrize("call", ["upgrade", "adopt"])
def test_a_downgrade_that_was_interrupted_before_it_changed_a_table_is_undone(empty_url: str, call: str) -> None:
    """Simulate a downgrade on MariaDB by a role that may not drop tables. No data is lost."""
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        job = created(store)
        store.events.append(job.id, "hello")
        with store.engine.begin() as connection:
            connection.execute(text(f"UPDATE fine_tuning_store_compatibility SET schema_number = {SCHEMA_NUMBER - 1}"))
        assert store.schema.state().command == "fine-tuning-store db adopt"

        getattr(store.schema, call)()

        assert store.schema.state().status is SchemaStatus.CURRENT
        assert [event.message for event in store.events.list(job.id)] == ["hello"]


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_an_upgrade_that_undoes_a_downgrade_reaches_the_head_even_if_an_older_revision_makes_the_same_tables(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest revision is taken for one that only changed data. On SQLite a downgrade is one transaction, which cannot end half-way."""
    monkeypatch.setattr(manager, "equal_number", lambda *_: SCHEMA_NUMBER - 1)
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        with store.engine.begin() as connection:
            connection.execute(text("UPDATE fine_tuning_store_compatibility SET schema_number = 1"))

        store.schema.upgrade()

        assert store.schema.state().status is SchemaStatus.CURRENT


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_an_upgrade_waits_for_a_blocked_downgrade_and_then_upgrades(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store, FineTuningStore.from_url(empty_url) as other, ThreadPoolExecutor() as threads:
        store.schema.upgrade()
        with store.engine.connect() as connection:
            connection.execute(text("SELECT count(*) FROM fine_tuning_checkpoint_permissions"))
            downgrade = threads.submit(store.schema.downgrade, FIRST)
            assert poll(lambda: other.schema.state().schema_number == 1, 30, is_async=False)
            upgrade = threads.submit(other.schema.upgrade)
            wait([downgrade, upgrade], timeout=0.5)
            assert not upgrade.done()
        downgrade.result()
        upgrade.result()

        assert store.schema.state().status is SchemaStatus.CURRENT

"""Migrating the store inside the commands of an application's Alembic: in its env.py it works, in a transaction it is refused at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, event, inspect, text

from fine_tuning_store import FineTuningStore, SchemaConflictError, SchemaVersionError
from fine_tuning_store.cli import main
from fine_tuning_store.schema import SchemaStatus
from fine_tuning_store.schema.revisions import SCHEMA_NUMBER, revision_id
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE
from tests.support.databases import Database, host_url, with_driver
from tests.support.factories import created

HEAD = revision_id(SCHEMA_NUMBER)
STORE_TABLES = {*METADATA.tables, VERSION_TABLE}

#: The application's env.py. It calls what the test gives to it at each place where an application could migrate the store.
ENV = """
from alembic import context
from sqlalchemy import MetaData, NullPool, create_engine

from fine_tuning_store.schema import exclude_store_tables

places = context.config.attributes
url = places["url"]
places.get("env", bool)()
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=MetaData(), include_name=exclude_store_tables)
        places.get("connected", bool)()
        with context.begin_transaction():
            places.get("transaction", bool)()
            context.run_migrations()
"""

ASYNC_ENV = """
import asyncio

from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

from fine_tuning_store import AsyncFineTuningStore

url = context.config.attributes["url"]


def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    async with AsyncFineTuningStore.from_url(url) as store:
        await store.schema.upgrade()
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(main())
"""

REVISION = """
import sqlalchemy as sa
from alembic import context, op

revision, down_revision = "0001", None


def upgrade():
    op.create_table("accounts", sa.Column("id", sa.Integer(), primary_key=True))
    context.config.attributes.get("revision", bool)()


def downgrade():
    context.config.attributes.get("revision", bool)()
    op.drop_table("accounts")
"""


@pytest.fixture
def application(tmp_path: Path, empty_url: str) -> Config:
    """The configuration of an application with one revision."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "0001.py").write_text(REVISION)
    (tmp_path / "env.py").write_text(ENV)
    (tmp_path / "script.py.mako").write_text("${upgrades if upgrades else 'pass'}")
    config = Config(attributes={"url": empty_url})
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    return config


@pytest.fixture
def store(empty_url: str) -> Iterator[FineTuningStore]:
    with FineTuningStore.from_url(empty_url) as store:
        yield store


def tables(store: FineTuningStore) -> set[str]:
    return set(inspect(store.engine).get_table_names())


@pytest.mark.parametrize("place", ["env", "connected"])
def test_an_env_py_may_upgrade_the_store_first(application: Config, store: FineTuningStore, place: str) -> None:
    application.attributes[place] = store.schema.upgrade

    for _ in range(2):  # a first deployment, and the next
        command.upgrade(application, "head")
        assert tables(store) == {*STORE_TABLES, "accounts", "alembic_version"}
        assert store.schema.state().status is SchemaStatus.CURRENT
    created(store)
    command.current(application)
    command.stamp(application, "base")
    command.stamp(application, "head")
    command.downgrade(application, "base")
    assert tables(store) == {*STORE_TABLES, "alembic_version"}


def test_alembic_check_upgrades_and_compares(application: Config, store: FineTuningStore) -> None:
    application.attributes["env"] = store.schema.upgrade
    command.upgrade(application, "head")
    with store.engine.begin() as connection:
        connection.execute(text("DROP TABLE accounts"))  # the application's models, which the test leaves out, have no tables

    command.check(application)


def test_every_method_of_the_schema_works_in_an_env_py(application: Config, store: FineTuningStore) -> None:
    def work() -> None:
        store.schema.upgrade("fine_tuning_store_0002")
        store.schema.downgrade("base")
        assert store.schema.state().status is SchemaStatus.EMPTY
        store.schema.upgrade()
        with store.engine.begin() as connection:
            connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
        store.schema.adopt()
        store.schema.upgrade()
        store.schema.require_usable()
        assert (store.schema.check(), store.schema.current()) == ((), HEAD)
        assert "fine_tuning_job_transitions" in store.schema.sql()

    application.attributes["env"] = work
    command.upgrade(application, "head")

    assert tables(store) == {*STORE_TABLES, "accounts", "alembic_version"}


def test_the_command_line_works_in_an_env_py(application: Config, store: FineTuningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def upgrade() -> None:
        monkeypatch.setattr("sys.argv", ["fine-tuning-store", "db", "upgrade", "--url", application.attributes["url"]])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code in (None, 0)

    application.attributes["env"] = upgrade
    command.upgrade(application, "head")

    assert tables(store) == {*STORE_TABLES, "accounts", "alembic_version"}


@pytest.mark.async_drivers
def test_an_async_env_py_may_upgrade_the_store_first(application: Config, store: FineTuningStore, empty_url: str, driver: str) -> None:
    (Path(application.get_main_option("script_location") or "") / "env.py").write_text(ASYNC_ENV)
    application.attributes["url"] = host_url(with_driver(empty_url, driver)).render_as_string(hide_password=False)

    for _ in range(2):
        command.upgrade(application, "head")
        assert tables(store) == {*STORE_TABLES, "accounts", "alembic_version"}
        assert store.schema.state().status is SchemaStatus.CURRENT


def refuses_to_migrate(application: Config, store: FineTuningStore, place: str) -> None:
    """Assert that nothing migrates the store at a place of the application's commands, and that the first deployment can be repeated."""
    for migrate in (store.schema.upgrade, lambda: store.schema.downgrade("base"), store.schema.adopt):
        application.attributes[place] = migrate
        with pytest.raises(SchemaConflictError, match=r"in env\.py, before context\.begin_transaction"):
            command.upgrade(application, "head")
        assert not tables(store) & STORE_TABLES
        with store.engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS accounts"))  # not every database undoes it

    application.attributes.pop(place)
    application.attributes["env"] = store.schema.upgrade
    command.upgrade(application, "head")
    assert tables(store) == {*STORE_TABLES, "accounts", "alembic_version"}


def test_a_revision_of_the_application_cannot_migrate_the_store(application: Config, store: FineTuningStore) -> None:
    refuses_to_migrate(application, store, "revision")

    application.attributes["revision"] = store.schema.upgrade  # also with nothing to do, so that a first deployment is no surprise
    with pytest.raises(SchemaConflictError, match="not in a revision"):
        command.downgrade(application, "base")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # on the others Alembic begins no transaction around the revisions
def test_the_transaction_around_the_revisions_cannot_migrate_the_store(application: Config, store: FineTuningStore) -> None:
    refuses_to_migrate(application, store, "transaction")


def test_a_revision_may_look_at_the_store(application: Config, store: FineTuningStore) -> None:
    store.schema.upgrade()
    seen: list[Any] = []

    def look() -> None:
        store.schema.require_usable()
        seen.extend([store.schema.state().status, store.schema.check(), store.schema.current(), store.schema.sql()[:2]])

    application.attributes["revision"] = look
    command.upgrade(application, "head")

    assert seen[:3] == [SchemaStatus.CURRENT, (), HEAD]


def test_a_script_of_the_application_does_not_change_the_database(
    application: Config, store: FineTuningStore, capsys: pytest.CaptureFixture[str]
) -> None:
    application.attributes["env"] = store.schema.upgrade
    with pytest.raises(SchemaConflictError, match=r"context\.is_offline_mode"):
        command.upgrade(application, "head", sql=True)
    assert tables(store) == set()

    scripts: list[str] = []
    application.attributes["env"] = lambda: scripts.append(store.schema.sql())
    command.upgrade(application, "head", sql=True)

    assert "fine_tuning_job_transitions" in scripts[0]
    written = capsys.readouterr().out
    assert "CREATE TABLE accounts" in written
    assert "fine_tuning" not in written
    assert tables(store) == set()
    with pytest.raises(SchemaVersionError):
        store.schema.require_usable()


def in_a_thread(work: Callable[[], object]) -> list[BaseException]:
    """Run work in a thread, and return the exception that ended it, if any."""
    failures: list[BaseException] = []

    def caught() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - returned
            failures.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    thread.join()
    return failures


def test_another_thread_may_migrate_while_an_env_py_runs(application: Config, store: FineTuningStore, database: Database) -> None:
    with database.empty() as other_url, FineTuningStore.from_url(other_url) as other:
        application.attributes["connected"] = lambda: in_a_thread(other.schema.upgrade)
        command.upgrade(application, "head")

        assert "accounts" in tables(store)
        assert tables(other) == STORE_TABLES

        application.attributes["revision"] = lambda: refused.extend(in_a_thread(other.schema.upgrade))
        refused: list[BaseException] = []
        command.downgrade(application, "base")
        assert [type(error) for error in refused] == [SchemaConflictError]


def test_one_store_is_migrated_in_the_middle_of_the_migration_of_another(database: Database) -> None:
    """Alembic's own module `op` would send the rest of the first migration to the second database, or nowhere."""
    with database.empty() as one, database.empty() as two:
        engine = create_engine(one)
        first, second = FineTuningStore(engine), FineTuningStore.from_url(two)
        failures: list[BaseException] = []
        seen: list[str] = []

        @event.listens_for(engine, "before_cursor_execute")
        def between(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if "CREATE TABLE" in statement and "fine_tuning_job_events" in statement and not seen:
                seen.append(statement)
                failures.extend(in_a_thread(second.schema.upgrade))

        first.schema.upgrade()

        assert (len(seen), failures) == (1, [])
        for store in (first, second):
            assert store.schema.state().status is SchemaStatus.CURRENT
            assert tables(store) == STORE_TABLES
        engine.dispose()
        second.close()

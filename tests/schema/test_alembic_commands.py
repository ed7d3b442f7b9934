"""Alembic's commands in a checkout: which of them take the migration lock, and which tables they leave."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable

import pytest
from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, inspect, text

from fine_tuning_store import FineTuningStore, SchemaConflictError
from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.revisions import SCHEMA_NUMBER, config, revision_id
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE
from tests.support.databases import Database

HEAD = revision_id(SCHEMA_NUMBER)

COMMANDS: dict[str, Callable[[Config], object]] = {
    "current": command.current,
    "current, verbose": lambda config: command.current(config, verbose=True),
    "history": lambda config: command.history(config, indicate_current=True),
    "check": command.check,
    "stamp": lambda config: command.stamp(config, "head"),
}


def printed(url: str, run: Callable[[Config], object]) -> str:
    """Run a command and return what it prints."""
    output = io.StringIO()
    alembic_config = config(url=url)
    alembic_config.stdout = output
    run(alembic_config)
    return output.getvalue()


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    found = set(inspect(engine).get_table_names())
    engine.dispose()
    return found


@pytest.mark.async_drivers
def test_a_command_inside_a_running_event_loop_refuses_an_async_url(async_url: str) -> None:
    """Alembic's functions are synchronous, and may be called there, for example by a web service that starts."""

    async def main() -> None:
        with pytest.raises(CommandError, match=r"await AsyncFineTuningStore\.schema\.upgrade"):
            command.upgrade(config(url=async_url), "head")
        await asyncio.to_thread(command.upgrade, config(url=async_url), "head")

    asyncio.run(main())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_migrates_nothing_does_not_wait_for_the_lock(database: Database, empty_url: str, name: str) -> None:
    if (database.name, name) == ("sqlite", "stamp"):
        return  # it writes, and on SQLite the migration lock excludes all writers
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        with store.engine.connect() as connection, support_for(connection.dialect).migration_lock(connection, 1):
            start = time.monotonic()
            output = printed(empty_url, COMMANDS[name])

    assert time.monotonic() - start < 5
    assert {"check": "No new upgrade operations", "stamp": ""}.get(name, HEAD) in output


def test_a_stamp_on_an_empty_database_is_kept(empty_url: str) -> None:
    printed(empty_url, lambda config: command.stamp(config, "head"))

    assert tables(empty_url) == {VERSION_TABLE}
    assert HEAD in printed(empty_url, command.current)
    printed(empty_url, lambda config: command.stamp(config, "base"))
    assert HEAD not in printed(empty_url, command.current)


def test_a_stamp_is_refused_among_tables_of_another_application(empty_url: str) -> None:
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE fine_tuning_jobs (id INTEGER)"))
    engine.dispose()

    with pytest.raises(Exception, match="another application"):
        printed(empty_url, lambda config: command.stamp(config, "head"))
    assert tables(empty_url) == {"fine_tuning_jobs"}


def test_reading_an_empty_database_creates_nothing(empty_url: str) -> None:
    for name in ("current", "history"):
        printed(empty_url, COMMANDS[name])
    with pytest.raises(CommandError, match="not up to date"):
        printed(empty_url, command.check)

    assert tables(empty_url) == set()


def test_migrations_by_alembics_commands_leave_the_tables_and_nothing_else(empty_url: str) -> None:
    printed(empty_url, lambda config: command.upgrade(config, "head"))
    assert tables(empty_url) == {*METADATA.tables, VERSION_TABLE}
    printed(empty_url, lambda config: command.downgrade(config, "base"))
    assert tables(empty_url) == set()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_revision_runs_without_the_lock(empty_url: str) -> None:
    alembic_config = config(url=empty_url)
    scripts = ScriptDirectory.from_config(alembic_config)

    with (
        pytest.raises(CommandError, match="without the migration lock"),
        EnvironmentContext(alembic_config, scripts, fn=lambda heads, _: scripts._upgrade_revs("head", heads)),
    ):
        scripts.run_env()

    assert tables(empty_url) <= {VERSION_TABLE}


def test_an_upgrade_of_tables_that_were_only_stamped_is_refused(empty_url: str) -> None:
    printed(empty_url, COMMANDS["stamp"])

    with pytest.raises(SchemaConflictError, match="the tables are missing: it was stamped"):
        printed(empty_url, lambda config: command.upgrade(config, "head"))


def test_a_stamp_of_older_tables_is_found_by_the_next_upgrade(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade(revision_id(1))
    printed(empty_url, COMMANDS["stamp"])

    with pytest.raises(SchemaConflictError, match=f"the tables are those of {revision_id(1)}"):
        printed(empty_url, lambda config: command.upgrade(config, "head"))


def test_a_stamp_with_an_error_changes_nothing(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()

        with pytest.raises(CommandError, match="nonsense"):
            printed(empty_url, lambda config: command.stamp(config, "nonsense", purge=True))

        assert store.schema.current() == HEAD


def test_a_version_table_without_tables_is_not_created(empty_url: str) -> None:
    with pytest.raises(CommandError, match="use upgrade"):
        printed(empty_url, command.ensure_version)

    assert tables(empty_url) == set()

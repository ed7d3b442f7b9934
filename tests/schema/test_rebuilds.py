"""SQLite rebuilds a table by dropping the old one: this must not delete child rows, however the migration is run."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.util import load_python_file
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from fine_tuning_store import FineTuningStore, InvalidValueError, SchemaConflictError
from fine_tuning_store.schema import foreign_keys_off, migrations_path
from tests.support.databases import Database
from tests.support.factories import created
from tests.support.future_release import REVISIONS

REBUILDING = Path(__file__).parents[1] / "fixtures" / "rebuilding"
CHILDREN = ("fine_tuning_job_hyperparameters", "fine_tuning_job_metadata", "fine_tuning_job_events")


def config(script_location: Path, connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(script_location))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{REBUILDING / 'versions'}\n{migrations_path() / 'versions'}")
    config.attributes["connection"] = connection
    return config


def plain(engine: Engine) -> None:
    """Keep the default of pysqlite: transactions begin only before INSERT, UPDATE and DELETE."""


def strict(engine: Engine) -> None:
    """Begin every transaction with BEGIN, as SQLAlchemy's documentation recommends."""

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")


@pytest.fixture(params=[plain, strict], ids=["plain", "strict"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An application's engine with foreign keys on. Its database, in the application's history, has a job with child rows."""
    engine = create_engine(f"sqlite:///{tmp_path}/jobs.db")

    @event.listens_for(engine, "connect")
    def connected(dbapi_connection: object, _: object) -> None:
        if request.param is strict:
            dbapi_connection.isolation_level = None  # type: ignore[attr-defined]
        dbapi_connection.execute("PRAGMA foreign_keys=ON")  # type: ignore[attr-defined]

    request.param(engine)
    with engine.connect() as connection:
        command.upgrade(config(REBUILDING, connection), "fine_tuning_store@head")
    store = FineTuningStore(engine, host_version_table="alembic_version")
    store.jobs.start(created(store, metadata={"team": "nlp"}).id, message="started")
    yield engine
    engine.dispose()


def rows(engine: Engine) -> dict[str, int]:
    """Return the number of rows of each table, and assert that foreign keys are on."""
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        return {table: connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in ("fine_tuning_jobs", *CHILDREN)}


ALL_ROWS = dict.fromkeys(("fine_tuning_jobs", *CHILDREN), 1)


def suffix_type(engine: Engine) -> str:
    with engine.connect() as connection:
        sql: str = connection.scalars(text("SELECT sql FROM sqlite_master WHERE name = 'fine_tuning_jobs'")).one()
    found = re.search(r"suffix (VARCHAR\(\d+\))", sql)
    assert found
    return found[1]


def test_a_rebuild_with_foreign_keys_on_refuses_to_run_and_no_row_is_lost(engine: Engine) -> None:
    with engine.connect() as connection:
        with pytest.raises(RuntimeError, match=r"fine_tuning_store\.schema\.foreign_keys_off"):
            command.upgrade(config(REBUILDING, connection), "rebuilding_0001")

    assert rows(engine) == ALL_ROWS
    assert suffix_type(engine) == "VARCHAR(512)"


def test_the_exported_block_lets_an_applications_env_rebuild_and_keep_every_child(engine: Engine) -> None:
    for migrate, target, expected in (
        (command.upgrade, "rebuilding_0001", "VARCHAR(600)"),
        (command.downgrade, "rebuilding@base", "VARCHAR(512)"),
    ):
        with engine.connect() as connection, foreign_keys_off(connection):
            migrate(config(REBUILDING, connection), target)
        assert rows(engine) == ALL_ROWS
        assert suffix_type(engine) == expected


def test_a_commit_that_would_leave_children_without_their_parent_is_refused_and_rolled_back(engine: Engine) -> None:
    with engine.connect() as connection:
        with (
            pytest.raises(SchemaConflictError, match="1 of fine_tuning_job_events without their fine_tuning_jobs"),
            foreign_keys_off(connection),
        ):
            command.upgrade(config(REBUILDING, connection), "rebuilding_0002")

    assert rows(engine) == ALL_ROWS


def test_rows_that_had_no_parent_before_do_not_prevent_a_migration(engine: Engine) -> None:
    connection_without_keys = sqlite3.connect(engine.url.database or "")  # foreign keys are off by default
    connection_without_keys.execute("INSERT INTO fine_tuning_job_errors (job_id) VALUES ('deleted')")
    connection_without_keys.commit()
    connection_without_keys.close()
    with engine.connect() as connection, foreign_keys_off(connection):
        command.upgrade(config(REBUILDING, connection), "rebuilding_0001")

    assert suffix_type(engine) == "VARCHAR(600)"


def test_the_stores_env_rebuilds_and_keeps_every_child_and_rolls_back_a_mistake(tmp_path: Path) -> None:
    with FineTuningStore.from_url(f"sqlite:///{tmp_path}/jobs.db") as store:
        store.schema.upgrade()
        store.jobs.start(created(store, metadata={"team": "nlp"}).id, message="started")
        with store._transactions.engine.connect() as connection:
            command.upgrade(config(migrations_path(), connection), "rebuilding_0001")
        assert rows(store.engine) == ALL_ROWS
        assert suffix_type(store.engine) == "VARCHAR(600)"
        with store._transactions.engine.connect() as connection, pytest.raises(SchemaConflictError, match="without their fine_tuning_jobs"):
            command.upgrade(config(migrations_path(), connection), "rebuilding_0002")
        assert rows(store.engine) == ALL_ROWS


def test_foreign_keys_cannot_be_turned_off_inside_a_transaction(engine: Engine) -> None:
    with engine.begin() as connection, pytest.raises(InvalidValueError, match="must not have begun a transaction"):
        with foreign_keys_off(connection):
            pass


def test_the_block_has_no_effect_if_no_table_is_rebuilt(database: Database) -> None:
    with database.empty() as url:
        engine = create_engine(url)  # on SQLite, foreign keys are off by default
        with engine.begin() as connection, foreign_keys_off(connection):
            connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
        with engine.connect() as connection:
            assert connection.execute(text("SELECT * FROM theirs")).all() == []
        engine.dispose()


#: Views and a trigger of an application that mention the table of jobs.
THEIRS = (
    "CREATE VIEW their_suffixes AS SELECT id, suffix FROM fine_tuning_jobs",
    "CREATE VIEW their_overview AS SELECT created_at, suffix FROM fine_tuning_job_overview",
    "CREATE VIEW their_long_suffixes AS SELECT suffix FROM their_suffixes WHERE length(suffix) > 6",
    "CREATE TABLE their_requests (suffix TEXT)",
    "CREATE TRIGGER their_changes AFTER INSERT ON their_requests BEGIN UPDATE fine_tuning_jobs SET suffix = NEW.suffix; END",
)


def assert_theirs_work(engine: Engine, suffix: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO their_requests VALUES (:suffix)"), {"suffix": suffix})
        assert connection.scalars(text("SELECT suffix FROM their_overview WHERE created_at > '2020'")).all() == [suffix]
        assert connection.scalars(text("SELECT suffix FROM their_long_suffixes")).all() == [suffix]
        assert connection.scalar(text("PRAGMA legacy_alter_table")) == 0


def test_views_and_triggers_that_mention_the_table_work_after_a_rebuild_and_after_its_downgrade(engine: Engine) -> None:
    with engine.begin() as connection:
        for statement in THEIRS:
            connection.execute(text(statement))
    assert_theirs_work(engine, "original")

    with engine.connect() as connection, foreign_keys_off(connection):
        command.upgrade(config(REBUILDING, connection), "rebuilding_0001")
    assert_theirs_work(engine, "rebuilt")
    with engine.connect() as connection, foreign_keys_off(connection):
        command.downgrade(config(REBUILDING, connection), "rebuilding@base")
    assert_theirs_work(engine, "rebuilt again")

    assert rows(engine) == ALL_ROWS
    assert FineTuningStore(engine, host_version_table="alembic_version").schema.check() == ()


def test_a_rebuild_that_fails_leaves_the_connection_as_it_was(engine: Engine) -> None:
    operations = load_python_file(migrations_path(), "operations.py")
    with engine.connect() as connection, foreign_keys_off(connection):
        with Operations.context(MigrationContext.configure(connection)), pytest.raises(OperationalError, match="no such column"):
            with operations.rebuild_table("fine_tuning_jobs") as jobs:
                jobs.create_check_constraint("ck_theirs", "missing > 0")
        assert connection.scalar(text("PRAGMA legacy_alter_table")) == 0


@pytest.mark.parametrize(
    "folder", [migrations_path() / "versions", REBUILDING / "versions", REVISIONS], ids=["store", "rebuilding", "future"]
)
def test_a_rebuild_is_the_first_step_so_that_its_refusal_has_changed_nothing(folder: Path) -> None:
    harmless = {"get_context", "get_bind", "f", "wait_briefly"}
    for path in folder.glob("*.py"):
        for function in (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)):
            names = re.findall(r"\b(?:op|operations)\.(\w+)\(", ast.unparse(function))
            steps = [name for name in names if name not in harmless]
            assert "batch_alter_table" not in steps, f"{path}: rebuild by operations.rebuild_table"
            assert "rebuild_table" not in steps[1:], f"{path}: {function.name} may have changed something before its rebuild refuses"

"""Migrations: up, down, concurrently, from the command line, and never over the tables of another application."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from fine_tuning_store import FineTuningStore, InvalidValueError, SchemaConflictError, SchemaLockTimeoutError, SchemaVersionError
from fine_tuning_store.schema import SCHEMA_NUMBER, migrations_path
from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE
from tests.support.databases import ASYNC_DRIVERS, Database, with_driver
from tests.support.factories import created
from tests.support.programs import ROOT, alembic, alembic_process

HEAD = f"fine_tuning_store_{SCHEMA_NUMBER:04}"


def tables(store: FineTuningStore) -> set[str]:
    return set(inspect(store.engine).get_table_names())


def test_up_and_down_and_up_and_down_leave_nothing_behind(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        assert (store.schema.current(), store.schema.head()) == (None, HEAD)
        for _ in range(2):
            store.schema.upgrade()
            assert store.schema.current() == HEAD
            assert tables(store) == {*METADATA.tables, VERSION_TABLE}
            assert store.schema.check() == ()
            store.schema.require_usable()
            job = created(store)
            store.schema.upgrade()
            assert store.jobs.get(job.id) == job
            store.schema.downgrade("base", allow_data_loss=True)
            assert store.schema.current() is None
            assert tables(store) == set()


MARIADB_TYPE = text(
    "SELECT column_type, collation_name FROM information_schema.columns "
    "WHERE table_schema = database() AND table_name = :table AND column_name = :column"
)


def catalog(url: str) -> dict[str, object]:
    """Return everything that reflection finds about the store's tables: names, types, checks, keys, and indexes with their order."""
    engine = create_engine(url)
    inspector = inspect(engine)
    found: dict[str, object] = {}
    for name in METADATA.tables:
        for column in inspector.get_columns(name):
            type_: object = column["type"].compile(engine.dialect), getattr(column["type"], "collation", None)
            if engine.dialect.name == "mariadb":  # reflection omits a collation that is the default of the table
                with engine.connect() as connection:
                    type_ = connection.execute(MARIADB_TYPE, {"table": name, "column": column["name"]}).one()
            found[f"{name}.{column['name']}"] = type_, column["nullable"], column["default"]
        found[f"{name} checks"] = sorted((str(check["name"]), check["sqltext"]) for check in inspector.get_check_constraints(name))
        found[f"{name} primary key"] = inspector.get_pk_constraint(name)
        found[f"{name} foreign keys"] = inspector.get_foreign_keys(name)
        found[f"{name} indexes"] = sorted(map(_shown, inspector.get_indexes(name)))
    engine.dispose()
    return found


def _shown(index: Any) -> str:
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}  # the text of a condition, not the object
    return str({**index, "dialect_options": options})


def test_the_migrated_tables_are_those_of_the_code(database: Database) -> None:
    with database.empty() as migrated, database.empty() as made:
        with FineTuningStore.from_url(migrated) as store:
            store.schema.upgrade()
        engine = create_engine(made)
        METADATA.create_all(engine)
        engine.dispose()

        assert catalog(migrated) == catalog(made)


def migrate(wait: Callable[[], object], url: str) -> str | None:
    with FineTuningStore.from_url(url) as store:
        wait()
        store.schema.upgrade()
        created(store)
        return store.schema.current()


def test_threads_that_migrate_at_once_all_succeed(database: Database) -> None:
    import threading

    failures: list[BaseException] = []
    with database.empty() as one, database.empty() as other:

        def work(url: str) -> None:
            try:
                with FineTuningStore.from_url(url) as store:
                    store.schema.upgrade()
                    created(store)
            except BaseException as error:  # noqa: BLE001 - shown below
                failures.append(error)

        threads = [threading.Thread(target=work, args=(url,)) for url in (one, other) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert failures == []


def test_waiting_for_the_lock_ends_in_an_error_after_its_timeout(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store, FineTuningStore.from_url(empty_url) as other:
        lock = support_for(store.engine.dialect).migration_lock
        with store._transactions.engine.connect() as connection, lock(connection, 1):
            with pytest.raises(SchemaLockTimeoutError, match=r"0\.2 s"):
                other.schema.upgrade(lock_timeout=0.2)
        assert tables(other) == set()
        other.schema.upgrade()


@pytest.mark.parametrize("table", ["fine_tuning_jobs", "fine_tuning_job_metadata"])
def test_a_foreign_table_with_a_name_of_the_store_is_refused_and_nothing_is_changed(empty_url: str, table: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        with store.engine.begin() as connection:
            connection.execute(text(f"CREATE TABLE {table} (id INTEGER, theirs INTEGER)"))
            connection.execute(text(f"INSERT INTO {table} VALUES (1, 2)"))

        with pytest.raises(SchemaConflictError, match=table):
            store.schema.upgrade()
        with pytest.raises(SchemaVersionError):
            store.jobs.list()

        assert tables(store) == {table}
        with store.engine.connect() as connection:
            assert connection.execute(text(f"SELECT * FROM {table}")).all() == [(1, 2)]


def test_a_revision_that_this_release_does_not_know_is_refused(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        store.schema.upgrade()
        with store.engine.begin() as connection:
            connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = 'fine_tuning_store_9999'"))

        calls: list[Callable[[], object]] = [store.schema.upgrade, lambda: store.schema.downgrade("base")]
        for call in calls:
            with pytest.raises(SchemaConflictError, match="fine_tuning_store_9999"):
                call()


def test_an_unknown_target_is_refused_with_a_list_of_the_known_ones(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as store:
        for migrate in (store.schema.upgrade, store.schema.downgrade):
            with pytest.raises(InvalidValueError, match=HEAD):
                migrate("0042")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_command_line_migrates_with_the_url_of_a_sync_or_async_driver(database: Database, kind: str) -> None:
    with database.empty() as url:
        shown = url if kind == "sync" else with_driver(url, ASYNC_DRIVERS[database.name][0])

        up = alembic("-x", f"url={shown}", "upgrade", "head")
        assert up.returncode == 0, up.stderr
        with FineTuningStore.from_url(url) as store:
            assert store.schema.current() == HEAD
            created(store)
            refused = alembic_process("downgrade", "base", FINE_TUNING_STORE_URL=shown)
            assert refused.returncode != 0
            assert "-x allow_data_loss" in refused.stderr
            assert store.schema.check() == ()
            down = alembic("-x", "allow_data_loss", "downgrade", "base", FINE_TUNING_STORE_URL=shown)
            assert down.returncode == 0, down.stderr
            assert "Running downgrade fine_tuning_store_0001 -> " in down.stderr
            assert "Logging error" not in down.stderr
            assert tables(store) == set()


def test_the_command_line_uses_a_file_where_no_url_is_given(tmp_path: Path) -> None:
    up = alembic("-c", str(ROOT / "alembic.ini"), "upgrade", "head", cwd=tmp_path, FINE_TUNING_STORE_URL="")

    assert up.returncode == 0, up.stderr
    with FineTuningStore.from_url(f"sqlite:///{tmp_path}/fine_tuning.db") as store:
        store.schema.require_usable()


@pytest.mark.slow
@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_migration_that_was_interrupted_between_two_statements_is_finished_by_the_next(database: Database) -> None:
    """Execute a prefix of the statements, as a killed migration does on MariaDB, and complete it with the next migration.

    Elsewhere a migration is one transaction, which a kill rolls back.
    """
    statements = [
        statement
        for statement in alembic("upgrade", "head", "--sql", FINE_TUNING_STORE_URL="mariadb://").stdout.split(";\n")
        if re.search("CREATE|ALTER|INSERT|UPDATE|DELETE", statement)
    ]
    assert len(statements) > 15
    for count in (1, 2, 3, 7, 8, 12, *range(15, len(statements), 6), len(statements) - 2, len(statements) - 1):
        with database.empty() as url, FineTuningStore.from_url(url) as store:
            for statement in statements[:count]:
                with store.engine.begin() as connection:
                    connection.exec_driver_sql(re.sub(r"^--.*$", "", statement, flags=re.MULTILINE).replace("%", "%%"))

            store.schema.upgrade()

            assert store.schema.check() == ()
            created(store)


def test_a_copy_of_a_migrated_database_is_one(altered_url: str) -> None:
    """Test the fixture `altered_url`."""
    with FineTuningStore.from_url(altered_url) as store:
        assert (store.schema.check(), store.schema.current()) == ((), HEAD)
        created(store)


def test_the_revisions_form_one_chain_and_their_files_are_numbered() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    config.set_main_option("path_separator", "os")
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]

    assert [script.revision for script in scripts] == [f"fine_tuning_store_{number:04}" for number in range(1, len(scripts) + 1)]
    assert [Path(script.path).name[:5] for script in scripts] == [f"{number:04}_" for number in range(1, len(scripts) + 1)]
    assert scripts[0].branch_labels == {"fine_tuning_store"}
    assert all(len(script.revision) <= 32 for script in scripts)
    assert len(scripts) == SCHEMA_NUMBER


def test_revisions_import_nothing_of_the_package() -> None:
    for path in (migrations_path() / "versions").glob("*.py"):
        assert "fine_tuning_store" not in re.findall(r"^\s*(?:from|import)\s+(\w+)", path.read_text(), re.MULTILINE)

"""The state of a database, its differences and the command to run next: every state, produced on every database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from fine_tuning_store import (
    AsyncFineTuningStore,
    FineTuningStore,
    InvalidValueError,
    SchemaConflictError,
    SchemaLockTimeoutError,
    SchemaState,
    SchemaStatus,
)
from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.revisions import SCHEMA_NUMBER, by_number
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE
from tests.support.databases import ASYNC_DRIVERS, Database, with_driver
from tests.support.factories import created

HEAD = f"fine_tuning_store_{SCHEMA_NUMBER:04}"
FIRST = "fine_tuning_store_0001"
UPGRADE = "fine-tuning-store db upgrade"
ADOPT = "fine-tuning-store db adopt"


@pytest.fixture
def store(request: pytest.FixtureRequest, database: Database) -> Iterator[FineTuningStore]:
    """A store on a database without tables, or on migrated tables in a test that is marked `migrated`."""
    url = request.getfixturevalue("altered_url" if request.node.get_closest_marker("migrated") else "empty_url")
    with FineTuningStore.from_url(url) as store:
        yield store


@pytest.fixture
def guest(empty_url: str) -> Iterator[FineTuningStore]:
    """A store whose tables belong to the history of an application."""
    with FineTuningStore.from_url(empty_url, host_version_table="alembic_version") as guest:
        yield guest


def run(store: FineTuningStore, *statements: str) -> None:
    with store.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def rows(store: FineTuningStore, table: str) -> list[tuple[object, ...]]:
    with store.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT * FROM {table}"))]


def tables(store: FineTuningStore) -> set[str]:
    return set(inspect(store.engine).get_table_names())


def set_compatibility(store: FineTuningStore, schema_number: int, oldest_code_number: int) -> None:
    run(store, f"UPDATE fine_tuning_store_compatibility SET schema_number = {schema_number}, oldest_code_number = {oldest_code_number}")


def found(state: SchemaState) -> tuple[str, str | None, str | None]:
    return str(state.status), state.revision, state.command


def test_the_command_for_an_empty_database_is_upgrade(store: FineTuningStore, guest: FineTuningStore) -> None:
    state = store.schema.state()

    assert state == SchemaState(
        status=SchemaStatus.EMPTY,
        revision=None,
        schema_number=None,
        oldest_code_number=None,
        code_number=SCHEMA_NUMBER,
        problems=(),
        command=UPGRADE,
    )
    assert not state.is_usable
    assert found(guest.schema.state()) == ("empty", None, "alembic upgrade heads")
    assert tables(store) == set()


@pytest.mark.parametrize("number", by_number())
def test_each_revision_is_recognized_and_has_no_differences(store: FineTuningStore, number: int) -> None:
    revision = f"fine_tuning_store_{number:04}"
    store.schema.upgrade(revision)

    state = store.schema.state()

    assert (state.revision, state.schema_number, state.problems) == (revision, number, ())
    assert state.oldest_code_number == by_number()[number].oldest_code_number
    if revision == HEAD:
        assert (state.status, state.command, state.is_usable) == (SchemaStatus.CURRENT, None, True)
        assert store.schema.check() == ()
    else:
        assert (state.status, state.command, state.is_usable) == (SchemaStatus.BEHIND, UPGRADE, False)
        assert store.schema.check() != ()


@pytest.mark.migrated
@pytest.mark.parametrize(("oldest", "status"), [(SCHEMA_NUMBER, "ahead_compatible"), (SCHEMA_NUMBER + 1, "ahead_incompatible")])
def test_a_database_of_a_newer_release_is_used_if_that_release_allows_it(store: FineTuningStore, oldest: int, status: str) -> None:
    run(store, f"UPDATE {VERSION_TABLE} SET version_num = 'fine_tuning_store_9999'", "ALTER TABLE fine_tuning_job_errors ADD newer INTEGER")
    set_compatibility(store, 9999, oldest)

    state = store.schema.state()

    assert (state.status, state.revision, state.schema_number) == (status, "fine_tuning_store_9999", 9999)
    assert state.is_usable == (status == "ahead_compatible")
    if state.is_usable:
        assert (state.problems, state.command) == ((), None)
        created(store)
        store.schema.adopt()
    else:
        assert "9999" in str(state.problems[0])
        assert state.command == "pip install --upgrade fine-tuning-store"
        with pytest.raises(SchemaConflictError):
            store.schema.adopt()


@pytest.mark.parametrize("table", ["fine_tuning_jobs", "fine_tuning_job_metadata", "fine_tuning_store_compatibility", VERSION_TABLE])
def test_foreign_tables_with_names_of_the_store_are_not_mistaken_for_its_own(store: FineTuningStore, table: str) -> None:
    run(store, f"CREATE TABLE {table} (id INTEGER, theirs VARCHAR(10))", f"INSERT INTO {table} VALUES (1, 'x')")

    state = store.schema.state()

    assert found(state) == ("unusable", None, None)
    assert table in str(state.problems[0])
    with pytest.raises(SchemaConflictError, match=table):
        store.schema.adopt()
    assert tables(store) == {table}
    assert rows(store, table) == [(1, "x")]


@pytest.mark.parametrize("numbers", ["(1, 1), (2, 1)", "(NULL, 1)", "(2, 3)", ""])
def test_a_compatibility_table_with_another_content_is_reported(store: FineTuningStore, numbers: str) -> None:
    run(store, "CREATE TABLE fine_tuning_store_compatibility (schema_number INTEGER, oldest_code_number INTEGER)")
    if numbers:
        run(store, f"INSERT INTO fine_tuning_store_compatibility VALUES {numbers}")

    state = store.schema.state()

    assert (state.status, state.command) == (SchemaStatus.UNUSABLE, None)
    assert state.problems


@pytest.mark.migrated
def test_an_unknown_revision_is_reported(store: FineTuningStore) -> None:
    run(store, f"UPDATE {VERSION_TABLE} SET version_num = 'unknown_revision'")

    state = store.schema.state()

    assert found(state) == ("unusable", "unknown_revision", None)
    assert "unknown_revision" in str(state.problems[0])
    calls: list[Callable[[], object]] = [store.schema.upgrade, store.schema.adopt, lambda: store.schema.downgrade("base")]
    for call in calls:
        with pytest.raises(SchemaConflictError, match="unknown_revision"):
            call()


def drop_index(store: FineTuningStore, table: str, name: str) -> str:
    return f"DROP INDEX {name}" + (f" ON {table}" if store.engine.dialect.name == "mariadb" else "")


def drop_check(store: FineTuningStore, name: str) -> None:
    """Drop a CHECK constraint of the jobs. On SQLite, this is only possible by rewriting the catalog."""
    if store.engine.dialect.name == "sqlite":
        rewrite(store, "fine_tuning_jobs", lambda sql: "\n".join(line for line in sql.splitlines() if name not in line))
    else:
        run(store, f"ALTER TABLE fine_tuning_jobs DROP CONSTRAINT {name}")


def rewrite(store: FineTuningStore, table: str, change: Callable[[str], str]) -> None:
    """Change the definition of a table in the catalog of SQLite."""
    engine = create_engine(store.engine.url)
    with engine.connect() as connection:
        (before,) = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).one()
        after = change(before)
        assert after != before
        connection.exec_driver_sql("PRAGMA writable_schema = ON")
        connection.exec_driver_sql("UPDATE sqlite_master SET sql = ? WHERE name = ?", (after, table))
        version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")  # makes other connections reload the catalog
        connection.commit()
    engine.dispose()


def change_check(store: FineTuningStore) -> None:
    if store.engine.dialect.name == "sqlite":
        rewrite(store, "fine_tuning_jobs", lambda sql: sql.replace("'running', 'paused', ", "'running', ", 1))
        return
    drop_check(store, "ck_fine_tuning_jobs_status")
    statuses = "'validating_files', 'queued', 'running', 'succeeded', 'failed', 'cancelled'"
    run(store, f"ALTER TABLE fine_tuning_jobs ADD CONSTRAINT ck_fine_tuning_jobs_status CHECK (status IN ({statuses}))")


def column_change(sqlite: tuple[str, str], *, postgresql: str, mariadb: str) -> Callable[[FineTuningStore], None]:
    """Return a function that alters a column of the jobs. On SQLite, it replaces part of the definition of the table."""

    def change(store: FineTuningStore) -> None:
        if store.engine.dialect.name == "sqlite":
            rewrite(store, "fine_tuning_jobs", lambda sql: sql.replace(*sqlite))
        else:
            run(store, f"ALTER TABLE fine_tuning_jobs {mariadb if is_mariadb(store) else postgresql}")

    return change


def drop_foreign_key(store: FineTuningStore) -> None:
    name = "fk_fine_tuning_job_errors_job_id"
    if store.engine.dialect.name == "sqlite":
        rewrite(store, "fine_tuning_job_errors", lambda sql: sql.replace(" ON DELETE CASCADE", ""))
    else:
        run(store, f"ALTER TABLE fine_tuning_job_errors DROP {'FOREIGN KEY' if is_mariadb(store) else 'CONSTRAINT'} {name}")


def is_mariadb(store: FineTuningStore) -> bool:
    return store.engine.dialect.name == "mariadb"


def reorder_index(store: FineTuningStore) -> None:
    name = "ix_fine_tuning_jobs_status"
    run(store, drop_index(store, "fine_tuning_jobs", name), f"CREATE INDEX {name} ON fine_tuning_jobs (status, id, created_at)")


def make_index_plain(store: FineTuningStore) -> None:
    name = "uq_fine_tuning_job_events_id"
    run(store, "CREATE INDEX spare ON fine_tuning_job_events (job_id)", drop_index(store, "fine_tuning_job_events", name))
    run(store, f"CREATE INDEX {name} ON fine_tuning_job_events (job_id, id)", drop_index(store, "fine_tuning_job_events", "spare"))


#: The function that causes the damage, and part of the reported difference.
DAMAGE: dict[str, tuple[Callable[[FineTuningStore], None], str]] = {
    "a check dropped": (
        lambda store: drop_check(store, "ck_fine_tuning_jobs_status"),
        "missing: check fine_tuning_jobs.ck_fine_tuning_jobs_status",
    ),
    "a check changed": (change_check, "different: check fine_tuning_jobs.ck_fine_tuning_jobs_status"),
    "an index dropped": (
        lambda store: run(store, drop_index(store, "fine_tuning_jobs", "ix_fine_tuning_jobs_model")),
        "missing: index fine_tuning_jobs.ix_fine_tuning_jobs_model (model",
    ),
    "an index reordered": (
        reorder_index,
        "different: index fine_tuning_jobs.ix_fine_tuning_jobs_status is (status, id, created_at), not (",
    ),
    "an index not unique": (
        make_index_plain,
        "different: index fine_tuning_job_events.uq_fine_tuning_job_events_id is (job_id, id), not unique (",
    ),
    "a unique index too many": (
        lambda store: run(store, "CREATE UNIQUE INDEX theirs ON fine_tuning_jobs (organization_id)"),
        "unexpected: index fine_tuning_jobs.theirs unique (organization_id)",
    ),
    "a type's length changed": (
        column_change(
            ("suffix VARCHAR(512)", "suffix VARCHAR(40)"),
            postgresql="ALTER COLUMN suffix TYPE VARCHAR(40)",
            mariadb="MODIFY suffix VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        ),
        "different: column fine_tuning_jobs.suffix is VARCHAR(40)",
    ),
    "a type changed": (
        column_change(("seed BIGINT", "seed INTEGER"), postgresql="ALTER COLUMN seed TYPE INTEGER", mariadb="MODIFY seed INTEGER"),
        "different: column fine_tuning_jobs.seed is INT",
    ),
    "NULL allowed": (
        column_change(
            ("created_at BIGINT NOT NULL", "created_at BIGINT"),
            postgresql="ALTER COLUMN created_at DROP NOT NULL",
            mariadb="MODIFY created_at BIGINT",
        ),
        "different: column fine_tuning_jobs.created_at is BIGINT, not BIGINT not null",
    ),
    "a column dropped": (
        lambda store: run(store, "ALTER TABLE fine_tuning_job_events DROP COLUMN data"),
        "missing: column fine_tuning_job_events.data",
    ),
    "a column added": (
        lambda store: run(store, "ALTER TABLE fine_tuning_job_errors ADD COLUMN surprise VARCHAR(10)"),
        "unexpected: column fine_tuning_job_errors.surprise VARCHAR(10)",
    ),
    "a table dropped": (lambda store: run(store, "DROP TABLE fine_tuning_job_errors"), "missing: table fine_tuning_job_errors"),
    "a foreign key changed": (drop_foreign_key, ": foreign key fine_tuning_job_errors.fk_fine_tuning_job_errors_job_id"),
}


@pytest.mark.migrated
@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_reported_and_makes_the_tables_unusable(store: FineTuningStore, name: str) -> None:
    damage, expected = DAMAGE[name]
    run(store, "DROP VIEW fine_tuning_job_overview")  # PostgreSQL drops no table and changes no type that a view shows
    damage(store)

    differences = store.schema.check()
    state = store.schema.state()

    assert len(differences) == 1, differences
    assert expected in str(differences[0])
    assert found(state) == ("unusable", HEAD, None)
    assert state.problems == differences
    run(store, f"DROP TABLE {VERSION_TABLE}")
    with pytest.raises(SchemaConflictError) as caught:
        store.schema.adopt()
    assert str(differences[0]) in str(caught.value)
    assert VERSION_TABLE not in tables(store)


@pytest.mark.migrated
def test_an_additional_index_is_reported_and_leaves_the_tables_usable(store: FineTuningStore) -> None:
    run(store, "CREATE INDEX theirs ON fine_tuning_jobs (seed)")

    state = store.schema.state()

    assert state.is_usable
    assert state.problems == store.schema.check()
    assert [str(problem) for problem in state.problems] == ["unexpected: index fine_tuning_jobs.theirs (seed)"]


def test_a_collation_that_ignores_case_is_reported(store: FineTuningStore) -> None:
    change = {
        "sqlite": "",  # its catalog does not contain the collation
        "postgresql": 'ALTER TABLE fine_tuning_jobs ALTER COLUMN suffix TYPE VARCHAR(512) COLLATE "default"',
        "mariadb": "ALTER TABLE fine_tuning_jobs MODIFY suffix VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    }[store.engine.dialect.name]
    store.schema.upgrade()
    if not change:
        return
    run(store, "DROP VIEW fine_tuning_job_overview", change)

    (difference,) = store.schema.check()

    assert str(difference).startswith("different: column fine_tuning_jobs.suffix is VARCHAR(512)")


@pytest.mark.migrated
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_invalid_indexes_and_constraints_of_postgresql_are_reported(store: FineTuningStore) -> None:
    created(store)
    created(store)
    engine = create_engine(store.engine.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP INDEX ix_fine_tuning_jobs_model"))
        with pytest.raises(DBAPIError):  # two jobs of one model: the build fails and leaves its index behind
            connection.execute(text("CREATE UNIQUE INDEX CONCURRENTLY ix_fine_tuning_jobs_model ON fine_tuning_jobs (model)"))
        connection.execute(text("ALTER TABLE fine_tuning_jobs DROP CONSTRAINT ck_fine_tuning_jobs_finished_at"))
        added = "finished_at IS NULL OR status IN ('succeeded', 'failed', 'cancelled')"
        connection.execute(text(f"ALTER TABLE fine_tuning_jobs ADD CONSTRAINT ck_fine_tuning_jobs_finished_at CHECK ({added}) NOT VALID"))
    engine.dispose()

    check, index = map(str, store.schema.check())

    assert check.startswith("different: check fine_tuning_jobs.ck_fine_tuning_jobs_finished_at")
    assert "cancelled' not valid, not " in check
    assert "is unique (model) invalid, not (model, created_at, id)" in index


@pytest.mark.migrated
def test_an_interrupted_downgrade_is_reported_with_the_command_that_finishes_it(store: FineTuningStore) -> None:
    set_compatibility(store, 1, 1)  # as the downgrade of 0002 does first
    run(store, "DROP TABLE fine_tuning_checkpoint_permissions")

    state = store.schema.state()

    assert found(state) == ("unusable", HEAD, f"fine-tuning-store db downgrade {FIRST}")
    assert "a downgrade" in str(state.problems[0])
    with pytest.raises(SchemaConflictError, match=f"a downgrade to '{FIRST}'"):
        store.schema.upgrade()
    if is_mariadb(store):  # the other databases run a downgrade in one transaction
        store.schema.downgrade(FIRST)
        store.schema.upgrade()
        assert store.schema.state().is_usable


def test_an_interrupted_downgrade_to_base_is_reported_with_the_command_that_finishes_it(store: FineTuningStore) -> None:
    store.schema.upgrade(FIRST)
    run(store, *(f"DROP TABLE {table.name}" for table in reversed(METADATA.sorted_tables) if table.name in tables(store)))

    assert found(store.schema.state()) == ("unusable", FIRST, "fine-tuning-store db downgrade base")
    store.schema.downgrade("base")
    assert store.schema.state().status is SchemaStatus.EMPTY


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_an_interrupted_upgrade_is_reported_and_finished_by_the_next(store: FineTuningStore) -> None:
    store.schema.upgrade(FIRST)
    run(store, "DELETE FROM fine_tuning_store_compatibility", f"DELETE FROM {VERSION_TABLE}", "DROP TABLE fine_tuning_job_metadata")

    state = store.schema.state()

    assert found(state) == ("behind", None, UPGRADE)
    assert state.problems
    store.schema.upgrade()
    assert store.schema.state().is_usable


#: The revisions that the catalog shows. One that adds nothing to it is taken for the one before: it runs again.
RECOGNIZABLE = [number for number, revision in by_number().items() if revision.added or number == 1]


@pytest.mark.parametrize(("number", "row"), [*((number, True) for number in RECOGNIZABLE), (RECOGNIZABLE[-1], False)])
def test_tables_without_a_history_are_adopted_at_the_oldest_revision_that_makes_them(
    store: FineTuningStore, number: int, row: bool
) -> None:
    """The catalog does not show whether a revision has run that added nothing to it. The upgrade runs it, perhaps again."""
    adopted = max(each for each in range(1, number + 1) if each == 1 or by_number()[each].added)
    store.schema.upgrade(f"fine_tuning_store_{number:04}")
    run(store, f"DROP TABLE {VERSION_TABLE}", *(() if row else ("DELETE FROM fine_tuning_store_compatibility",)))

    state = store.schema.state()
    assert found(state) == ("unusable", None, ADOPT)
    assert "no version table" in str(state.problems[0])
    with pytest.raises(SchemaConflictError, match="adopt"):
        store.schema.upgrade()

    store.schema.adopt()

    assert store.schema.current() == f"fine_tuning_store_{adopted:04}"
    assert rows(store, "fine_tuning_store_compatibility") == [(1, adopted, by_number()[adopted].oldest_code_number)]
    store.schema.upgrade()
    assert found(store.schema.state()) == ("current", HEAD, None)
    store.schema.adopt()  # does nothing
    assert rows(store, "fine_tuning_job_overview") == []
    created(store)


def test_tables_created_from_the_metadata_are_adopted_and_get_the_view_from_a_script(empty_url: str, store: FineTuningStore) -> None:
    METADATA.create_all(store.engine)

    store.schema.adopt()
    store.schema.upgrade()

    assert found(store.schema.state()) == ("current", HEAD, None)
    created(store)
    execute(empty_url, store.schema.sql("fine_tuning_store_0005", start="fine_tuning_store_0004"))  # as the docstring of `adopt` says
    assert len(rows(store, "fine_tuning_job_overview")) == 1
    assert found(store.schema.state()) == ("current", HEAD, None)


def test_adopt_is_refused_in_an_empty_database_and_in_one_with_a_history(store: FineTuningStore) -> None:
    with pytest.raises(SchemaConflictError, match="there are none"):
        store.schema.adopt()
    assert tables(store) == set()
    store.schema.upgrade(FIRST)
    with pytest.raises(SchemaConflictError, match=FIRST):
        store.schema.adopt()
    with pytest.raises(InvalidValueError, match="lock_timeout"):
        store.schema.adopt(lock_timeout=-1)
    assert store.schema.current() == FIRST


def test_a_store_in_an_applications_history_names_the_applications_commands(store: FineTuningStore, guest: FineTuningStore) -> None:
    store.schema.upgrade()
    assert found(guest.schema.state()) == ("unusable", None, None)
    assert "without host_version_table" in str(guest.schema.state().problems[0])
    run(store, f"DROP TABLE {VERSION_TABLE}", "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    run(store, "INSERT INTO alembic_version VALUES ('theirs')", "DELETE FROM fine_tuning_store_compatibility")

    assert found(guest.schema.state()) == ("unusable", None, "alembic stamp fine_tuning_store@head")
    with pytest.raises(SchemaConflictError, match="alembic stamp fine_tuning_store@head"):
        guest.schema.adopt()
    run(store, f"INSERT INTO fine_tuning_store_compatibility VALUES (1, {SCHEMA_NUMBER}, 1)")
    assert found(guest.schema.state()) == ("current", HEAD, None)  # Alembic leaves out what the application's revision depends on
    run(store, f"INSERT INTO alembic_version VALUES ('{HEAD}')")
    assert found(guest.schema.state()) == ("current", HEAD, None)
    guest.schema.adopt()

    state = store.schema.state()
    assert found(state) == ("unusable", None, "alembic upgrade heads")
    assert "host_version_table='alembic_version'" in str(state.problems[0])
    with pytest.raises(SchemaConflictError, match="host_version_table='alembic_version'"):
        store.schema.adopt()
    assert VERSION_TABLE not in tables(store)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_state_is_that_of_the_stores_schema(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url, schema="f t") as store, FineTuningStore.from_url(empty_url) as public:
        assert store.schema.state().status is SchemaStatus.EMPTY
        store.schema.upgrade(create_schema=True)
        assert (store.schema.state().status, store.schema.check()) == (SchemaStatus.CURRENT, ())
        assert public.schema.state().status is SchemaStatus.EMPTY
        run(store, f'DROP TABLE "f t".{VERSION_TABLE}', 'DELETE FROM "f t".fine_tuning_store_compatibility')
        assert store.schema.state().command == f"{ADOPT} --schema 'f t'"
        store.schema.adopt()
        assert found(store.schema.state()) == ("current", HEAD, None)
        assert tables(public) == set()
        run(store, 'ALTER TABLE "f t".fine_tuning_jobs DROP CONSTRAINT ck_fine_tuning_jobs_status')
        assert str(store.schema.check()[0]).startswith("missing: check fine_tuning_jobs.ck_fine_tuning_jobs_status")


def execute(url: str, script: str) -> None:
    """Execute a script in the transactions that it begins and ends itself."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in script.split(";\n"):
            lines = [line for line in statement.splitlines() if line and not line.startswith("--")]
            if lines:
                connection.exec_driver_sql("\n".join(lines).rstrip(";").replace("%", "%%"))
    engine.dispose()


def test_the_sql_script_does_the_same_as_the_migrations(empty_url: str, database: Database) -> None:
    driver = ASYNC_DRIVERS[database.name][0]
    with FineTuningStore.from_url(empty_url) as store:
        execute(empty_url, store.schema.sql(FIRST))
        assert store.schema.state().status is SchemaStatus.BEHIND
        execute(empty_url, store.schema.sql(start=FIRST))
        assert found(store.schema.state()) == ("current", HEAD, None)
        created(store)
        execute(empty_url, store.schema.sql(FIRST, start="head"))
        assert store.schema.state().revision == FIRST
        execute(empty_url, store.schema.sql("base", start=FIRST))
        assert store.schema.state().status is SchemaStatus.EMPTY
        assert "CREATE TABLE" not in store.schema.sql(start="head")
        nowhere = make_url(with_driver(empty_url, driver)).set(host="nowhere.invalid" if make_url(empty_url).host else None)
        assert FineTuningStore.from_url(nowhere.set(drivername=store.engine.url.drivername)).schema.sql() == store.schema.sql()


def test_sql_between_unknown_revisions_is_refused(store: FineTuningStore, guest: FineTuningStore) -> None:
    for arguments in ({"revision": "0042"}, {"start": "0042"}, {"revision": None}):
        with pytest.raises(InvalidValueError, match=HEAD) as caught:
            store.schema.sql(**arguments)
        assert caught.value.field in arguments
    with pytest.raises(SchemaConflictError, match="alembic upgrade heads --sql"):
        guest.schema.sql()


@pytest.mark.migrated
@pytest.mark.parametrize("target", ["base", FIRST])
def test_a_downgrade_loses_no_job_unless_data_loss_is_allowed(store: FineTuningStore, target: str) -> None:
    job = created(store)

    with pytest.raises(SchemaConflictError, match="allow_data_loss=True"):
        store.schema.downgrade(target)
    assert found(store.schema.state()) == ("current", HEAD, None)
    assert store.jobs.get(job.id) == job

    store.schema.downgrade(target, allow_data_loss=True)
    assert store.schema.current() == (None if target == "base" else FIRST)


def test_each_migration_is_logged(store: FineTuningStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fine_tuning_store")
    store.schema.upgrade()
    store.schema.downgrade(FIRST)

    messages = [record.getMessage() for record in caplog.records if record.name.startswith("fine_tuning_store")]

    assert [message.rpartition(" in ")[0] for message in messages] == [f"migrated from base to {HEAD}", f"migrated from {HEAD} to {FIRST}"]


def test_the_error_of_a_lock_timeout_names_the_holder(empty_url: str) -> None:
    with FineTuningStore.from_url(empty_url) as holder, FineTuningStore.from_url(empty_url) as other:
        lock = support_for(holder.engine.dialect).migration_lock
        with holder._transactions.engine.connect() as connection, lock(connection, 1):
            queries = {
                "postgresql": "SELECT 'PostgreSQL process ' || pg_backend_pid()",
                "mariadb": "SELECT concat('MariaDB connection ', connection_id())",
            }
            query = queries.get(connection.dialect.name)
            expected = None if query is None else connection.scalar(text(query))
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET application_name = 'the deploy'"))
                expected = f"{expected} (application the deploy)"
            for call in (other.schema.upgrade, other.schema.adopt):
                with pytest.raises(SchemaLockTimeoutError) as caught:
                    call(lock_timeout=0.1)
                assert (caught.value.seconds, caught.value.holder) == (0.1, expected)
                assert expected is None or expected in str(caught.value)
        assert tables(other) == set()


def test_an_async_store_reports_and_does_the_same(empty_url: str, database: Database) -> None:
    import asyncio

    async def use(driver: str) -> None:
        async with AsyncFineTuningStore.from_url(with_driver(empty_url, driver)) as store:
            assert (await store.schema.state()).status is SchemaStatus.EMPTY
            await store.schema.upgrade()
            async with store.engine.begin() as connection:
                await connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
            assert (await store.schema.state()).command == ADOPT
            await store.schema.adopt()
            assert found(await store.schema.state()) == ("current", HEAD, None)
            assert await store.schema.check() == ()
            assert "CREATE TABLE" in await store.schema.sql()
            await store.schema.downgrade("base")

    for driver in ASYNC_DRIVERS[database.name]:
        asyncio.run(use(driver))


# Wrong use: errors of the driver are passed on, nothing is partially written, and messages contain no secrets.


def test_a_file_that_cannot_be_written_is_an_error_of_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with FineTuningStore.from_url(f"sqlite:///{path}") as store:
        store.schema.upgrade(FIRST)
    with FineTuningStore.from_url(f"sqlite:///file:{path}?mode=ro&uri=true") as store:
        assert store.schema.state().status is SchemaStatus.BEHIND
        with pytest.raises(OperationalError, match="readonly"):
            store.schema.upgrade()
        with pytest.raises(OperationalError, match="readonly"):
            store.schema.downgrade("base")
        assert store.schema.current() == FIRST


def test_waiting_for_a_writer_of_the_file_ends_after_the_timeout(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    with FineTuningStore.from_url(url) as store:
        store.schema.upgrade(FIRST)
        engine = create_engine(url)
        with engine.connect() as writer:
            writer.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(SchemaLockTimeoutError) as caught:
                store.schema.upgrade(lock_timeout=0.1)
            assert caught.value.holder is None
            assert store.schema.state().status is SchemaStatus.BEHIND
        engine.dispose()
        store.schema.upgrade()


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("part", [{"database": "missing_database"}, {"username": "nobody", "password": "SECRET"}])
def test_a_missing_database_or_a_wrong_password_is_an_error_of_the_driver(empty_url: str, part: dict[str, str]) -> None:
    with FineTuningStore.from_url(make_url(empty_url).set(**part)) as store:  # type: ignore[arg-type]
        for call in (store.schema.state, store.schema.check, store.schema.upgrade, store.schema.adopt):
            with pytest.raises(OperationalError) as caught:
                call()
            assert "missing_database" in str(caught.value) or "nobody" in str(caught.value)
            assert "SECRET" not in str(caught.value)


@pytest.fixture
def plain_role(store: FineTuningStore) -> Iterator[str]:
    """The URL of the same database for a user that may not create tables."""
    url, name = store.engine.url, "fine_tuning_plain"
    if is_mariadb(store):
        run(store, f"CREATE OR REPLACE USER {name}@'%' IDENTIFIED BY 'SECRET'")
        run(store, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {url.database}.* TO {name}@'%'")
        undo = [f"DROP USER {name}@'%'"]
    else:
        run(store, f"DROP ROLE IF EXISTS {name}", f"CREATE ROLE {name} LOGIN PASSWORD 'SECRET'")
        run(store, f"ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {name}")
        run(store, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        undo = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
    yield url.set(username=name, password="SECRET").render_as_string(hide_password=False)
    run(store, *undo)


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_a_role_that_may_not_create_tables_gets_an_error_and_changes_nothing(store: FineTuningStore, plain_role: str) -> None:
    with FineTuningStore.from_url(plain_role) as plain:
        for with_tables in (False, True):
            if with_tables:
                store.schema.upgrade(FIRST)
            before = tables(store)
            with pytest.raises((ProgrammingError, OperationalError), match=r"denied|owner") as caught:
                plain.schema.upgrade()
            assert "SECRET" not in str(caught.value)
            assert tables(store) == before
            assert plain.schema.state() == store.schema.state()
        store.schema.upgrade()
        plain.schema.upgrade()
        assert plain.schema.state() == store.schema.state()
        assert plain.schema.check() == ()
        created(plain)

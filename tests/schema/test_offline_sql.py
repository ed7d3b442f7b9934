"""SQL scripts (`alembic upgrade head --sql`): executed manually, they have the same result as a migration over a connection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import FineTuningStore
from fine_tuning_store.schema import migrations_path
from tests.support.databases import Database
from tests.support.factories import created
from tests.support.future_release import ROOT, alembic_here, release_to_come

REVISIONS = ["base", *(f"fine_tuning_store_{path.name[:4]}" for path in sorted((migrations_path() / "versions").glob("*.py")))]
HEAD = REVISIONS[-1]

#: Queries that list everything in a database.
CATALOG = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL",
    "postgresql": """
        SELECT table_name || '.' || column_name,
            concat_ws(' ', data_type, character_maximum_length, collation_name, is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = current_schema()
        UNION ALL SELECT conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = to_regnamespace(current_schema())
        UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()
    """,
}
VERSION_TABLES = ("fine_tuning_store_version", "fine_tuning_store_compatibility")


def catalog(url: str) -> set[tuple[str, ...]]:
    """Return everything in a database's catalog, and the rows of the store's version tables."""
    engine = create_engine(url)
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        if engine.dialect.name == "mariadb":
            rows: list[Sequence[object]] = [connection.execute(text(f"SHOW CREATE TABLE {table}")).one() for table in tables]
        else:
            rows = list(connection.execute(text(CATALOG[engine.dialect.name])))
        rows += [(table, *row) for table in VERSION_TABLES if table in tables for row in connection.execute(text(f"SELECT * FROM {table}"))]
    engine.dispose()
    return {tuple(" ".join(str(cell).split()) for cell in row) for row in rows}


@cache
def sql(release: Path, dialect: str, start: str, end: str) -> str:
    """Return the SQL that Alembic prints for the path between two revisions, without connecting."""
    direction = "upgrade" if REVISIONS.index(start) < REVISIONS.index(end) else "downgrade"
    path = f"{start}:{end}" if start != "base" else end
    return alembic_here(release, f"{dialect}://nobody@192.0.2.1/nothing" if dialect != "sqlite" else "sqlite://", direction, path, "--sql")


def execute(url: str, script: str) -> None:
    """Execute a script statement by statement, in the transactions that it begins and ends itself."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)  # a failure closes the connection, which rolls back
    with engine.connect() as connection:
        for statement in re.sub(r"^--.*$", "", script, flags=re.MULTILINE).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement.replace("%", "%%") if engine.dialect.name != "sqlite" else statement)


def migrated(url: str, revision: str) -> set[tuple[str, ...]]:
    """Migrate over a connection, and return the catalog."""
    with FineTuningStore.from_url(url) as store:
        if revision != "base":
            store.schema.upgrade(revision)
    return catalog(url)


@pytest.mark.slow
@pytest.mark.parametrize(("earlier", "later"), [*pairwise(REVISIONS), (REVISIONS[0], HEAD)])
def test_sql_between_two_revisions_has_the_result_of_a_migration(database: Database, earlier: str, later: str) -> None:
    with database.empty() as by_hand, database.empty() as by_migration:
        before = migrated(by_hand, earlier)

        execute(by_hand, sql(ROOT, database.name, earlier, later))
        assert catalog(by_hand) == migrated(by_migration, later)
        if later == HEAD:
            with FineTuningStore.from_url(by_hand) as store:
                store.schema.upgrade()
                assert store.schema.check() == ()
                created(store)

        execute(by_hand, sql(ROOT, database.name, later, earlier))
        with FineTuningStore.from_url(by_migration) as store:
            store.schema.downgrade(earlier)
        assert catalog(by_hand) == catalog(by_migration)
        assert catalog(by_hand) == before


def test_sql_up_and_down_and_up_and_down_leaves_nothing_behind(empty_url: str, database: Database) -> None:
    for _ in range(2):
        execute(empty_url, sql(ROOT, database.name, "base", HEAD))
        with FineTuningStore.from_url(empty_url) as store:
            assert store.schema.current() == store.schema.head()
        execute(empty_url, sql(ROOT, database.name, HEAD, "base"))
        assert catalog(empty_url) == set()


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True, scope="session")
def test_sql_of_revisions_for_large_tables_has_the_result_of_a_migration(database: Database, tmp_path: Path) -> None:
    release = release_to_come(tmp_path)
    nowhere = f"{database.name}://nobody@192.0.2.1/nothing"
    with database.empty() as by_hand, database.empty() as by_migration:
        before = migrated(by_hand, HEAD)
        alembic_here(release, by_migration, "upgrade", "head")
        for _ in range(2):  # an interrupted script is executed again
            execute(by_hand, alembic_here(release, nowhere, "upgrade", f"{HEAD}:fine_tuning_store_9001", "--sql").rpartition("UPDATE")[0])
        execute(by_hand, alembic_here(release, nowhere, "upgrade", f"{HEAD}:head", "--sql"))
        assert catalog(by_hand) == catalog(by_migration)

        execute(by_hand, alembic_here(release, nowhere, "downgrade", f"fine_tuning_store_9003:{HEAD}", "--sql"))
        assert catalog(by_hand) == before


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sql_that_fails_midway_leaves_no_part_of_its_revision(empty_url: str, database: Database) -> None:
    """Test SQLite only: on PostgreSQL, Alembic adds the transactions."""
    taken = "ix_fine_tuning_job_checkpoints_step"
    before = migrated(empty_url, "fine_tuning_store_0001")
    engine = create_engine(empty_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE TABLE {taken} (theirs INTEGER)"))
    with pytest.raises(DBAPIError, match=taken):
        execute(empty_url, sql(ROOT, database.name, "fine_tuning_store_0001", HEAD))
    with engine.connect() as connection:
        connection.execute(text(f"DROP TABLE {taken}"))
    engine.dispose()

    assert catalog(empty_url) == before

"""The filters for an application's autogenerate: they exclude the store's tables, and only those."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, text

from fine_tuning_store import FineTuningStore
from fine_tuning_store.schema import exclude_store_tables, exclude_store_tables_in
from fine_tuning_store.schema.host import NameFilter
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE


def test_a_table_with_a_name_of_the_store_in_another_schema_is_the_applications() -> None:
    names = [*METADATA.tables, VERSION_TABLE, "fine_tuning_migration_lease"]
    in_default, in_named = {"schema_name": None}, {"schema_name": "fine_tuning"}
    named = exclude_store_tables_in("fine_tuning")

    for name in names:
        assert [exclude_store_tables(name, "table", parents) for parents in (in_default, in_named)] == [False, True]
        # Outside of an env.py it is not known which schema Alembic calls None: it may be that of the store.
        assert [named(name, "table", parents) for parents in (in_default, in_named)] == [False, False]
        assert named(name, "table", {"schema_name": "another"})
    for filter_ in (exclude_store_tables, named):
        assert filter_("charges", "table", in_default)
        assert filter_(None, "schema", {})
        assert filter_("id", "column", {**in_default, "table_name": "fine_tuning_jobs"})


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("filter_", "visible"), [(exclude_store_tables, {("fine_tuning", "fine_tuning_jobs")}), (exclude_store_tables_in("fine_tuning"), set())]
)
def test_autogenerate_includes_the_tables_of_other_schemas(empty_url: str, filter_: NameFilter, visible: set[tuple[str, str]]) -> None:
    store_schema = "fine_tuning" if not visible else None
    with FineTuningStore.from_url(empty_url, schema=store_schema) as store:
        store.schema.upgrade(create_schema=store_schema is not None)
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        if visible:
            connection.execute(text("CREATE SCHEMA fine_tuning"))
            connection.execute(text("CREATE TABLE fine_tuning.fine_tuning_jobs (id INTEGER)"))
        options = {"include_name": filter_, "include_schemas": True}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), MetaData())
    engine.dispose()

    assert {(each[1].schema, each[1].name) for each in differences if each[0] == "remove_table"} == visible


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("default", "dropped"), [("public", {(None, "fine_tuning_jobs")}), ("fine_tuning", {("public", "fine_tuning_jobs")})]
)
def test_a_table_of_the_application_is_compared_whatever_its_default_schema_is(
    empty_url: str, default: str, dropped: set[tuple[str | None, str]], tmp_path: Path
) -> None:
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    with FineTuningStore.from_url(empty_url, schema="fine_tuning") as store:
        store.schema.upgrade(create_schema=True)
    engine = create_engine(empty_url, connect_args={"options": f"-c search_path={default}"})
    with engine.begin() as connection, EnvironmentContext(config, ScriptDirectory.from_config(config)) as environment:
        connection.execute(text("CREATE TABLE public.fine_tuning_jobs (id INTEGER)"))
        environment.configure(connection=connection, include_schemas=True, include_name=exclude_store_tables_in("fine_tuning"))
        differences = compare_metadata(environment.get_context(), MetaData())
    engine.dispose()

    assert {(each[1].schema, each[1].name) for each in differences if each[0] == "remove_table"} == dropped

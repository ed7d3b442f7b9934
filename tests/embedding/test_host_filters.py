"""The filters for an application's autogenerate: they exclude the store's tables, and only those."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text

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
        # The schema of the store may be the default one of the application's connection, which Alembic calls None.
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
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import MetaData

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

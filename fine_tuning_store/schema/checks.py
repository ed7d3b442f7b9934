"""What is refused, and what is left alone, in a database that others use too."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import Connection, inspect, select, text

from fine_tuning_store.errors import SchemaConflictError, SchemaVersionError
from fine_tuning_store.sql.dialects import traits_of
from fine_tuning_store.sql.migration_lease import lease
from fine_tuning_store.sql.schema_option import options_of
from fine_tuning_store.sql.queries.jobs import COMPATIBILITY
from fine_tuning_store.sql.models import METADATA, SCHEMA_NUMBER, VERSION_TABLE, compatibility, jobs


def exclude_store_tables(name: str | None, kind: str, _: object) -> bool:
    """The `include_name` of an application's env.py: without it, `alembic check` and autogenerate would drop the store's tables."""
    return kind != "table" or (name not in METADATA.tables and name not in (VERSION_TABLE, lease.name))


def include_store_tables(name: str | None, kind: str, _: object) -> bool:
    """Its opposite, of our env.py. Alembic leaves out the version table itself."""
    return kind != "table" or name in METADATA.tables


def foreign_keys_off(connection: Connection) -> AbstractContextManager[None]:
    """For an application's env.py that runs our revisions: a block in which SQLite may rebuild a table and keep its child rows.

    Does nothing on other databases, and where foreign keys are off already. A commit that would leave rows whose parent is gone
    raises SchemaConflictError and is rolled back; so is what is uncommitted at the end of the block. Raises InvalidValueError
    if the connection has begun a transaction, inside of which foreign keys cannot be turned off.
    """
    return traits_of(connection.dialect.name).foreign_keys_off(connection)


def require_usable(connection: Connection, schema: str | None = None, host_version_table: str | None = None) -> None:
    """Raise SchemaVersionError unless the code at hand may use the tables: they are current, or newer and declared compatible."""
    found = numbers(connection, schema)
    if found is None:
        raise SchemaVersionError(None, SCHEMA_NUMBER, None, host_version_table)
    schema_number, oldest_code_number = found
    if oldest_code_number > SCHEMA_NUMBER:
        raise SchemaVersionError(schema_number, SCHEMA_NUMBER, oldest_code_number, host_version_table)
    if schema_number < SCHEMA_NUMBER:
        raise SchemaVersionError(schema_number, SCHEMA_NUMBER, None, host_version_table)


def numbers(connection: Connection, schema: str | None) -> tuple[int, int] | None:
    """The schema's number and the oldest code number that may use it, None where the tables are not there or not complete."""
    if not inspect(connection).has_table(compatibility.name, schema):
        return None
    row = connection.execute(COMPATIBILITY, execution_options=options_of(schema)).one_or_none()
    return None if row is None else (row.schema_number, row.oldest_code_number)


def refuse_foreign_tables(connection: Connection, schema: str | None = None) -> None:
    """Raise SchemaConflictError if tables of our names are there that this history has not made.

    For a database without a revision. The first migration makes its own mark first, after the version table, so a run that was
    interrupted is told apart.
    """
    inspector = inspect(connection)
    present = {*inspector.get_table_names(schema), *inspector.get_view_names(schema)}
    foreign = sorted(present & set(METADATA.tables))
    if not foreign:
        return
    if compatibility.name not in present:
        raise SchemaConflictError(
            f"the database already has tables of another application under these names: {', '.join(foreign)}. Nothing was changed: "
            "use a database of its own, or on PostgreSQL a schema of its own (schema=)"
        )
    if VERSION_TABLE not in present:
        raise SchemaConflictError(
            f"the fine-tuning tables are there, but not their history {VERSION_TABLE!r}: another one has made them. Nothing was changed: "
            "if that is your application's Alembic, open the store with host_version_table='alembic_version' and run 'alembic upgrade heads'; "
            "if it is nobody's, call store.schema.adopt() or run 'fine-tuning-store db adopt'"
        )


def refuse_tables_elsewhere(connection: Connection) -> None:
    """Raise SchemaConflictError if our tables are found, but in another schema than new ones would be made in."""
    query = traits_of(connection.dialect.name).tables_elsewhere
    if query is None:
        return
    found = connection.scalars(text(query), {"version_table": VERSION_TABLE, "compatibility": compatibility.name}).all()
    if found:
        raise SchemaConflictError(
            f"the fine-tuning tables are in the schema {found[0]!r}, and new ones would be made in another. Nothing was changed: "
            f"give schema={found[0]!r} (--schema, -x schema=), or that of the tables you mean"
        )


def refuse_to_lose_jobs(connection: Connection, schema: str | None = None) -> None:
    """Raise SchemaConflictError if any job is stored, also by a transaction that is open still.

    On PostgreSQL and SQLite nobody adds one until this transaction ends.
    """
    if not inspect(connection).has_table(jobs.name, schema):
        return
    stop_writers = traits_of(connection.dialect.name).stop_writers
    if stop_writers is not None:
        connection.execute(text(stop_writers))
    one = select(jobs.c.id).limit(1).with_for_update(read=True)
    if connection.execute(one, execution_options=options_of(schema)).first() is not None:
        raise SchemaConflictError(
            "jobs are stored, and a downgrade loses what the older tables cannot hold. No job was touched: back the database up, "
            "then give allow_data_loss=True (fine-tuning-store: --allow-data-loss, alembic: -x allow_data_loss)"
        )

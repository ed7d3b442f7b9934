"""A connection on which a schema of PostgreSQL is the only one that is visible.

Revisions contain SQL that names no schema. At run time the statements are given the schema one by one instead
(`fine_tuning_store.sql.schema_option`), so that nothing of a host's connection is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateSchema

from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.schema.settings import set_in_each_transaction


def create_schema(connection: Connection, schema: str) -> None:
    """Create the schema unless it exists: IF NOT EXISTS alone requires the CREATE privilege even if there is nothing to create."""
    exists = connection.scalar(text("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = :schema"), {"schema": schema})
    try:
        if not exists:
            connection.execute(CreateSchema(schema, if_not_exists=True))
        connection.commit()
    except IntegrityError:  # another process created it at the same moment
        connection.rollback()


@contextmanager
def only_schema(connection: Connection, schema: str | None) -> Iterator[None]:
    """Make the schema the whole search path inside the block. Raises InvalidValueError if it does not exist."""
    if schema is None:
        yield
        return
    quoted = connection.scalar(text("SELECT quote_ident(:schema)"), {"schema": schema})  # SQLAlchemy's own doubles a percent sign
    with set_in_each_transaction(connection, "search_path", quoted):
        if connection.scalar(text("SELECT current_schema()")) != schema:
            raise InvalidValueError(
                "schema",
                schema,
                "must exist and be usable by this user (an upgrade with create_schema=True, or --create-schema, creates it)",
            )
        connection.commit()
        connection.execution_options(schema_translate_map={None: schema})
        yield

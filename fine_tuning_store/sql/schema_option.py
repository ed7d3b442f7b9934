"""Our tables in a schema of a PostgreSQL database.

Statements of ours are told the schema one by one, so nothing of a host's Connection, Session or Engine is changed. Migrations are
written by hand in part and would miss it: on the connection that they have to themselves the schema is all that is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateSchema

from fine_tuning_store.domain import validation
from fine_tuning_store.errors import InvalidValueError, UnsupportedDatabaseError
from fine_tuning_store.sql.dialects import traits_of
from fine_tuning_store.sql.settings import in_each_transaction

#: What PostgreSQL keeps of a name, in bytes; it would cut a longer one off.
NAME_BYTES = 63


def checked_schema(schema: str | None, dialect: Dialect) -> str | None:
    """The schema. Raises InvalidValueError for what is no name, UnsupportedDatabaseError for a database that has no schemas."""
    if schema is None:
        return None
    name = validation.text("schema", schema, NAME_BYTES, 1)
    if len(name.encode()) > NAME_BYTES:
        raise InvalidValueError("schema", schema, f"must have at most {NAME_BYTES} bytes in UTF-8")
    if name == "$user" or name.startswith("pg_") or "[" in name or "]" in name:
        raise InvalidValueError("schema", schema, "must not be $user, begin with pg_ (PostgreSQL's own), or contain square brackets")
    if not traits_of(dialect.name).has_schemas:
        raise UnsupportedDatabaseError(f"schema= is for PostgreSQL, not for {dialect.name}: give the store a database of its own")
    return name


def checked_host_version_table(name: str | None) -> str | None:
    """The name of an application's version table, None for ours."""
    return None if name is None else validation.text("host_version_table", name, NAME_BYTES, 1)


def options_of(schema: str | None) -> Mapping[str, Any] | None:
    """The options of a single execution that finds our tables in the schema."""
    return None if schema is None else {"schema_translate_map": {None: schema}}


def create_schema(connection: Connection, schema: str) -> None:
    """Create the schema unless it is there: IF NOT EXISTS alone asks for the right to create also where nothing is to be done."""
    there = connection.scalar(text("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = :schema"), {"schema": schema})
    try:
        if not there:
            connection.execute(CreateSchema(schema, if_not_exists=True))
        connection.commit()
    except IntegrityError:  # another process has made it at the same moment
        connection.rollback()


@contextmanager
def only_schema(connection: Connection, schema: str | None) -> Iterator[None]:
    """On a connection to itself, nothing but the schema is seen inside the block. Raises InvalidValueError if it is not there."""
    if schema is None:
        yield
        return
    quoted = connection.scalar(text("SELECT quote_ident(:schema)"), {"schema": schema})  # SQLAlchemy's own doubles a percent sign
    with in_each_transaction(connection, "search_path", quoted):
        if connection.scalar(text("SELECT current_schema()")) != schema:
            raise InvalidValueError(
                "schema", schema, "must be there for this user to use (an upgrade with create_schema=True, or --create-schema, creates it)"
            )
        connection.commit()
        connection.execution_options(schema_translate_map={None: schema})
        yield

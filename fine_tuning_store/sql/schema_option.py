"""The store's tables in a schema of a PostgreSQL database.

Each statement is given the schema by itself, so nothing of a host's Connection, Session or Engine is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Dialect

from fine_tuning_store.domain import validation
from fine_tuning_store.errors import InvalidValueError, UnsupportedDatabaseError
from fine_tuning_store.sql.dialects import database_for

#: The length of a name in PostgreSQL, in bytes. It truncates longer ones.
NAME_BYTES: Final = 63


def checked_schema(schema: str | None, dialect: Dialect) -> str | None:
    """Validate the name of a schema.

    Raises:
        InvalidValueError: It cannot be the name of a schema.
        UnsupportedDatabaseError: The database has no schemas.
    """
    if schema is None:
        return None
    name = validation.check_text("schema", schema, NAME_BYTES, 1)
    if len(name.encode()) > NAME_BYTES:
        raise InvalidValueError("schema", schema, f"must have at most {NAME_BYTES} bytes in UTF-8")
    if name == "$user" or name.startswith("pg_") or "[" in name or "]" in name:
        raise InvalidValueError("schema", schema, "must not be $user, begin with pg_ (PostgreSQL's own), or contain square brackets")
    if not database_for(dialect).has_schemas:
        raise UnsupportedDatabaseError(f"schema= is for PostgreSQL, not for {dialect.name}: give the store a database of its own")
    return name


def checked_host_version_table(name: str | None) -> str | None:
    """Validate the name of an application's version table; None stands for the store's own."""
    return None if name is None else validation.check_text("host_version_table", name, NAME_BYTES, 1)


def options_of(schema: str | None) -> Mapping[str, Any] | None:
    """Return the execution options with which one statement finds the tables in the schema."""
    return None if schema is None else {"schema_translate_map": {None: schema}}

"""Helpers for the env.py of an application whose database also holds the store's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import Connection

from fine_tuning_store.schema.dialects import support_for
from fine_tuning_store.schema.galera_lease import lease
from fine_tuning_store.sql.models import METADATA, VERSION_TABLE

#: A filter of table names, as Alembic's `include_name` takes it.
NameFilter = Callable[[str | None, str, MutableMapping[Any, Any]], bool]

STORE_TABLES: Final = frozenset({*METADATA.tables, VERSION_TABLE, lease.name})


def exclude_store_tables(name: str | None, kind: str, parent_names: Mapping[Any, Any]) -> bool:
    """Exclude the store's tables in the default schema, as an application's `context.configure(include_name=...)`.

    Without it, `alembic check` and `alembic revision --autogenerate` of the application would drop them. For a store with `schema=`
    use `exclude_store_tables_in`. Tables of the same names in other schemas are the application's.
    """
    return not (kind == "table" and name in STORE_TABLES and parent_names.get("schema_name") is None)


def exclude_store_tables_in(schema: str) -> NameFilter:
    """Return the same filter for a store with `schema=`: `context.configure(include_name=exclude_store_tables_in("fine_tuning"))`."""

    def exclude(name: str | None, kind: str, parent_names: MutableMapping[Any, Any]) -> bool:
        return not (kind == "table" and name in STORE_TABLES and parent_names.get("schema_name") in (None, schema))

    return exclude


def foreign_keys_off(connection: Connection) -> AbstractContextManager[None]:
    """Disable SQLite's foreign keys while an application's env.py runs the store's revisions, some of which rebuild tables.

    Does nothing on other databases, or if foreign keys are off. A commit that would leave rows without their parent raises
    SchemaConflictError and is rolled back, as is what is not committed at the end of the block.

    Raises:
        InvalidValueError: The connection has begun a transaction, inside which foreign keys cannot be disabled.
    """
    return support_for(connection.dialect).foreign_keys_off(connection)

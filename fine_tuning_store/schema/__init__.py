"""The migrations as an API: the same files that `alembic upgrade head` runs, found in a checkout and in an installed package.

`exclude_store_tables`, `exclude_store_tables_in`, `foreign_keys_off`, `use_application_branch` and `migrations_path` are for an
application with an Alembic of its own.

Alembic is imported on first use, which takes longer than importing this whole package.
"""

from fine_tuning_store.schema.catalog import SchemaDifference
from fine_tuning_store.schema.checks import require_usable
from fine_tuning_store.schema.host import exclude_store_tables, exclude_store_tables_in, foreign_keys_off, use_application_branch
from fine_tuning_store.schema.manager import Schema
from fine_tuning_store.schema.revisions import SCHEMA_NUMBER, migrations_path
from fine_tuning_store.schema.state import SchemaState, SchemaStatus
from fine_tuning_store.schema.timeouts import LOCK_SECONDS

__all__ = [
    "LOCK_SECONDS",
    "SCHEMA_NUMBER",
    "Schema",
    "SchemaDifference",
    "SchemaState",
    "SchemaStatus",
    "exclude_store_tables",
    "exclude_store_tables_in",
    "foreign_keys_off",
    "migrations_path",
    "require_usable",
    "use_application_branch",
]

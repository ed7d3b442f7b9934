"""The migrations as an API: the same files that `alembic upgrade head` runs, found in a checkout and in an installed package.

`exclude_store_tables`, `foreign_keys_off` and `migrations_path` are for the env.py and the Config of an application with an Alembic of its own.

Alembic is imported on first use.
"""

from typing import TYPE_CHECKING

from fine_tuning_store.schema.checks import (
    exclude_store_tables,
    foreign_keys_off,
    include_store_tables,
    refuse_foreign_tables,
    refuse_tables_elsewhere,
    refuse_to_lose_jobs,
    require_usable,
)
from fine_tuning_store.schema.exclusive import LOCK_SECONDS
from fine_tuning_store.schema.manager import Schema
from fine_tuning_store.schema.revisions import migrations_path

if TYPE_CHECKING:
    from fine_tuning_store.schema.state import SchemaState, SchemaStatus

__all__ = [
    "LOCK_SECONDS",
    "Schema",
    "SchemaState",
    "SchemaStatus",
    "exclude_store_tables",
    "foreign_keys_off",
    "include_store_tables",
    "migrations_path",
    "refuse_foreign_tables",
    "refuse_tables_elsewhere",
    "refuse_to_lose_jobs",
    "require_usable",
]


def __getattr__(name: str) -> object:
    if name not in ("SchemaState", "SchemaStatus"):  # loaded on first use: who only uses the tables needs neither
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fine_tuning_store.schema import state

    value: object = getattr(state, name)
    return value

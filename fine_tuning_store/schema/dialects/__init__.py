"""What is peculiar to one database in migrations: one class and one file per database, as in `fine_tuning_store.sql.dialects`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Dialect

from fine_tuning_store.schema.dialects.base import MigrationSupport
from fine_tuning_store.schema.dialects.mariadb import MariaDBMigrations
from fine_tuning_store.schema.dialects.postgresql import PostgreSQLMigrations
from fine_tuning_store.schema.dialects.sqlite import SQLiteMigrations
from fine_tuning_store.sql.dialects import database_for

__all__ = ["MigrationSupport", "support_for"]

_SUPPORT: Final[Mapping[str, MigrationSupport]] = {
    support.database.name: support for support in (SQLiteMigrations(), PostgreSQLMigrations(), MariaDBMigrations())
}


def support_for(dialect: Dialect) -> MigrationSupport:
    """Return what the database of a dialect needs in migrations. Raises UnsupportedDatabaseError if it is not supported."""
    return _SUPPORT[database_for(dialect).name]

"""What is peculiar to one database at run time: one class and one file per database.

No other module of the package asks for the name of a dialect (a test searches for it). What only migrations need is in
`fine_tuning_store.schema.dialects`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Dialect

from fine_tuning_store.errors import UnsupportedDatabaseError
from fine_tuning_store.sql.dialects.base import Database, driver_exception
from fine_tuning_store.sql.dialects.mariadb import MARIADB
from fine_tuning_store.sql.dialects.postgresql import POSTGRESQL
from fine_tuning_store.sql.dialects.sqlite import SQLITE

__all__ = ["Database", "database_for", "database_named", "driver_exception"]

#: By the name that SQLAlchemy gives to the database. A mysql:// URL may lead to MariaDB.
_DATABASES: Final[Mapping[str, Database]] = {"sqlite": SQLITE, "postgresql": POSTGRESQL, "mariadb": MARIADB, "mysql": MARIADB}


def database_for(dialect: Dialect) -> Database:
    """Return the database of an engine's or a connection's dialect.

    Raises:
        UnsupportedDatabaseError: The database, its driver or, as far as the dialect knows it by now, its server is not supported.
    """
    database = database_named(dialect.name)
    database.require_supported(dialect)
    return database


def database_named(name: str) -> Database:
    """Return the database of a backend name, as `URL.get_backend_name()` returns it.

    Raises:
        UnsupportedDatabaseError: The database is not supported.
    """
    try:
        return _DATABASES[name]
    except KeyError:
        raise UnsupportedDatabaseError(
            f"{name!r} is not supported: use a sqlite:///file.db, postgresql:// or mariadb:// database"
        ) from None

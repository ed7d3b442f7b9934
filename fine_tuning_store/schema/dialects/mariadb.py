"""MariaDB in migrations."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Final

from sqlalchemy import Connection, text

from fine_tuning_store.errors import EngineConfigurationError, FineTuningStoreError
from fine_tuning_store.schema import catalog_queries
from fine_tuning_store.schema.dialects.base import MigrationSupport
from fine_tuning_store.schema.galera_lease import lease_lock
from fine_tuning_store.schema.locks import session_lock
from fine_tuning_store.schema.settings import set_in_session
from fine_tuning_store.schema.timeouts import LOCK_WAIT_SECONDS
from fine_tuning_store.sql.dialects import database_named
from fine_tuning_store.sql.models import VERSION_TABLE

_MARIADB: Final = database_named("mariadb")
#: Besides errors of lost transactions: the table exists, the key is taken, the table does not exist, its definition has changed.
_RACES: Final = (1050, 1062, 1146, 1205, 1412)

_SESSION_LOCK: Final = session_lock(
    name=f"concat('{VERSION_TABLE}.', md5(database()))",
    acquire="get_lock(:key, 0)",
    release="release_lock(:key)",
    holder="concat('MariaDB connection ', is_used_lock(:key))",
)
_GALERA_LOCK: Final = lease_lock(is_race=lambda error: _MARIADB.is_retryable(error) or _MARIADB.error_code(error) in _RACES)


class MariaDBMigrations(MigrationSupport):
    """MariaDB: GET_LOCK, or a lease on Galera. Each DDL statement commits by itself."""

    database = _MARIADB
    #: On another level of a host's engine a migration would not see what others commit, or would commit each statement.
    execution_options = {"isolation_level": "READ COMMITTED"}  # noqa: RUF012 - a constant, and never changed
    lock_wait_settings = dict.fromkeys(("lock_wait_timeout", "innodb_lock_wait_timeout"), str(LOCK_WAIT_SECONDS))
    column_types = catalog_queries.MARIADB_TYPES
    facts = catalog_queries.MARIADB
    index_length_option = "mariadb_length"
    has_comments = False

    def migration_lock(self, connection: Connection, seconds: float) -> AbstractContextManager[None]:
        """Hold a lock of GET_LOCK, or on Galera the lease."""
        return (_SESSION_LOCK if is_standalone_mariadb(connection) else _GALERA_LOCK)(connection, seconds)

    def setting(self, connection: Connection, name: str, value: str) -> AbstractContextManager[None]:
        """Set the variable of the session."""
        return set_in_session(connection, name, value)

    def column_type(self, type_: str, character_set: str | None, collation: str | None) -> str:
        """Write a type as SQLAlchemy does. The width of an integer is only a display width."""
        shown = re.sub(r"^(smallint|int|bigint)\(\d+\)", r"\1", type_).upper().replace("TINYINT(1)", "BOOL")
        return shown if collation is None else f"{shown} CHARACTER SET {character_set} COLLATE {collation}"

    def encoding_error(self, connection: Connection) -> FineTuningStoreError | None:
        """The tables name utf8mb4 themselves, whatever the default of the database is. NULL converts no result."""
        row = connection.execute(text("SELECT @@character_set_client, @@character_set_connection, @@character_set_results")).one()
        other = next((name for name in row if name not in ("utf8mb4", None)), None)
        if other is None:
            return None
        return EngineConfigurationError(
            f"the character set of the connection is {other}, which cannot hold all text: make it utf8mb4 (charset=, or in an option file "
            "default-character-set)"
        )

    def is_retryable(self, error: BaseException) -> bool:
        """As at run time, and lock wait timeouts."""
        return self.database.is_retryable(error) or self.database.is_busy(error)


def is_standalone_mariadb(connection: Connection) -> bool:
    """Return True if the server is not a node of a Galera cluster, each of which would grant the same lock."""
    variable = connection.execute(text("SHOW VARIABLES LIKE 'wsrep_on'")).one_or_none()  # some servers are built without it
    return variable is None or variable[1] != "ON"

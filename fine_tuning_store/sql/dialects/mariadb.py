"""MariaDB."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import URL, Connection, Dialect, Engine, Table, event, insert, text
from sqlalchemy.sql.dml import Insert

from fine_tuning_store.sql.dialects.base import Database, driver_exception


class MariaDB(Database):
    """MariaDB, with PyMySQL or aiomysql. A mysql:// URL serves as well."""

    name = "mariadb"
    driver = "pymysql"
    async_driver = "aiomysql"
    extra = "mariadb"
    needs_database = True
    locks_before_filtering = True

    def engine_options(self, url: URL, dialect: type[Dialect]) -> dict[str, Any]:  # noqa: ARG002 - the interface's
        """Use READ COMMITTED: the default level locks gaps between rows, so that inserts of different jobs would wait for each other."""
        return {"isolation_level": "READ COMMITTED"}

    def prepare_read_only_engine(self, engine: Engine) -> None:
        """Make each transaction of a session READ ONLY, whatever the server and the user allow."""
        super().prepare_read_only_engine(engine)
        event.listen(engine, "connect", _refuse_writes)

    def is_read_only(self, connection: Connection) -> bool:
        """Return True if the session's transactions are READ ONLY, or the server is."""
        row = connection.execute(text("SELECT @@session.tx_read_only, @@global.read_only")).one()
        return any(str(value) not in ("0", "OFF") for value in row)

    def is_in_autocommit(self, connection: Connection) -> bool:
        """Return the driver's setting, by a method of PyMySQL and its kin or by an attribute of other drivers."""
        driver_connection: Any = connection.connection.driver_connection
        get = getattr(driver_connection, "get_autocommit", None)
        return bool(driver_connection.autocommit if get is None else get())

    def insert_unless_taken(self, table: Table) -> Insert:
        """Return a plain INSERT: INSERT IGNORE would also ignore values that do not fit."""
        return insert(table)

    def error_code(self, error: BaseException) -> object:
        """Return the error number."""
        found: Any = driver_exception(error)
        return getattr(found, "errno", None) or (found.args[0] if found.args else None)

    def is_duplicate(self, error: BaseException) -> bool:
        """ER_DUP_ENTRY."""
        return self.error_code(error) == 1062

    def is_referenced(self, error: BaseException) -> bool:
        """ER_ROW_IS_REFERENCED and ER_ROW_IS_REFERENCED_2."""
        return self.error_code(error) in (1451, 1217)

    def is_retryable(self, error: BaseException) -> bool:
        """Deadlock, lock wait timeout, and a row that changed since it was read."""
        return self.error_code(error) in (1213, 1205, 1020)

    def is_permission_error(self, error: BaseException) -> bool:
        """ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR."""
        return self.error_code(error) in (1044, 1142, 1143)


def _refuse_writes(dbapi_connection: Any, _: object) -> None:
    cursor = dbapi_connection.cursor()
    cursor.execute("SET SESSION TRANSACTION READ ONLY")
    cursor.close()


MARIADB: Final = MariaDB()

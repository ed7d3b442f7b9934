"""MariaDB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import URL, Connection, Dialect, Engine, Table, event, insert, text
from sqlalchemy.sql.dml import Insert

from fine_tuning_store.errors import UnsupportedDatabaseError
from fine_tuning_store.sql.dialects import mariadb_url
from fine_tuning_store.sql.dialects.base import Database, driver_exception, run_on
from fine_tuning_store.sql.timeouts import Timeouts, limit_silence
from fine_tuning_store.sql.waiting import within


class MariaDB(Database):
    """MariaDB, with PyMySQL or aiomysql. A mysql:// URL serves as well."""

    name = "mariadb"
    driver = "pymysql"
    async_driver = "aiomysql"
    drivers = frozenset({"pymysql", "aiomysql"})
    extras = {"pymysql": "mariadb"}  # noqa: RUF012 - a constant, and never changed
    needs_database = True
    locks_before_filtering = True

    def require_supported(self, dialect: Dialect | type[Dialect]) -> None:
        """Refuse the server, too, if the dialect has connected, and found that it is MySQL."""
        super().require_supported(dialect)
        version = getattr(dialect, "server_version_info", None)
        if version and not getattr(dialect, "is_mariadb", True):
            raise _not_mariadb(".".join(map(str, version)))

    def connect_arguments(self, url: URL, dialect: type[Dialect]) -> tuple[URL, dict[str, Any]]:
        """Translate PyMySQL's parameters."""
        return mariadb_url.connect_arguments(url, dialect)

    def engine_options(self, url: URL, dialect: type[Dialect]) -> dict[str, Any]:
        """Use READ COMMITTED: the default level locks gaps between rows, so that inserts of different jobs would wait for each other."""
        return {**super().engine_options(url, dialect), "isolation_level": "READ COMMITTED"}

    def prepare_engine(self, engine: Engine, timeouts: Timeouts) -> None:
        """Limit how long each connection waits."""
        connect = _connect_aiomysql if engine.dialect.is_async else _connect_pymysql
        event.listen(engine, "do_connect", partial(connect, timeouts))
        event.listen(engine, "connect", partial(_limit_locks, timeouts.lock))
        event.listen(engine, "handle_error", self.leave_read_only_server)

    def prepare_read_only_engine(self, engine: Engine, timeouts: Timeouts) -> None:
        """Make each transaction of a session READ ONLY, whatever the server and the user allow."""
        super().prepare_read_only_engine(engine, timeouts)
        event.remove(engine, "handle_error", self.leave_read_only_server)  # here a refused write is the caller's mistake
        event.listen(engine, "connect", _refuse_writes)

    def is_read_only(self, connection: Connection) -> bool:
        """Return True if the session's transactions are READ ONLY, or the server is."""
        row = connection.execute(text("SELECT @@session.tx_read_only, @@global.read_only")).one()
        return any(str(value) not in ("0", "OFF") for value in row)

    def is_in_autocommit(self, connection: Connection) -> bool:
        """Return the driver's setting."""
        driver_connection: Any = connection.connection.driver_connection
        return bool(driver_connection.get_autocommit())

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
        """Deadlock, and a row that changed since it was read."""
        return self.error_code(error) in (1213, 1020)

    def is_busy(self, error: BaseException) -> bool:
        """ER_LOCK_WAIT_TIMEOUT. It undoes the statement, but not the transaction."""
        return self.error_code(error) == 1205

    def refuses_writes(self, error: BaseException) -> bool:
        """ER_OPTION_PREVENTS_STATEMENT (read_only=1), ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE."""
        return self.error_code(error) in (1290, 1792, 1836)

    def is_permission_error(self, error: BaseException) -> bool:
        """ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR."""
        return self.error_code(error) in (1044, 1142, 1143)


# Neither driver has a public name for its socket, and both apply connect_timeout to TCP alone, not to the server's answer.


def _connect_pymysql(timeouts: Timeouts, dialect: Any, _: object, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    seconds = options.get("connect_timeout", math.ceil(timeouts.connect))
    limits = {"connect_timeout": seconds, "read_timeout": seconds}
    try:
        connection = dialect.connect(*arguments, **{"charset": "utf8mb4", **options, **limits, **_password(options)})
    except dialect.dbapi.OperationalError as error:
        if error.args[0] != 2013:
            raise
        raise _no_answer(dialect, seconds) from error
    _require_mariadb(dialect, connection)
    connection._read_timeout = options.get("read_timeout")  # the other one was for the answer to the login
    limit_silence(connection._sock, timeouts.network)
    return connection


def _connect_aiomysql(timeouts: Timeouts, dialect: Any, _: object, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    seconds = options.get("connect_timeout", timeouts.connect)
    try:
        connection = within(seconds, partial(dialect.connect, *arguments, **{**options, **_password(options)}))
    except TimeoutError as error:
        raise _no_answer(dialect, seconds) from error
    transport = connection.driver_connection._writer.transport
    if "ssl" in options and transport.get_extra_info("ssl_object") is None:  # aiomysql would go on without it
        connection.close()
        raise dialect.dbapi.OperationalError(2026, "the URL asks for TLS, which the server does not support")
    _require_mariadb(dialect, connection)
    limit_silence(transport.get_extra_info("socket"), timeouts.network)
    return connection


def _password(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the password such that its bytes are UTF-8, as MariaDB's own client sends it. Both drivers encode it as Latin-1."""
    return {"password": options["password"].encode().decode("latin-1")} if options.get("password") else {}


def _require_mariadb(dialect: Any, connection: Any) -> None:
    """Refuse a MySQL server, on the first connection. SQLAlchemy finds it out later, and only refuses it if the URL says mariadb.

    It is asked, because a proxy sends a version of its own when a client connects.
    """
    if dialect.server_version_info:
        return
    cursor = connection.cursor()
    cursor.execute("SELECT VERSION()")
    (version,) = cursor.fetchone()
    cursor.close()
    if "MariaDB" not in version:
        connection.close()
        raise _not_mariadb(version)


def _not_mariadb(version: str) -> UnsupportedDatabaseError:
    return UnsupportedDatabaseError(f"the server is MySQL {version}, which is not supported: use MariaDB, PostgreSQL or SQLite")


def _no_answer(dialect: Any, seconds: float) -> BaseException:
    """Return the error for a server that cannot be reached. That of a lost connection (2013) would have a read tried again and again."""
    error: BaseException = dialect.dbapi.OperationalError(2003, f"the server did not answer within {seconds:g} s")
    return error


def _limit_locks(seconds: float, dbapi_connection: Any, _: object) -> None:
    run_on(dbapi_connection, f"SET SESSION innodb_lock_wait_timeout = {math.ceil(seconds)}")


def _refuse_writes(dbapi_connection: Any, _: object) -> None:
    run_on(dbapi_connection, "SET SESSION TRANSACTION READ ONLY")


MARIADB: Final = MariaDB()

"""PostgreSQL, with the peculiarities of psycopg and asyncpg."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, Engine, Table, event, text
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.dml import Insert

from fine_tuning_store.sql.dialects.base import Database, driver_exception


class PostgreSQL(Database):
    """PostgreSQL, with psycopg or asyncpg."""

    name = "postgresql"
    driver = "psycopg"
    async_driver = "asyncpg"
    extra = "postgresql"
    has_schemas = True
    writes_in_ctes = True
    aggregates_percentiles = True
    reads_in_autocommit = True
    rollback_discards_prepared_statements = True
    errors_end_transactions = True
    #: The server changes from transaction to transaction: no statement can stay prepared on it, and no name may be used twice.
    pooler_options = {  # noqa: RUF012 - a constant, and never changed
        "psycopg": {"connect_args": {"prepare_threshold": None}},
        "asyncpg": {
            "connect_args": {
                "statement_cache_size": 0,
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": lambda: f"fine_tuning_store_{uuid4()}",
            },
            "poolclass": NullPool,
        },
    }

    def prepare_engine(self, engine: Engine) -> None:
        """Give psycopg's connections a cursor class that describes results on demand, and asyncpg the error of other drivers.

        asyncpg raises its own exceptions, or the system's, if it cannot connect, which SQLAlchemy does not wrap.
        """
        if engine.dialect.driver == "asyncpg":
            event.listen(engine, "do_connect", _connect_asyncpg)
        else:
            event.listen(engine, "connect", _describe_on_demand)

    def prepare_read_only_engine(self, engine: Engine) -> None:
        """Begin each transaction with READ ONLY. Every driver can, and no pooler minds: it is not a setting of the session."""
        super().prepare_read_only_engine(engine)
        dialect: Any = engine.dialect
        event.listen(engine, "connect", lambda connection, _: dialect.set_readonly(connection, True))

    def is_read_only(self, connection: Connection) -> bool:
        """True on a standby as well: its transactions are all READ ONLY."""
        return bool(connection.scalar(text("SELECT current_setting('transaction_read_only') = 'on'")))

    def is_in_autocommit(self, connection: Connection) -> bool:
        """Return the driver's setting; for asyncpg, which has none, SQLAlchemy's."""
        driver_connection: Any = connection.connection.dbapi_connection
        return bool(driver_connection.autocommit)

    def refuse_failed_transaction(self, connection: Connection) -> None:
        """Raise the driver's error if an earlier error has ended the transaction. psycopg knows its status without a round trip."""
        info = getattr(connection.connection.driver_connection, "info", None)
        if info is None or info.transaction_status.name == "INERROR":
            connection.exec_driver_sql("SELECT 1")

    def insert_unless_taken(self, table: Table) -> Insert:
        """INSERT ... ON CONFLICT DO NOTHING."""
        from sqlalchemy.dialects.postgresql import insert  # loaded by the engine; importing it for other databases would take 50 ms

        return insert(table).on_conflict_do_nothing()

    def error_code(self, error: BaseException) -> str | None:
        """Return the SQLSTATE."""
        found = driver_exception(error)
        return getattr(found, "sqlstate", None) or getattr(found, "pgcode", None)

    def is_duplicate(self, error: BaseException) -> bool:
        """unique_violation."""
        return self.error_code(error) == "23505"

    def is_referenced(self, error: BaseException) -> bool:
        """foreign_key_violation, restrict_violation."""
        return self.error_code(error) in ("23503", "23001")

    def is_retryable(self, error: BaseException) -> bool:
        """serialization_failure, deadlock_detected."""
        return self.error_code(error) in ("40001", "40P01")

    def is_permission_error(self, error: BaseException) -> bool:
        """insufficient_privilege."""
        return self.error_code(error) == "42501"


def _connect_asyncpg(dialect: Any, _: object, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    dbapi = dialect.dbapi
    try:
        return dialect.connect(*arguments, **options)
    except (OSError, dbapi.asyncpg.PostgresError, dbapi.asyncpg.InterfaceError, dbapi.Error) as error:
        raise dbapi.OperationalError(str(error) or type(error).__name__, error) from error


def _describe_on_demand(dbapi_connection: Any, _: object) -> None:
    connection = getattr(dbapi_connection, "driver_connection", dbapi_connection)
    if type(connection).__module__.partition(".")[0] == "psycopg":
        connection.cursor_factory = _describing_on_demand(connection.cursor_factory)


class _Description(Sequence[Any]):
    """The description of a result, made when it is read.

    SQLAlchemy asks every result whether it has a description, and reads only that of a statement's first result. psycopg makes an
    object per column each time, which takes a tenth of the time of a read.
    """

    def __init__(self, cursor: Any, length: int) -> None:
        self._cursor = cursor
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        return self._cursor.full_description[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor.full_description)


@cache
def _describing_on_demand(kind: type[Any]) -> type[Any]:
    """Return a subclass of a cursor class of psycopg, sync or async, that describes its results on demand."""

    class Cursor(kind):  # type: ignore[misc]
        @property
        def description(self) -> _Description | None:
            result = self.pgresult
            return _Description(self, result.nfields) if result and result.nfields else None

        @property
        def full_description(self) -> Any:
            return super().description

    return Cursor


POSTGRESQL: Final = PostgreSQL()

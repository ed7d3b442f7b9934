"""PostgreSQL, with the peculiarities of psycopg, psycopg2 and asyncpg."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import URL, Connection, Dialect, Engine, Table, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool
from sqlalchemy.sql.dml import Insert

from fine_tuning_store.sql.dialects import libpq
from fine_tuning_store.sql.dialects.base import Database, driver_exception, is_pooled, run_on
from fine_tuning_store.sql.timeouts import LOCK_TIMEOUT, Timeouts, keepalive, limit_silence

#: PQTRANS_INERROR of libpq. psycopg has it as a member of an IntEnum, psycopg2 as a number.
_IN_ERROR: Final = 3


class PostgreSQL(Database):
    """PostgreSQL, with psycopg, psycopg2 or asyncpg."""

    name = "postgresql"
    driver = "psycopg"
    async_driver = "asyncpg"
    drivers = frozenset({"psycopg", "psycopg2", "asyncpg"})
    extras = {"psycopg": "postgresql", "psycopg2": "psycopg2"}  # noqa: RUF012 - a constant, and never changed
    has_schemas = True
    writes_in_ctes = True
    aggregates_percentiles = True
    commits_single_statements = True
    rollback_discards_prepared_statements = True
    errors_end_transactions = True
    #: The server changes from transaction to transaction: no statement can stay prepared on it, and no name may be used twice.
    pooler_options = {  # noqa: RUF012 - a constant, and never changed
        "psycopg": {"connect_args": {"prepare_threshold": None}},
        "psycopg2": {},  # it prepares nothing
        "asyncpg": {
            "connect_args": {
                "statement_cache_size": 0,
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": lambda: f"fine_tuning_store_{uuid4()}",
            },
            "poolclass": NullPool,
        },
    }

    def connect_arguments(self, url: URL, dialect: type[Dialect]) -> tuple[URL, dict[str, Any]]:
        """Translate libpq's parameters."""
        return libpq.connect_arguments(url, dialect)

    def prepare_engine(self, engine: Engine, timeouts: Timeouts) -> None:
        """Limit how long each connection waits, leave a server that became a standby, and mend two things of the drivers.

        psycopg's connections get a cursor class that describes results on demand. asyncpg gets the errors of the other drivers. If it
        cannot connect, it raises its own exceptions, or the system's, which SQLAlchemy does not wrap. For a lost connection it has several.
        """
        if engine.dialect.driver == "asyncpg":
            # A pool closes its idle connections one after the other: together they take as long as the network may be silent.
            closing = timeouts.network / (engine.pool.size() if isinstance(engine.pool, QueuePool) else 1)
            event.listen(engine, "do_connect", partial(_connect_asyncpg, timeouts, closing))
            event.listen(engine, "handle_error", _lost_connection)
        else:
            event.listen(engine, "do_connect", partial(_limit_libpq, timeouts))
            event.listen(engine, "connect", _describe_on_demand)
        event.listen(engine, "handle_error", self.leave_read_only_server)
        if not is_pooled(engine):
            event.listen(engine, "connect", partial(_limit_locks, timeouts.lock))

    def begin_write(self, connection: Connection) -> None:
        """Limit the waits for locks in this transaction, if the next one may run in another session of the server."""
        seconds = connection.get_execution_options().get(LOCK_TIMEOUT)
        if seconds is not None and is_pooled(connection):
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_lock_timeout(seconds)}")

    def prepare_read_only_engine(self, engine: Engine, timeouts: Timeouts) -> None:
        """Begin each transaction with READ ONLY. Every driver can, and no pooler minds: it is not a setting of the session."""
        super().prepare_read_only_engine(engine, timeouts)
        event.remove(engine, "handle_error", self.leave_read_only_server)  # here a refused write is the caller's mistake
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
        """Raise the driver's error if an earlier error has ended the transaction. libpq knows its status without a round trip."""
        info = getattr(connection.connection.driver_connection, "info", None)
        if info is None or info.transaction_status == _IN_ERROR:
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

    def is_busy(self, error: BaseException) -> bool:
        """lock_not_available."""
        return self.error_code(error) == "55P03"

    def refuses_writes(self, error: BaseException) -> bool:
        """read_only_sql_transaction."""
        return self.error_code(error) == "25006"

    def is_permission_error(self, error: BaseException) -> bool:
        """insufficient_privilege."""
        return self.error_code(error) == "42501"


def _lock_timeout(seconds: float) -> int:
    """Return a lock_timeout in milliseconds with which a statement that needs a row gives up within so many seconds.

    The limit is for a single wait, and there can be two: for the other statements that wait for the same row, then for its holder.
    """
    return math.ceil(seconds * 1000 / 2)


def _limit_locks(seconds: float, dbapi_connection: Any, _: object) -> None:
    run_on(dbapi_connection, f"SET lock_timeout = {_lock_timeout(seconds)}")
    dbapi_connection.commit()


def _limit_libpq(timeouts: Timeouts, _dialect: object, _record: object, _arguments: object, options: dict[str, Any]) -> None:
    for name, value in {"connect_timeout": math.ceil(timeouts.connect), **keepalive(timeouts.network)}.items():
        options.setdefault(name, value)


def _connect_asyncpg(
    timeouts: Timeouts, closing: float, dialect: Any, _: object, arguments: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    dbapi, asyncpg = dialect.dbapi, dialect.dbapi.asyncpg
    tcp = {name: options[name] for name in libpq.TCP if name in options}
    others = {name: value for name, value in options.items() if name not in tcp}
    limits = {"timeout": timeouts.connect, "connection_class": _closing_within(closing, asyncpg.Connection)}
    try:
        connection = _connect_to_one_host(dialect, arguments, {**limits, **others})
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, dbapi.Error) as error:
        raise dbapi.OperationalError(str(error) or type(error).__name__, error) from error
    # asyncpg has no public name for its socket, and no option for what is set here.
    limit_silence(connection.driver_connection._transport.get_extra_info("socket"), timeouts.network, **tcp)
    return connection


def _connect_to_one_host(dialect: Any, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """Connect to the first of several hosts that is suitable. asyncpg's timeout is for all of them, libpq's for each.

    So after a timeout the host that was tried first is tried last.
    """
    hosts = options.get("host")
    for _ in range(len(hosts) - 1 if isinstance(hosts, list) else 0):
        try:
            return dialect.connect(*arguments, **options)
        except TimeoutError:
            options |= {name: options[name][1:] + options[name][:1] for name in ("host", "port") if isinstance(options.get(name), list)}
    return dialect.connect(*arguments, **options)


@cache
def _closing_within(seconds: float, kind: type[Any]) -> type[Any]:
    """Return a subclass of asyncpg's connection whose `close` does not wait for ever for the server to confirm it."""

    class Connection(kind):  # type: ignore[misc]
        def close(self, *, timeout: float | None = None) -> Any:
            return super().close(timeout=seconds if timeout is None else timeout)

    return Connection


def _lost_connection(context: ExceptionContext) -> OperationalError | None:
    """Return the error for a lost connection, also one that was lost before it was ready (connection_exception)."""
    error = context.sqlalchemy_exception
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    if not context.is_disconnect and not str(POSTGRESQL.error_code(error)).startswith("08"):
        return None
    return OperationalError(error.statement, error.params, error.orig, error.hide_parameters, connection_invalidated=True)


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

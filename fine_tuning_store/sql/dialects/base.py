"""The interface of a database at run time, with the defaults that most databases share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from sqlalchemy import URL, Connection, Dialect, Engine, Table
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.sql.dml import Insert

from fine_tuning_store.errors import EngineConfigurationError, UnsupportedDatabaseError
from fine_tuning_store.sql.pools import AsyncForkedPool, ForkedPool
from fine_tuning_store.sql.timeouts import Timeouts

#: Execution option of an engine behind a transaction pooler, where each transaction may run in another session of the server.
TRANSACTION_POOLER: Final[Mapping[str, Any]] = {"fine_tuning_store_transaction_pooler": True}


def is_pooled(engine: Engine | Connection) -> bool:
    """Return True if each transaction may run in another session of the server."""
    return TRANSACTION_POOLER.items() <= engine.get_execution_options().items()


def run_on(dbapi_connection: Any, statement: str) -> None:
    """Execute a statement that returns nothing on a connection of a driver."""
    cursor = dbapi_connection.cursor()
    cursor.execute(statement)
    cursor.close()


def require_port(port: int) -> None:
    """Raise EngineConfigurationError unless TCP has a port of this number. Some drivers raise errors of their own, at the first call."""
    if not 0 < port < 65_536:
        raise EngineConfigurationError("the URL's port must be a whole number from 1 to 65535")


def driver_exception(error: BaseException) -> Any:
    """Return the driver's own exception of an error of SQLAlchemy, or the error itself if it is not one.

    SQLAlchemy 2.1 names it `driver_exception`. In 2.0 it is `orig`; its async dialects wrap some exceptions once more, with the
    driver's own as the cause.
    """
    found: Any = getattr(error, "driver_exception", None) or getattr(error, "orig", None)
    if found is None:
        return error
    is_wrapped = found.__cause__ is not None and type(found).__module__.startswith("sqlalchemy.")
    return found.__cause__ if is_wrapped else found


class Database(ABC):
    """A supported database. Methods that take an error accept one of SQLAlchemy's or of the driver's."""

    #: The database's name in URLs and messages.
    name: ClassVar[str]
    #: The sync and the async driver of a URL that names none.
    driver: ClassVar[str]
    async_driver: ClassVar[str]
    #: The names of all supported drivers, as dialects have them.
    drivers: ClassVar[frozenset[str]]
    #: The extras of this package that install drivers, besides `aio`; none if Python brings the sync driver.
    extras: ClassVar[Mapping[str, str]] = {}
    #: True if a URL must name a database because the server has no default one.
    needs_database: ClassVar[bool] = False
    #: Arguments of create_engine behind a transaction pooler, by driver.
    pooler_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    #: False if the database is a library in this process: no response is under way on its connections.
    has_server: ClassVar[bool] = True
    #: True if `begin` and `begin_write` begin transactions, instead of the driver.
    begins_transactions: ClassVar[bool] = False
    #: Execution options of transactions that only read.
    read_options: ClassVar[Mapping[str, Any]] = {}
    #: Execution options of transactions all of whose statements read the database as of one moment.
    snapshot_options: ClassVar[Mapping[str, Any]] = {"isolation_level": "REPEATABLE READ"}
    #: True if a single statement runs in autocommit mode, which saves the round trips of BEGIN and COMMIT.
    commits_single_statements: ClassVar[bool] = False
    #: True if ROLLBACK makes the driver discard its prepared statements. Read-only transactions then commit.
    rollback_discards_prepared_statements: ClassVar[bool] = False
    #: True if an error ends the transaction: every statement after it fails, unless the failed one ran in a SAVEPOINT.
    errors_end_transactions: ClassVar[bool] = False

    #: True if one database can hold the store's tables several times, in schemas.
    has_schemas: ClassVar[bool] = False
    #: True if ON DELETE CASCADE always applies. On SQLite it depends on the connection.
    enforces_foreign_keys: ClassVar[bool] = True
    #: True if one statement can insert into several tables by common table expressions.
    writes_in_ctes: ClassVar[bool] = False
    #: True if a statement locks the row of a key before it looks at its other conditions, so that it waits for rows it would not match.
    locks_before_filtering: ClassVar[bool] = False
    #: True if `percentile_cont` is an aggregate that computes several percentiles at once.
    aggregates_percentiles: ClassVar[bool] = False

    def require_supported(self, dialect: Dialect | type[Dialect]) -> None:
        """Raise UnsupportedDatabaseError unless the dialect's driver is supported."""
        if dialect.driver not in self.drivers:
            raise UnsupportedDatabaseError(
                f"the driver {dialect.driver!r} is not supported: use {self.name}+{self.driver}:// or, in an async store, "
                f"{self.name}+{self.async_driver}://"
            )

    def is_in_memory(self, url: URL) -> bool:  # noqa: ARG002 - for subclasses
        """Return True if the database of the URL is deleted with its last connection."""
        return False

    @abstractmethod
    def connect_arguments(self, url: URL, dialect: type[Dialect]) -> tuple[URL, dict[str, Any]]:
        """Return the URL with the parameters that SQLAlchemy passes to the driver, and what else its connect() needs.

        Raises:
            EngineConfigurationError: A parameter is not possible. The message names it, and contains no value.
        """

    def sole_writer_of(self, url: URL) -> object:  # noqa: ARG002 - for subclasses
        """Return what only one transaction at a time can write to, the same for all URLs that lead to it; None if several can write."""
        return None

    def engine_options(self, url: URL, dialect: type[Dialect]) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return the arguments of create_engine for the URL."""
        return {"poolclass": AsyncForkedPool if dialect.is_async else ForkedPool}

    @abstractmethod
    def prepare_engine(self, engine: Engine, timeouts: Timeouts) -> None:
        """Configure each new connection of the engine."""

    def prepare_read_only_engine(self, engine: Engine, timeouts: Timeouts) -> None:
        """Configure each new connection of the engine like `prepare_engine`, and so that the database refuses every write on it.

        Raises:
            UnsupportedDatabaseError: The database of the engine cannot be read-only.
        """
        self.prepare_engine(engine, timeouts)

    @abstractmethod
    def is_read_only(self, connection: Connection) -> bool:
        """Return True if the database refuses every write on the connection, or is a standby or a read replica."""

    def begin(self, connection: Connection) -> None:  # noqa: B027 - most drivers begin transactions themselves
        """Begin a transaction that may read or write."""

    def begin_write(self, connection: Connection) -> None:  # noqa: B027 - most drivers begin transactions themselves
        """Begin a transaction that writes."""

    def before_commit(self, connection: Connection) -> None:  # noqa: B027 - most databases cannot lose their files
        """Raise DatabaseUnreachableError if what a COMMIT on the connection writes would be lost."""

    def begin_write_in_host(self, connection: Connection) -> None:
        """Begin a write in a transaction of the host, before the first statement that decides on it.

        Some drivers begin a transaction only at its first change, so that what was read before could be outdated by then.

        Raises:
            EngineConfigurationError: The connection commits each statement by itself.
        """
        self.refuse_autocommit(connection)

    def refuse_autocommit(self, connection: Connection) -> None:
        """Raise EngineConfigurationError if the connection commits each statement by itself, so that no transaction would be atomic."""
        if not self.begins_transactions and self.is_in_autocommit(connection):
            raise EngineConfigurationError(
                "this engine or connection is in AUTOCOMMIT mode, in which no transaction is atomic: use one with another isolation level"
            )

    def refuse_private_database(self, connection: Connection) -> None:  # noqa: B027 - for databases without a server
        """Raise EngineConfigurationError if the database is deleted when the connection is returned to the pool."""

    @abstractmethod
    def is_in_autocommit(self, connection: Connection) -> bool:
        """Return True if the driver commits each statement by itself. SQLAlchemy can tell only since 2.0.43."""

    def refuse_failed_transaction(self, connection: Connection) -> None:  # noqa: B027 - for databases whose errors end transactions
        """Raise the driver's error if an earlier error has ended the transaction. PostgreSQL turns its COMMIT into a silent ROLLBACK."""

    @abstractmethod
    def insert_unless_taken(self, table: Table) -> Insert:
        """Return an INSERT that skips rows whose key is taken, or a plain one, which fails, if the database has no such statement."""

    @abstractmethod
    def error_code(self, error: BaseException) -> object:
        """Return the database's code of an error, for messages and logs."""

    @abstractmethod
    def is_duplicate(self, error: BaseException) -> bool:
        """Return True if a key is taken."""

    @abstractmethod
    def is_referenced(self, error: BaseException) -> bool:
        """Return True if a foreign key forbids a DELETE."""

    @abstractmethod
    def is_retryable(self, error: BaseException) -> bool:
        """Return True if the whole transaction was rolled back because of another one, and may run again."""

    @abstractmethod
    def is_busy(self, error: BaseException) -> bool:
        """Return True if a lock was not free within the time that the connection waits for one."""

    @abstractmethod
    def refuses_writes(self, error: BaseException) -> bool:
        """Return True if the error says that nothing can be written on the connection, or with its user."""

    def leave_read_only_server(self, context: ExceptionContext) -> None:
        """Give up the pool's connections when a write is refused: their server was the primary, and may have become a standby."""
        if self.refuses_writes(context.original_exception):
            context.is_disconnect = True

    def is_permission_error(self, error: BaseException) -> bool:  # noqa: ARG002 - for subclasses
        """Return True if the user lacks a privilege."""
        return False

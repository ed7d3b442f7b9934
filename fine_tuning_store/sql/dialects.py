"""What differs between the databases, one row of traits each. Nobody else asks a dialect for its name (a test greps for it)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, Table, insert
from sqlalchemy.sql.dml import Insert

from fine_tuning_store.errors import UnsupportedDatabaseError
from fine_tuning_store.sql import asyncpg_recipe, catalog_queries, psycopg_recipe, sqlite_recipe
from fine_tuning_store.sql.foreign_keys import sqlite_foreign_keys_off
from fine_tuning_store.sql.migration_lock import (
    MigrationLock,
    by_sessions,
    is_alone,
    is_one_postgresql_session,
    session_lock,
    sqlite_lock,
    transaction_lock,
)
from fine_tuning_store.sql.settings import Setting, in_each_transaction, in_session
from fine_tuning_store.sql.models import VERSION_TABLE, jobs
from fine_tuning_store.sql.waiting import LOCK_WAIT_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traits:
    """How one database is used."""

    name: str
    driver: str  #: the sync driver for a URL that names none
    async_driver: str  #: the async one
    needs_database: bool = False  #: whether a URL must name a database: there is no default one
    is_in_memory: Callable[[URL], bool] = lambda _: False  #: whether the database of a URL is gone with its last connection
    extra: str | None  #: the extra of this package that installs it
    engine_options: Callable[[URL, type[Dialect]], dict[str, Any]]
    pooled_options: Mapping[str, dict[str, Any]] = field(default_factory=dict)  #: by driver, those for a pooler of transactions
    prepare_engine: Callable[[Engine], None] = lambda _: None
    begin_write: Callable[[Connection], None] | None = None  #: what opens a writing transaction beyond the driver's own BEGIN
    begin: Callable[[Connection], None] | None = None  #: the same for transactions of which nobody knows what they will do
    read_options: Mapping[str, Any] = field(default_factory=dict)  #: execution options of transactions that only read
    reads_in_autocommit: bool = False  #: whether the driver is told to send no BEGIN before a single read
    keeps_what_commits: bool = False  #: whether a rollback costs the driver its prepared statements, also of a transaction that only read
    has_schemas: bool = False  #: whether one database may hold our tables several times, in schemas
    enforces_foreign_keys: bool = True  #: whether a child row always goes with its parent; on SQLite a connection decides
    writes_in_ctes: bool = False  #: whether one statement may insert into several tables
    insert_unless_taken: Callable[[Table], Insert]  #: an INSERT that skips taken keys; a plain one, which fails, where there is none
    code_of: Callable[[Any], object]  #: the database's code for a driver's error, to be shown
    advice: Callable[[Any, URL], str] = lambda *_: ""  #: what to do about a driver's error that ends an attempt to connect, to be added
    is_duplicate: Callable[[Any], bool]  #: whether a driver's error says that a key is taken
    is_forbidden: Callable[[Any], bool] = lambda _: False  #: whether a driver's error says that the user has no right to what it did
    is_referenced: Callable[[Any], bool]  #: whether a driver's error says that a foreign key forbids a delete
    errors_end_transactions: bool = False  #: whether a refused statement refuses all that follow it, unless it ran in a SAVEPOINT
    may_run_again: Callable[[Any], bool]  #: whether a driver's error means that the whole transaction was undone and may be run again
    migration_lock: MigrationLock
    setting: Setting = lambda *_: nullcontext()  #: how a migration sets what follows, for itself alone
    lock_waits: Mapping[str, str] = field(default_factory=dict)  #: settings that limit how long it waits for a table that others use
    stop_writers: str | None = None  #: a statement after which nobody else adds a job until the transaction ends
    tables_elsewhere: str | None = None  #: a query for the schema of our tables that are found, but not where new ones would be made
    scripts_in_transactions: bool | None = None  #: whether SQL for a DBA begins and ends them; None for what Alembic thinks
    outlives_connections: bool = True  #: whether a database is still there when its last connection is closed
    may_migrate_again: Callable[[Any], bool] = lambda _: False  #: whether a revision that this driver's error ended may be tried again
    migration_options: Mapping[str, Any] = field(default_factory=dict)  #: execution options of a connection that migrates
    foreign_keys_off: Callable[[Connection], AbstractContextManager[None]] = lambda _: nullcontext()  #: where a rebuild needs it
    column_types: str | None = None  #: a query for the columns and their types, where SQLAlchemy's reflection leaves some of it out
    facts: str  #: a query for whatever else reflection leaves out of the catalog, in words
    reflects_indexes: bool = True  #: whether reflection tells of the indexes at all
    index_prefixes: bool = False  #: whether an index holds no more than the beginning of a long text


def traits_of(name: str) -> Traits:
    """The traits of a database by its SQLAlchemy name. Raises UnsupportedDatabaseError for one that is none of ours."""
    try:
        return TRAITS[name]
    except KeyError:
        raise UnsupportedDatabaseError(
            f"{name!r} is not supported: use a sqlite:///file.db, postgresql:// or mariadb:// database"
        ) from None


def refuse_autocommit(connection: Connection) -> None:
    """Raise UnsupportedDatabaseError for a host's engine that commits every statement by itself: nothing of ours would be whole."""
    by_driver = traits_of(connection.dialect.name).begin_write is None  # else it makes a transaction where the driver makes none
    if by_driver and _in_autocommit(connection):
        raise UnsupportedDatabaseError("this engine or connection is in AUTOCOMMIT mode: give one whose transactions are whole")


def begin_write_in_host(connection: Connection) -> None:
    """Begin a host's transaction where its driver would do so at our first change only, and not before what decides on that change."""
    begin_write = traits_of(connection.dialect.name).begin_write
    if begin_write is None:
        refuse_autocommit(connection)
    elif not _in_autocommit(connection):
        begin_write(connection)


def refuse_failed(connection: Connection) -> None:
    """Raise the driver's error if an error has ended the transaction: PostgreSQL would answer the COMMIT with a silent ROLLBACK."""
    if not psycopg_recipe.knows_that_it_goes_on(connection):
        connection.exec_driver_sql("SELECT 1")


def _in_autocommit(connection: Connection) -> bool:
    driver_connection = connection.connection.dbapi_connection
    assert driver_connection is not None
    return connection.dialect.detect_autocommit_setting(driver_connection)


def _insert_do_nothing(dialect: str) -> Callable[[Table], Insert]:
    def build(table: Table) -> Insert:
        make = import_module(f"sqlalchemy.dialects.{dialect}").insert  # loaded by then, with the engine
        return make(table).on_conflict_do_nothing()  # type: ignore[no-any-return]

    return build


def _sqlstate(error: Any) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def _errno(error: Any) -> object:
    return getattr(error, "errno", None) or (error.args[0] if error.args else None)


#: Codes of a transaction that was undone for another one.
_PG_UNDONE, _MARIADB_UNDONE = ("40001", "40P01"), (1213, 1205, 1020)

#: A host's engine may have another level, in which a migration would not see what others commit, or commit each statement.
_READ_COMMITTED = {"isolation_level": "READ COMMITTED"}


def _galera_lock(connection: Connection, seconds: float) -> AbstractContextManager[None]:
    from fine_tuning_store.sql.migration_lease import lease_lock  # few need it, and its table takes time to make

    return lease_lock(is_race=lambda error: _errno(error) in (*_MARIADB_UNDONE, 1050, 1062, 1146, 1412))(connection, seconds)


_SQLITE = Traits(
    name="sqlite",
    driver="pysqlite",
    async_driver="aiosqlite",
    extra=None,
    engine_options=sqlite_recipe.engine_options,
    prepare_engine=sqlite_recipe.prepare_engine,
    begin_write=sqlite_recipe.begin_write,
    begin=sqlite_recipe.begin,
    enforces_foreign_keys=False,
    read_options=sqlite_recipe.READ_ONLY,
    insert_unless_taken=_insert_do_nothing("sqlite"),
    code_of=lambda error: getattr(error, "sqlite_errorname", None),
    advice=sqlite_recipe.advice,
    is_in_memory=sqlite_recipe.is_in_memory,
    is_duplicate=lambda error: getattr(error, "sqlite_errorname", "") in ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"),
    is_referenced=lambda error: str(error) == "FOREIGN KEY constraint failed",  # its code is that of a trigger where it says RESTRICT
    may_run_again=sqlite_recipe.is_busy,
    migration_lock=sqlite_lock,
    scripts_in_transactions=True,
    outlives_connections=False,  # one in memory is not
    foreign_keys_off=sqlite_foreign_keys_off,
    facts=catalog_queries.SQLITE,
    reflects_indexes=False,
)
_PG_KEY = f"hashtextextended('{VERSION_TABLE}.' || coalesce(current_schema(), ''), 0)"
_PG_HOLDER = (
    "concat('PostgreSQL process ', pid, ' (application ' || nullif(application_name, '') || ')') "
    "FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
    "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (classid::bigint << 32 | objid::bigint) = :key"
)
_POSTGRESQL = Traits(
    name="postgresql",
    driver="psycopg",
    async_driver="asyncpg",
    extra="postgresql",
    engine_options=lambda *_: {},
    pooled_options={"psycopg": psycopg_recipe.POOLED, "asyncpg": asyncpg_recipe.POOLED},
    prepare_engine=psycopg_recipe.prepare_engine,
    reads_in_autocommit=True,
    keeps_what_commits=True,
    has_schemas=True,
    writes_in_ctes=True,
    insert_unless_taken=_insert_do_nothing("postgresql"),
    code_of=_sqlstate,
    is_duplicate=lambda error: _sqlstate(error) == "23505",
    is_forbidden=lambda error: _sqlstate(error) == "42501",
    is_referenced=lambda error: _sqlstate(error) in ("23503", "23001"),
    errors_end_transactions=True,
    may_run_again=lambda error: _sqlstate(error) in _PG_UNDONE,
    setting=in_each_transaction,
    lock_waits={"lock_timeout": f"{LOCK_WAIT_SECONDS * 1000 + 100}ms"},  # after a second PostgreSQL sends an autovacuum away
    stop_writers=f"LOCK TABLE {jobs.name} IN SHARE ROW EXCLUSIVE MODE",
    tables_elsewhere=(
        "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE pg_class.oid IN (to_regclass(:version_table), to_regclass(:compatibility)) AND nspname <> current_schema()"
    ),
    may_migrate_again=lambda error: _sqlstate(error) in (*_PG_UNDONE, "55P03"),
    migration_options=_READ_COMMITTED,
    migration_lock=by_sessions(
        is_one_postgresql_session,
        session_lock(_PG_KEY, "pg_try_advisory_lock(:key)", "pg_advisory_unlock(:key)", _PG_HOLDER),
        transaction_lock(_PG_KEY, "pg_try_advisory_xact_lock(:key)", _PG_HOLDER),
    ),
    facts=catalog_queries.POSTGRESQL,
)
_MARIADB = Traits(
    name="mariadb",
    driver="pymysql",
    async_driver="aiomysql",
    needs_database=True,
    extra="mariadb",
    engine_options=lambda *_: dict(_READ_COMMITTED),
    insert_unless_taken=insert,
    code_of=_errno,
    is_duplicate=lambda error: _errno(error) == 1062,
    is_forbidden=lambda error: _errno(error) in (1044, 1142, 1143),
    is_referenced=lambda error: _errno(error) in (1451, 1217),
    may_run_again=lambda error: _errno(error) in _MARIADB_UNDONE,
    setting=in_session,
    lock_waits=dict.fromkeys(("lock_wait_timeout", "innodb_lock_wait_timeout"), str(LOCK_WAIT_SECONDS)),
    may_migrate_again=lambda error: _errno(error) in _MARIADB_UNDONE,
    migration_options=_READ_COMMITTED,
    migration_lock=by_sessions(
        is_alone,
        session_lock(
            name=f"concat('{VERSION_TABLE}.', md5(database()))",
            attempt="get_lock(:key, 0)",
            release="release_lock(:key)",
            holder="concat('MariaDB connection ', is_used_lock(:key))",
        ),
        _galera_lock,
    ),
    column_types=catalog_queries.MARIADB_TYPES,
    facts=catalog_queries.MARIADB,
    index_prefixes=True,
)
TRAITS: Mapping[str, Traits] = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL, "mariadb": _MARIADB, "mysql": _MARIADB}

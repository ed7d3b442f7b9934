"""How sqlite3 and aiosqlite control transactions: by `isolation_level` or, since Python 3.12, by the attribute `autocommit`.

If `autocommit` is False, the driver begins a transaction at once, and after each COMMIT and ROLLBACK. If it is True, its commit() and
rollback() do nothing.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from fine_tuning_store.errors import EngineConfigurationError

_LEGACY_TRANSACTION_CONTROL: Final = -1  # sqlite3 has the name since Python 3.12


def in_transaction(connection: Connection) -> bool:
    """Return True if SQLite itself, not only SQLAlchemy, has begun a transaction."""
    driver_connection: Any = connection.connection.driver_connection
    return bool(driver_connection.in_transaction)


def driver_autocommit(connection: Connection) -> bool | None:
    """Return the attribute `autocommit`, None if transactions are controlled by `isolation_level`."""
    return _autocommit(connection.connection.driver_connection)


def refuse_autocommit_attribute(connection: Connection) -> None:
    """Raise EngineConfigurationError if `autocommit` is True."""
    if driver_autocommit(connection):
        raise EngineConfigurationError(
            "this engine's driver has autocommit=True, with which it never ends a transaction: leave autocommit out of connect_args, "
            "or use autocommit=False"
        )


def require_transaction(connection: Connection) -> None:
    """Raise EngineConfigurationError unless SQLite has begun the transaction of a connection, on which the driver sends no BEGIN."""
    if not connection.in_transaction():
        connection.exec_driver_sql("SELECT 1")  # SQLAlchemy begins its transaction, and calls the listeners that send BEGIN
    if not in_transaction(connection):
        raise EngineConfigurationError(
            "this engine or connection is in autocommit mode (isolation_level), in which SQLite commits each statement by itself: leave "
            "isolation_level out, or call prepare_sqlite_engine(engine) right after create_engine"
        )


def _autocommit(driver_connection: Any) -> bool | None:
    autocommit = getattr(getattr(driver_connection, "_conn", driver_connection), "autocommit", None)  # aiosqlite shows it nowhere else
    return autocommit if isinstance(autocommit, bool) else None


def disable_autocommit_attribute(driver_connection: Any) -> None:
    """Let `isolation_level` control the transactions of a driver's connection. Undoes what is not committed.

    Raises EngineConfigurationError with aiosqlite, on whose connections the attribute cannot be set.
    """
    if _autocommit(driver_connection) is None:
        return
    if not hasattr(driver_connection, "autocommit"):
        raise EngineConfigurationError("aiosqlite cannot have autocommit= in connect_args here: leave it out")
    driver_connection.autocommit = _LEGACY_TRANSACTION_CONTROL
    driver_connection.rollback()

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

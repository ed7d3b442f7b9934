"""Errors of a store: its transactions, its connections, its engine and its data."""

from __future__ import annotations

from collections.abc import Iterable

from fine_tuning_store.errors.base import FineTuningStoreError


class UnitAlreadyOpenError(FineTuningStoreError):
    """A store was called inside an open unit of work of its own, or to write inside a transaction that writes to the same SQLite file.

    On SQLite such a call would wait for itself.
    """

    def __str__(self) -> str:
        return (
            "a unit of this store, or of another one on the same SQLite file, or a transaction of yours on that file is open in this task: "
            "call its repositories (unit.jobs ..., FineTuningJobRepository(session)) instead of the store's, or end it first"
        )


class UnitEndedError(FineTuningStoreError):
    """A unit of work was used after its block, its transaction was ended inside the block by its connection, or the process was forked."""

    def __init__(self, reason: str = "has ended: use it inside its block only") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"this unit {self.reason}, and leave commit, rollback and close to it (not to unit.connection); outside of the block, call the "
            "store"
        )


class ReadOnlyStoreError(FineTuningStoreError):
    """A store was called to write that was opened with `read_only=True`, or whose database can only be read. Nothing was written."""

    def __init__(self, reason: str = "it was opened with read_only=True") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"this store cannot write: {self.reason}. Write through another store, for a replica through one on its primary"


class StoreBusyError(FineTuningStoreError):
    """A call waited too long for a lock that another transaction holds, or for a free connection. Nothing of its transaction was written.

    It can be repeated later. Stores that `from_url` opened raise it (see Timeouts).

    Attributes:
        waited_for: What was not free: `lock` or `connection`.
        seconds: The limit, in seconds.
    """

    def __init__(self, waited_for: str, seconds: float) -> None:
        super().__init__(waited_for, seconds)
        self.waited_for = waited_for
        self.seconds = seconds

    def __str__(self) -> str:
        if self.waited_for == "lock":
            return (
                f"another transaction holds a lock that this call needs and that was not free within {self.seconds:g} s: try again later. "
                "If it is one of this thread or task (a unit, Session or Connection), end it first, or make the call in it"
            )
        return (
            f"all connections of the store were in use for {self.seconds:g} s: try again later, or give it more by engine_options. If this "
            "thread or task holds one (a unit, store.engine.connect()), end that first"
        )


class OutcomeUnknownError(FineTuningStoreError):
    """The connection was lost during COMMIT, or during a statement that commits by itself, and the outcome could not be found out.

    Attributes:
        ids: The ids of what it wrote: of jobs, events, transitions, checkpoints and permissions, at most 100. Look for one of them, for
            example by `store.jobs.get`, to learn what happened: all of the transaction is stored, or nothing.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        super().__init__(tuple(ids))
        self.ids = tuple(self.args[0])

    def __str__(self) -> str:
        wrote = f"which wrote {', '.join(self.ids)}" if self.ids else "whose writes have no ids to look for"
        return (
            f"the connection was lost during COMMIT, and the outcome of the transaction, {wrote}, is unknown: read what is stored before "
            "you repeat it"
        )


class CorruptDataError(FineTuningStoreError):
    """A stored row has a value that no release writes, because the database is damaged or another program wrote it, or SQLite found damage.

    Attributes:
        table: The name of the table, None if SQLite found the damage.
        row_id: The id of the row in it, None if SQLite found the damage.
    """

    def __init__(self, table: str | None = None, row_id: str | None = None) -> None:
        super().__init__(table, row_id)
        self.table = table
        self.row_id = row_id

    def __str__(self) -> str:
        if self.table is None:
            return "the SQLite file is damaged, or is no database: restore a backup ('fine-tuning-store db check' lists the damage)"
        return (
            f"the row {self.row_id!r} of {self.table} cannot be read: a value in it is damaged, or was written by another program. "
            "Correct it, or restore a backup ('fine-tuning-store db check' looks for damage)"
        )


class DatabaseUnreachableError(FineTuningStoreError):
    """The command line cannot connect to its database, the SQLite file of a store cannot be opened, or it was replaced or deleted while it
    was open. The message says what to do.

    Other errors of connecting are the driver's.
    """


class UnsupportedDatabaseError(FineTuningStoreError):
    """The URL or engine names a database or a driver that is not supported, or not by this call. The message says what is."""


class MissingDriverError(FineTuningStoreError, ImportError):
    """The driver of the URL, or a package that it needs, is not installed. The message says what to install."""


class MissingExtraError(FineTuningStoreError, ImportError):
    """A package that the call needs is not installed. The message says which extra to install.

    Attributes:
        extra: The name of the extra.
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose}: pip install 'fine-tuning-store[{extra}]'")
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.extra, self.purpose)


class EngineConfigurationError(FineTuningStoreError):
    """An engine or a connection of the host, a parameter of a URL, or an engine option cannot be used. The message says what to change."""

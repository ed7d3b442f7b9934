"""Errors of migrations."""

from __future__ import annotations

from fine_tuning_store.errors.base import FineTuningStoreError


class SchemaVersionError(FineTuningStoreError):
    """The tables are missing, or older or newer than this release can use.

    Attributes:
        found: The schema number of the database, None if it has no tables of the store.
        needed: The schema number that this release was written for.
        oldest_code: The oldest release, by its schema number, that may use the tables, if this one is older.
        host_version_table: The version table of the application whose migrations make the tables, None if the store makes them.
        read_only: True if the store is read-only, so that it cannot migrate the tables.
    """

    def __init__(
        self,
        found: int | None,
        needed: int,
        oldest_code: int | None = None,
        host_version_table: str | None = None,
        read_only: bool = False,  # noqa: FBT002 - positional, as all arguments of errors, which pickle passes
    ) -> None:
        super().__init__(found, needed, oldest_code, host_version_table, read_only)
        self.found = found
        self.needed = needed
        self.oldest_code = oldest_code
        self.host_version_table = host_version_table
        self.read_only = read_only

    def __str__(self) -> str:
        if self.oldest_code is not None:
            return (
                f"the database is at schema {self.found}, which needs code of schema {self.oldest_code} or later, and this code is of "
                f"schema {self.needed}: install a newer fine-tuning-store"
            )
        state = "has no fine-tuning tables yet" if self.found is None else f"is at schema {self.found}"
        if self.host_version_table is not None:
            act = f"run 'alembic upgrade heads' in the application whose history is in {self.host_version_table!r}"
        elif self.read_only:
            act = "run 'fine-tuning-store db upgrade' on a database that accepts writes, for a replica on its primary"
        else:
            act = "call store.schema.upgrade() or run 'fine-tuning-store db upgrade'"
        return f"the database {state} and this code needs schema {self.needed}: {act}"


class SchemaConflictError(FineTuningStoreError):
    """The database contains something that a migration would overwrite, an unknown revision, or tables of another Alembic history.

    Or a migration was called inside a transaction of an application's Alembic.
    """


class SchemaLockTimeoutError(FineTuningStoreError):
    """Another process held the migration lock, or used a table, for longer than `lock_timeout`.

    Attributes:
        seconds: How long this process has waited.
        holder: The other process as the database names it, None if unknown.
    """

    def __init__(self, seconds: float, holder: str | None = None) -> None:
        super().__init__(seconds, holder)
        self.seconds = seconds
        self.holder = holder

    def __str__(self) -> str:
        who = self.holder or "another process"
        return f"{who} has been migrating, or using the tables, for {self.seconds:g} s: wait, or give a larger lock_timeout"

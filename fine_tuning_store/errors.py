"""The errors of this library.

Each says what happened, to which job, and what to do next. Its arguments are its attributes, so an error can be pickled and copied. Errors
of SQLAlchemy and of the drivers pass through unchanged.
"""

from __future__ import annotations

from typing import Any, Self

from fine_tuning_store.error_values import pickleable, shown


class FineTuningStoreError(Exception):
    """The base class of all errors of this library."""

    def __reduce__(self) -> tuple[Any, ...]:
        attributes = {name: pickleable(value) for name, value in vars(self).items()}
        return type(self), tuple(map(pickleable, self.args)), attributes

    def __copy__(self) -> Self:
        copy = type(self)(*self.args)
        vars(copy).update(vars(self))
        return copy


class JobNotFoundError(FineTuningStoreError):
    """There is no job with this id, or it belongs to another organization than that of the store."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"no fine-tuning job has the id {self.job_id!r}"


class JobAlreadyExistsError(FineTuningStoreError):
    """The id of an added job is taken, in this organization or another one. Nothing was written."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"a fine-tuning job with the id {self.job_id!r} is already stored"


class JobReferencedError(FineTuningStoreError):
    """A row of another table refers to the job by a foreign key, which forbids the delete. Nothing was deleted."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"cannot delete job {self.job_id!r}: a row of another table refers to it, so delete that row first"


class IllegalTransitionError(FineTuningStoreError):
    """The status of the job does not allow the call. The job is unchanged.

    Attributes:
        job_id: The id of the job.
        transition: The name of the method, such as `start`.
        status: The status of the job at that moment.
        allowed_from: The statuses that allow the call.
    """

    def __init__(self, job_id: str, transition: str, status: str, allowed_from: tuple[str, ...]) -> None:
        super().__init__(job_id, transition, status, allowed_from)
        self.job_id = job_id
        self.transition = transition
        self.status = status
        self.allowed_from = allowed_from

    def __str__(self) -> str:
        allowed = ", ".join(self.allowed_from)
        return f"cannot {self.transition} job {self.job_id!r}: it is {self.status}, and {self.transition} is allowed from: {allowed}"


class InvalidValueError(FineTuningStoreError, ValueError):
    """An argument, or a member of a payload, is not accepted. Nothing was written.

    Attributes:
        field: Its name in the API, for example `hyperparameters.n_epochs`.
        value: The value.
        rule: What is accepted.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(field, value, rule)
        self.field = field
        self.value = value
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.field}: {self.rule}, not {shown(self.value)}"


class CursorNotFoundError(FineTuningStoreError):
    """There is no row with the id `after` in this list. An empty page would look like the end of the list."""

    def __init__(self, after: str) -> None:
        super().__init__(after)
        self.after = after

    def __str__(self) -> str:
        return f"after={self.after!r} names no row of this list: start again without it"


class CheckpointNotFoundError(FineTuningStoreError):
    """No job has a checkpoint or a final model of this name, or it belongs to another organization than that of the store."""

    def __init__(self, fine_tuned_model_checkpoint: str) -> None:
        super().__init__(fine_tuned_model_checkpoint)
        self.fine_tuned_model_checkpoint = fine_tuned_model_checkpoint

    def __str__(self) -> str:
        return f"no job has a checkpoint or a model of the name {self.fine_tuned_model_checkpoint!r}"


class CheckpointPermissionNotFoundError(FineTuningStoreError):
    """There is no permission with this id, or it belongs to another organization than that of the store."""

    def __init__(self, permission_id: str) -> None:
        super().__init__(permission_id)
        self.permission_id = permission_id

    def __str__(self) -> str:
        return f"no checkpoint permission has the id {self.permission_id!r}"


class UnitAlreadyOpenError(FineTuningStoreError):
    """A store was called inside an open unit of work of its own, or to write inside one of another store on the same SQLite file.

    On SQLite such a call would wait for itself.
    """

    def __str__(self) -> str:
        return (
            "a unit of this store, or of another one on the same SQLite file, is open in this task: call its repositories (unit.jobs ...) "
            "instead of the store's"
        )


class UnitEndedError(FineTuningStoreError):
    """A unit of work was used after its block, or its transaction was ended inside the block by its connection."""

    def __str__(self) -> str:
        return (
            "this unit has ended: use it inside its block only, and leave commit, rollback and close to it (not to unit.connection); "
            "outside of the block, call the store"
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
    """The command line cannot connect to its database, a read-only store cannot read its SQLite file, or the SQLite file of a store was
    replaced or deleted while it was open. The message says what to do.

    Other errors of connecting are the driver's.
    """


class UnsupportedDatabaseError(FineTuningStoreError):
    """The URL or engine names a database or a driver that is not supported, or not by this call. The message says what is."""


class MissingDriverError(FineTuningStoreError, ImportError):
    """The driver of the URL, or a package that it needs, is not installed. The message says what to install."""


class EngineConfigurationError(FineTuningStoreError):
    """An engine or a connection of the host, a parameter of a URL, or an engine option cannot be used. The message says what to change."""


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

"""Every error that this library raises on purpose.

Each says what happened, to which job, and what to do about it. Its arguments are its attributes, so an error
survives pickling. What SQLAlchemy and the driver raise passes through untouched.
"""

from __future__ import annotations

import reprlib


class FineTuningStoreError(Exception):
    """The base of every error of this library."""


class JobNotFoundError(FineTuningStoreError):
    """No job has this id, or none that this store may see."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"no fine-tuning job has the id {self.job_id!r}"


class JobAlreadyExistsError(FineTuningStoreError):
    """The id of an added job is taken, here or in another organization. Nothing was written."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"a fine-tuning job with the id {self.job_id!r} is already stored"


class JobReferencedError(FineTuningStoreError):
    """A row of another table refers to the job by a foreign key that forbids the delete. Nothing was deleted."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"cannot delete job {self.job_id!r}: a row of another table refers to it, so delete that row first"


class IllegalTransitionError(FineTuningStoreError):
    """The job's status does not allow what was asked of it. The job is unchanged.

    `transition` is the verb of the call, `status` the job's status at that moment, `allowed_from` the statuses that allow the verb.
    """

    def __init__(self, job_id: str, transition: str, status: str, allowed_from: tuple[str, ...]) -> None:
        super().__init__(job_id, transition, status, allowed_from)
        self.job_id = job_id
        self.transition = transition
        self.status = status
        self.allowed_from = allowed_from

    def __str__(self) -> str:
        allowed = ", ".join(self.allowed_from)
        return f"cannot {self.transition} job {self.job_id!r}: it is {self.status}, and {self.transition} is legal from: {allowed}"


class InvalidValueError(FineTuningStoreError, ValueError):
    """An argument, or a member of a payload, breaks a rule. Nothing was written.

    `field` names it as the API does (`hyperparameters.n_epochs`), `rule` says what is accepted.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(field, value, rule)
        self.field = field
        self.value = value
        self.rule = rule

    def __str__(self) -> str:
        try:
            shown = reprlib.repr(self.value)
        except ValueError:  # an integer too long for Python to write out
            shown = f"that {type(self.value).__name__}"
        return f"{self.field}: {self.rule}, not {shown}"


class CursorNotFoundError(FineTuningStoreError):
    """`after` names no row that this store may see. An empty page would end the caller's walk without a word."""

    def __init__(self, after: str) -> None:
        super().__init__(after)
        self.after = after

    def __str__(self) -> str:
        return f"after={self.after!r} names no row of this list: start again without it"


class CheckpointNotFoundError(FineTuningStoreError):
    """No job that this store may see has a checkpoint or a final model of this name."""

    def __init__(self, fine_tuned_model_checkpoint: str) -> None:
        super().__init__(fine_tuned_model_checkpoint)
        self.fine_tuned_model_checkpoint = fine_tuned_model_checkpoint

    def __str__(self) -> str:
        return f"no job has a checkpoint or a model of the name {self.fine_tuned_model_checkpoint!r}"


class CheckpointPermissionNotFoundError(FineTuningStoreError):
    """No permission has this id, or none that this store may see."""

    def __init__(self, permission_id: str) -> None:
        super().__init__(permission_id)
        self.permission_id = permission_id

    def __str__(self) -> str:
        return f"no checkpoint permission has the id {self.permission_id!r}"


class UnitAlreadyOpenError(FineTuningStoreError):
    """The store was called inside an open unit of its own; on SQLite the call would wait for itself for ever."""

    def __str__(self) -> str:
        return "a unit of this store is open in this task: call its repositories (unit.jobs ...) instead of the store's"


class UnitEndedError(FineTuningStoreError):
    """A unit's transaction was ended inside of the unit, so it cannot be told what of it was kept."""

    def __str__(self) -> str:
        return "the transaction of this unit was ended by unit.connection (commit, rollback or close): leave that to the unit"


class UnsupportedDatabaseError(FineTuningStoreError):
    """The URL or engine names a database or a driver that is not supported, or not by this call. The message says what is."""


class MissingDriverError(FineTuningStoreError, ImportError):
    """The driver of the URL, or a package that it needs, is not installed. The message says what to install."""


class EngineConfigurationError(FineTuningStoreError):
    """An engine or a connection of the host is configured in a way that this library cannot work with. The message says what to change."""


class SchemaVersionError(FineTuningStoreError):
    """The tables are missing, or older or newer than this code can use.

    `found` is the database's schema number (None where there is none), `needed` the number that this code was written for,
    `host_version_table` the table of the application whose migrations make the tables (None where the store makes them).
    """

    def __init__(self, found: int | None, needed: int, oldest_code: int | None = None, host_version_table: str | None = None) -> None:
        super().__init__(found, needed, oldest_code, host_version_table)
        self.found = found
        self.needed = needed
        self.oldest_code = oldest_code
        self.host_version_table = host_version_table

    def __str__(self) -> str:
        if self.oldest_code is not None:
            return (
                f"the database is at schema {self.found}, which needs code of schema {self.oldest_code} or later, and this code is of "
                f"schema {self.needed}: install a newer fine-tuning-store"
            )
        state = "has no fine-tuning tables yet" if self.found is None else f"is at schema {self.found}"
        if self.host_version_table is None:
            act = "call store.schema.upgrade() or run 'fine-tuning-store db upgrade'"
        else:
            act = f"run 'alembic upgrade heads' in the application whose history is in {self.host_version_table!r}"
        return f"the database {state} and this code needs schema {self.needed}: {act}"


class SchemaConflictError(FineTuningStoreError):
    """The database holds something that the migrations would have to overwrite, a revision that they do not know, or tables that
    are another history's to change.
    """


class SchemaLockTimeoutError(FineTuningStoreError):
    """Another process kept the migration lock, or a table in use, for longer than this one was willing to wait (seconds).

    `holder` names that process as its database does, or says that it is this one; None where nobody tells.
    """

    def __init__(self, seconds: float, holder: str | None = None) -> None:
        super().__init__(seconds, holder)
        self.seconds = seconds
        self.holder = holder

    def __str__(self) -> str:
        who = self.holder or "another process"
        return f"{who} has been migrating, or using the tables, for {self.seconds:g} s: wait, or give a larger lock_timeout"

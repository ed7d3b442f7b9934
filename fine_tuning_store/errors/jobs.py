"""Errors about jobs and what belongs to them."""

from __future__ import annotations

from fine_tuning_store.errors.base import FineTuningStoreError


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
    """The status of the job does not allow the call, or the call is for mirrored jobs and this is none. The job is unchanged.

    Attributes:
        job_id: The id of the job.
        transition: The name of the method, such as `start`.
        status: The status of the job at that moment.
        allowed_from: The statuses that allow the call. None at all if the job is not mirrored.
    """

    def __init__(self, job_id: str, transition: str, status: str, allowed_from: tuple[str, ...]) -> None:
        super().__init__(job_id, transition, status, allowed_from)
        self.job_id = job_id
        self.transition = transition
        self.status = status
        self.allowed_from = allowed_from

    def __str__(self) -> str:
        if not self.allowed_from:
            return (
                f"{self.transition} is not possible for job {self.job_id!r}, which is {self.status}: it is not a mirrored job, because it "
                "was created here, or its status was changed here since it was imported"
            )
        allowed = ", ".join(self.allowed_from)
        return f"cannot {self.transition} job {self.job_id!r}: it is {self.status}, and {self.transition} is allowed from: {allowed}"


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


class IdempotencyConflictError(FineTuningStoreError):
    """An idempotency key was used for another request, or its job was deleted. Nothing was written.

    Attributes:
        key: The key.
        job_id: The id of the job that the first request with the key created.
    """

    def __init__(self, key: str, job_id: str | None) -> None:
        super().__init__(key, job_id)
        self.key = key
        self.job_id = job_id

    def __str__(self) -> str:
        return (
            f"the idempotency key {self.key!r} was used for job {self.job_id}, which was created with other arguments or deleted since: "
            "use a new key for a new job"
        )


class StaleLeaseError(FineTuningStoreError):
    """A worker wrote with a lease that no longer holds. Nothing was changed.

    Attributes:
        job_id: The id of the job.
        worker_id: The worker.
        attempt: The attempt that the lease was for.
        status: The present status of the job, None if it was deleted.
    """

    def __init__(self, job_id: str, worker_id: str, attempt: int, status: str | None) -> None:
        super().__init__(job_id, worker_id, attempt, status)
        self.job_id = job_id
        self.worker_id = worker_id
        self.attempt = attempt
        self.status = status

    def __str__(self) -> str:
        now = "was deleted" if self.status is None else f"is {self.status} now"
        return (
            f"worker {self.worker_id!r} no longer has attempt {self.attempt} of job {self.job_id}, which {now}: the lease expired, or the "
            "job was ended, paused or requeued. Nothing was changed: stop this attempt"
        )

"""A lease: a worker's claim on a job, and the writes that take effect only while it holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar, Unpack

from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent, NewEvent
from fine_tuning_store.domain.history_validation import check_many, check_transition_notes
from fine_tuning_store.domain.hyperparameters import validate_hyperparameters
from fine_tuning_store.domain.job import FineTuningJob, Hyperparameters, JobError
from fine_tuning_store.domain.job_validation import JobChanges, check_result_files
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.transition import TransitionNotes
from fine_tuning_store.domain.validation import check_integer
from fine_tuning_store.engine_transactions import EngineTransactions
from fine_tuning_store.errors import JobNotFoundError, StaleLeaseError
from fine_tuning_store.repositories.base import with_keywords_of
from fine_tuning_store.repositories.checkpoints import FineTuningJobCheckpointRepository
from fine_tuning_store.repositories.events import FineTuningJobEventRepository
from fine_tuning_store.repositories.job_reads import fetch, require_job
from fine_tuning_store.repositories.job_transitions import (
    append_event_and_reload,
    event_for_message,
    guarded_update,
    resolved_values,
    set_hyperparameters,
)
from fine_tuning_store.repositories.jobs import FineTuningJobRepository
from fine_tuning_store.sql.queries import leases as queries
from fine_tuning_store.sql.queries.jobs import TOUCH_JOB
from fine_tuning_store.sql.waiting import run_periodically
from fine_tuning_store.transactions import Transaction, TransactionSource

_logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Most seconds of a lease, and of the delay of a requeued job: a week.
MAX_SECONDS: Final = 7 * 86400
_WHILE_PAUSED: Final = (JobStatus.RUNNING, JobStatus.PAUSED)


class Lease:
    """A worker's claim on a running job, from `store.leases.claim`.

    The job is the worker's until the lease expires on the clock of the database; `heartbeat` renews it. Every other method writes only
    while the lease holds: the job is running, in the same attempt, and the lease has not expired. Otherwise it changes nothing and raises
    StaleLeaseError. While the user pauses the job, events and checkpoints can still be added.

    Attributes:
        job: The job, as it was claimed.
        attempt: The number of the attempt that the lease is for.
        worker_id: The worker.
        seconds: How long the lease lasts without a heartbeat.
        expires_at: The last second in which it holds, in Unix seconds of the database's clock, as of the last heartbeat.
        status: The status of the job, as of the last call. None once a call found that the lease was lost.
    """

    def __init__(self, source: TransactionSource, job: FineTuningJob, worker_id: str, seconds: int, expires_at: int) -> None:
        self._source = source
        self.job: Final = job
        self.attempt: Final = job.attempt
        self.worker_id: Final = worker_id
        self.seconds: Final = seconds
        self.expires_at = expires_at
        self.status: JobStatus | None = job.status

    def __repr__(self) -> str:
        return f"Lease(job_id={self.job.id!r}, attempt={self.attempt}, worker_id={self.worker_id!r}, expires_at={self.expires_at})"

    def heartbeat(self) -> JobStatus:
        """Renew the lease, and return the status of the job.

        `running` means that the lease was renewed. The user has paused or ended the job if it is `paused` or `cancelled`: stop training.

        Raises:
            StaleLeaseError: The lease has expired, or the job is in another attempt, queued again or deleted. An expired lease is never
                renewed.
        """

        def write(transaction: Transaction) -> tuple[JobStatus, int]:
            found = self._locked(transaction)
            status = JobStatus(found.status)
            if found.attempt != self.attempt or status is JobStatus.QUEUED:
                raise self._stale(status)
            if status is not JobStatus.RUNNING:
                return status, self.expires_at
            self._require_held(found, (status,))
            expires_at: int = found.now + self.seconds
            transaction.execute(queries.RENEW, job_id=self.job.id, new_lease_expires_at=expires_at)
            return status, expires_at

        self.status, self.expires_at = self._watched(write)
        return self.status

    @contextmanager
    def keep_alive(self) -> Iterator[Lease]:
        """Send heartbeats from a thread while the block runs, three in the time of the lease. `status` has what the last one returned.

        One that fails, for example because the database cannot be reached, is logged and followed by the next.

        Raises:
            TypeError: The lease is bound to a unit of work, a Session or a Connection, which no other thread may use.
        """
        require_own_transactions(self)
        with run_periodically(partial(beat, self), self.seconds / 3, is_async=False):
            yield self

    # What a worker writes

    def append_event(self, message: str, *, level: str = "info", type: str | None = "message", data: Any = None) -> FineTuningJobEvent:
        """Append an event to the job, also while it is paused. Arguments and errors are those of `store.events.append`."""
        return self._fenced(
            lambda transaction: FineTuningJobEventRepository(transaction).append(self.job.id, message, level=level, type=type, data=data),
            _WHILE_PAUSED,
        )

    def append_events(self, events: Iterable[NewEvent]) -> tuple[FineTuningJobEvent, ...]:
        """Append several events to the job, also while it is paused. Arguments and errors are those of `store.events.append_many`."""
        new = tuple(check_many("events", events))  # read once, though the transaction may run again
        return self._fenced(
            lambda transaction: FineTuningJobEventRepository(transaction).append_many(self.job.id, new),
            _WHILE_PAUSED,
        )

    def add_checkpoint(self, *, step_number: int, fine_tuned_model_checkpoint: str, metrics: Any = None) -> FineTuningJobCheckpoint:
        """Store a checkpoint of the job, also while it is paused. Arguments and errors are those of `store.checkpoints.create`."""
        return self._fenced(
            lambda transaction: FineTuningJobCheckpointRepository(transaction).create(
                self.job.id, step_number=step_number, fine_tuned_model_checkpoint=fine_tuned_model_checkpoint, metrics=metrics
            ),
            _WHILE_PAUSED,
        )

    @with_keywords_of(JobChanges, default=...)
    def update(self, *, hyperparameters: Hyperparameters | None = None, **changes: Unpack[JobChanges]) -> FineTuningJob:
        """Change members of the job, and return it.

        Args:
            hyperparameters: Values that replace those of the job, for example what `"auto"` was resolved to.
            **changes: The members of JobChanges, as in `store.jobs.update`.
        """
        given = None if hyperparameters is None else validate_hyperparameters(hyperparameters)

        def write(transaction: Transaction) -> FineTuningJob:
            if given is not None:
                set_hyperparameters(transaction, self.job.id, resolved_values(fetch(transaction, self.job.id), given))
                transaction.execute(TOUCH_JOB, job_id=self.job.id, now=transaction.clock.now())
            return FineTuningJobRepository(transaction).update(self.job.id, **changes)

        return self._fenced(write)

    # How an attempt ends

    @with_keywords_of(TransitionNotes)
    def succeed(
        self,
        *,
        fine_tuned_model: str,
        trained_tokens: int | None = None,
        result_files: Iterable[str] = (),
        **notes: Unpack[TransitionNotes],
    ) -> FineTuningJob:
        """End the job with a model. Arguments and errors are those of `store.jobs.succeed`. The actor is the worker unless it is given."""
        files = check_result_files(result_files)
        return self._ended(
            lambda jobs: jobs.succeed(
                self.job.id, fine_tuned_model=fine_tuned_model, trained_tokens=trained_tokens, result_files=files, **self._noted(notes)
            )
        )

    @with_keywords_of(TransitionNotes)
    def fail(self, error: JobError, **notes: Unpack[TransitionNotes]) -> FineTuningJob:
        """End the job with an error. Arguments and errors are those of `store.jobs.fail`. The actor is the worker unless it is given."""
        return self._ended(lambda jobs: jobs.fail(self.job.id, error, **self._noted(notes)))

    @with_keywords_of(TransitionNotes)
    def requeue(self, *, delay: int = 0, **notes: Unpack[TransitionNotes]) -> FineTuningJob:
        """Return the job to the end of the queue, for example because the worker shuts down.

        Args:
            delay: For how many seconds it cannot be claimed, at most those of a week.
            **notes: The members of TransitionNotes. The actor is the worker unless it is given.
        """
        delay = check_integer("delay", delay, 0, MAX_SECONDS)
        checked = check_transition_notes("requeue", self._noted(notes))

        def write(transaction: Transaction, found: Any) -> FineTuningJob:
            event = event_for_message(transaction, checked)
            guarded_update(transaction, self.job.id, "requeue", checked, available_at=found.now + delay)
            return append_event_and_reload(transaction, self.job.id, event)

        return self._finished(self._watched(lambda transaction: write(transaction, self._held(transaction))))

    # How the writes are fenced

    def _noted(self, notes: TransitionNotes) -> TransitionNotes:
        return {**notes, "actor": notes.get("actor") or self.worker_id}

    def _ended(self, call: Callable[[FineTuningJobRepository], FineTuningJob]) -> FineTuningJob:
        return self._finished(self._fenced(lambda transaction: call(FineTuningJobRepository(transaction))))

    def _finished(self, job: FineTuningJob) -> FineTuningJob:
        self.status = job.status
        return job

    def _fenced(self, call: Callable[[Transaction], T], statuses: tuple[JobStatus, ...] = (JobStatus.RUNNING,)) -> T:
        def write(transaction: Transaction) -> T:
            self._held(transaction, statuses)
            return call(transaction)

        return self._watched(write)

    def _watched(self, write: Callable[[Transaction], T]) -> T:
        try:
            return self._source.write(write)
        except StaleLeaseError:
            self.status = None
            raise

    def _held(self, transaction: Transaction, statuses: tuple[JobStatus, ...] = (JobStatus.RUNNING,)) -> Any:
        """Lock the job and return its row of LEASE. Raises StaleLeaseError unless the lease holds."""
        found = self._locked(transaction)
        self._require_held(found, statuses)
        return found

    def _locked(self, transaction: Transaction) -> Any:
        try:
            require_job(transaction, self.job.id, locked=True)
        except JobNotFoundError as error:
            raise self._stale(None) from error
        return transaction.execute(queries.LEASE, job_id=self.job.id).one()

    def _require_held(self, found: Any, statuses: tuple[JobStatus, ...]) -> None:
        is_same = (found.attempt, found.worker_id) == (self.attempt, self.worker_id)
        if not is_same or found.status not in statuses or found.lease_expires_at is None or found.lease_expires_at < found.now:
            raise self._stale(JobStatus(found.status))

    def _stale(self, status: JobStatus | None) -> StaleLeaseError:
        return StaleLeaseError(self.job.id, self.worker_id, self.attempt, status)


# For keep_alive, sync and async


def require_own_transactions(lease: Lease) -> None:
    """Raise TypeError for a lease that is bound to a transaction: heartbeats of another thread or task cannot be part of it."""
    if not isinstance(lease._source, EngineTransactions):
        raise TypeError("keep_alive sends heartbeats in transactions of their own: use the lease that claim returned, not a bound one")


def beat(lease: Lease) -> None:
    """Send a heartbeat. It raises nothing."""
    try:
        lease.heartbeat()
    except StaleLeaseError:
        pass  # the status says so
    except Exception:
        _logger.warning("a heartbeat of %r failed: the next one follows", lease, exc_info=True)

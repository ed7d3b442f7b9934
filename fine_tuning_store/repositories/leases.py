"""The repository of leases: how workers take jobs, and how the jobs of lost workers return to the queue."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from sqlalchemy import Row

from fine_tuning_store.domain import ids
from fine_tuning_store.domain.history_validation import check_many
from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS, FineTuningJob, JobError
from fine_tuning_store.domain.job_validation import check_organization, check_page_size
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.transition import TransitionNotes
from fine_tuning_store.domain.validation import MAX_ID_LENGTH, check_choice, check_integer, check_name, check_text
from fine_tuning_store.errors import CorruptDataError, InvalidValueError, JobNotFoundError
from fine_tuning_store.repositories.base import Repository
from fine_tuning_store.repositories.event_writes import append_events, new_event
from fine_tuning_store.repositories.job_reads import require_visible
from fine_tuning_store.repositories.job_transitions import guarded_update
from fine_tuning_store.repositories.job_writes import replace_children
from fine_tuning_store.repositories.lease import MAX_SECONDS, Lease
from fine_tuning_store.sql.models import job_errors
from fine_tuning_store.sql.models import job_transitions as log
from fine_tuning_store.sql.queries import job_rows
from fine_tuning_store.sql.queries import leases as queries
from fine_tuning_store.sql.queries.jobs import JOB, JOBS_BY_IDS
from fine_tuning_store.sql.waiting import sleep
from fine_tuning_store.transactions import AtOnce, Transaction

_logger = logging.getLogger(__name__)

#: Most jobs that are claimed at once.
MAX_CLAIMS: Final = 100
#: The seconds between two looks at the queue, at first and at most, and how much longer each is than the one before.
FIRST_WAIT, LONGEST_WAIT, GROWTH = 0.05, 2.0, 1.5
#: The seconds for which a job cannot be claimed after its first lost lease, doubled with each further one, and at most.
FIRST_DELAY, LONGEST_DELAY = 10, 600

_Allowed = dict[str, list[str]]


class LeaseRepository(Repository):
    """Claim queued jobs for workers, and take back those of workers that were lost.

    A queued job may be claimed from its `available_at` on, the one with the earliest first; the times are those of the database's clock.
    `models`, `organization_ids` and `methods` restrict what is claimed to jobs that have one of the values; None allows all. A claim reads
    the queue up to the first job that it may take, so a restricted one takes longer the more others are before it.
    """

    def claim(
        self,
        worker_id: str,
        *,
        seconds: int = 60,
        models: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
        methods: Iterable[str] | None = None,
    ) -> Lease | None:
        """Start the queued job that has been available for longest, and return a lease on it; None if there is none.

        The job is running afterwards, in its next attempt. The log of transitions has the worker as the actor of `start`.

        Args:
            worker_id: Who claims it, 1 to 255 characters: different for each process that may run at the same time.
            seconds: How long the lease lasts without a heartbeat, 1 to those of a week.
            models: The base models.
            organization_ids: The organizations.
            methods: The types of methods, such as `dpo`.

        Raises:
            InvalidValueError: A value is wrong.
            CorruptDataError: The row of the job cannot be read. It is running, like that of a worker that was lost; the next call claims
                another one.
        """
        worker_id, seconds = check_text("worker_id", worker_id, MAX_ID_LENGTH, 1), check_integer("seconds", seconds, 1, MAX_SECONDS)
        allowed = self._allowed(models, organization_ids, methods)
        transition = self._source.clock.new_id(ids.TRANSITION)

        def claim(transaction: Transaction) -> tuple[Row[Any] | None]:
            return (_start(transaction, worker_id, seconds, allowed, transition),)

        def recover(transaction: Transaction) -> tuple[Row[Any]] | None:
            row = transaction.execute(queries.CLAIMED, worker_id=worker_id, transition_id=transition[0]).first()
            return None if row is None else (row,)

        (row,) = self._source.write(claim, at_once=lambda: AtOnce(claim, recover))
        return None if row is None else self._lease(job_rows.job_from_row(row), worker_id, seconds)

    def claim_many(
        self,
        worker_id: str,
        *,
        limit: int,
        seconds: int = 60,
        models: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
        methods: Iterable[str] | None = None,
    ) -> tuple[Lease, ...]:
        """Claim several jobs in one transaction, at most `limit` (1 to 100), as `claim` does. Returns fewer if there are fewer."""
        worker_id, seconds = check_text("worker_id", worker_id, MAX_ID_LENGTH, 1), check_integer("seconds", seconds, 1, MAX_SECONDS)
        limit = check_integer("limit", limit, 1, MAX_CLAIMS)
        allowed = self._allowed(models, organization_ids, methods)

        def write(transaction: Transaction) -> list[Row[Any]]:
            rows: list[Row[Any]] = []
            while len(rows) < limit:
                row = _start(transaction, worker_id, seconds, allowed, transaction.clock.new_id(ids.TRANSITION))
                if row is None:
                    break
                rows.append(row)
            return rows

        return tuple(self._lease(job, worker_id, seconds) for job in _readable(self._source.write(write)))

    def bind(self, lease: Lease) -> Lease:
        """Return the lease for use in this unit of work, Session or Connection: its writes are part of that transaction."""
        if not isinstance(lease, Lease):
            raise TypeError(f"bind takes a Lease, which claim returns, not {type(lease).__name__}")
        bound = Lease(self._source, lease.job, lease.worker_id, lease.seconds, lease.expires_at)
        bound.status = lease.status
        return bound

    def wait(
        self,
        timeout: float,
        *,
        models: Iterable[str] | None = None,
        organization_ids: Iterable[str] | None = None,
        methods: Iterable[str] | None = None,
    ) -> bool:
        """Wait until a job can be claimed, for at most `timeout` seconds. Returns False if none could be.

        It looks at the queue at growing, random intervals of at most two seconds, and keeps no connection in between. Another worker may
        take the job first. Call it on a store: in a transaction of some isolation levels a new job never becomes visible.

        Raises:
            InvalidValueError: A value is wrong.
        """
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 <= timeout <= MAX_SECONDS:
            raise InvalidValueError("timeout", timeout, f"must be a number of seconds from 0 to {MAX_SECONDS}")
        allowed = self._allowed(models, organization_ids, methods)
        deadline, pause = time.monotonic() + timeout, FIRST_WAIT
        while not (found := self._source.read(partial(_is_available, allowed=allowed)))[0]:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            sleep(min(left, pause * random.uniform(0.5, 1)), is_async=found[1])
            pause = min(pause * GROWTH, LONGEST_WAIT)
        return True

    def stuck(self, *, limit: int = 100) -> tuple[FineTuningJob, ...]:
        """Return the running jobs without a live lease, oldest first: their lease has expired, or they were started without one.

        `rescue` takes care of the former. The latter stay running until their process, or an operator, changes their status.

        Args:
            limit: The number of jobs, 1 to 1000.

        Raises:
            InvalidValueError: The limit is wrong.
        """
        limit = check_page_size("limit", limit)

        def read(transaction: Transaction) -> tuple[FineTuningJob, ...]:
            ids = transaction.execute(queries.STUCK, row_limit=limit).scalars().all()
            found = {job.id: job for job in map(job_rows.job_from_row, transaction.execute(JOBS_BY_IDS, job_ids=ids))} if ids else {}
            return tuple(found[id] for id in ids if id in found and found[id].status is JobStatus.RUNNING)

        return self._source.read(read)

    def rescue(self, *, max_attempts: int = 3, limit: int = 100) -> tuple[FineTuningJob, ...]:
        """Return running jobs whose lease has expired to the queue, or fail those that lost too many leases, and return them.

        A job that returns to the queue can be claimed after a delay that grows with the leases that it lost, from 5 seconds to 10 minutes.
        One that failed has an error with the code `worker_lost`. Each gets an event and a row in the log of transitions. Jobs without a
        lease, and paused ones, are left alone. Any number of processes may call it at the same time, each every few seconds.

        Args:
            max_attempts: How many leases a job may lose: it fails with the last of them. Attempts that ended otherwise do not count.
            limit: The number of jobs, 1 to 1000.

        Raises:
            InvalidValueError: A value is wrong.
        """
        max_attempts, limit = check_integer("max_attempts", max_attempts, 1), check_page_size("limit", limit)
        found = self._source.read(lambda transaction: transaction.execute(queries.EXPIRED, row_limit=limit).scalars().all())
        rescued = (self._source.write(partial(_rescue, id=id, max_attempts=max_attempts)) for id in found)
        return tuple(_readable(row for row in rescued if row is not None))

    def _allowed(self, models: object, organization_ids: object, methods: object) -> _Allowed:
        """Return the checked restrictions of a claim."""
        checks: dict[str, tuple[object, Callable[[str, object], Any]]] = {
            "models": (models, check_name),
            "organization_ids": (organization_ids, lambda _, value: self._organization(check_organization(value))),
            "methods": (methods, lambda field, value: check_choice(field, value, METHOD_HYPERPARAMETERS)),
        }
        allowed: _Allowed = {}
        for name, (given, check) in checks.items():
            if given is not None:
                allowed[name] = [check(f"{name}[{position}]", value) for position, value in enumerate(check_many(name, given))]
                if not allowed[name]:
                    raise InvalidValueError(name, given, "must have at least one value, or be None")
        return allowed

    def _lease(self, job: FineTuningJob, worker_id: str, seconds: int) -> Lease:
        assert job.lease_expires_at is not None
        return Lease(self._source, job, worker_id, seconds, job.lease_expires_at)


def _readable(rows: Iterable[Row[Any]]) -> Iterator[FineTuningJob]:
    """Yield the jobs of rows. One that is damaged is logged: it does not keep workers from the others."""
    for row in rows:
        try:
            yield job_rows.job_from_row(row)
        except CorruptDataError as error:
            _logger.error("a job was claimed or rescued, but %s", error)  # noqa: TRY400 - the traceback says nothing more


# The functions below return the row of a job. It is read when the transaction has been committed: were that undone because the row is
# damaged, its job would be the next one again.


def _start(transaction: Transaction, worker_id: str, seconds: int, allowed: _Allowed, transition: tuple[str, int]) -> Row[Any] | None:
    if transaction.database.writes_in_ctes:
        return _start_in_one_statement(transaction, worker_id, seconds, allowed, transition)
    found = transaction.execute(queries.lock_next(frozenset(allowed)), **allowed).first()
    if found is None:
        return None
    guarded_update(transaction, found.id, "start", {"actor": worker_id}, worker_id=worker_id, lease_expires_at=found.now + seconds)
    return transaction.execute(JOB, job_id=found.id).one()


def _start_in_one_statement(
    transaction: Transaction, worker_id: str, seconds: int, allowed: _Allowed, transition: tuple[str, int]
) -> Row[Any] | None:
    transition_id, now = transition
    is_scoped = transaction.organization_id is not None
    scope = {"within_organization": transaction.organization_id} if is_scoped else {}
    row = transaction.execute_unscoped(
        queries.claim(frozenset(allowed), is_scoped=is_scoped),
        now=now,
        seconds=seconds,
        new_worker_id=worker_id,
        transition_id=transition_id,
        transition_actor=worker_id,
        transition_reason=None,
        **scope,
        **allowed,
    ).first()
    if row is not None:
        transaction.written.add(log, row.id, transition_id)
    return row


def _is_available(transaction: Transaction, allowed: _Allowed) -> tuple[bool, bool]:
    """Return whether a job can be claimed, and whether the driver is async."""
    is_available = transaction.execute(queries.available(frozenset(allowed)), **allowed).first() is not None
    return is_available, transaction.connection.dialect.is_async


def _rescue(transaction: Transaction, id: str, max_attempts: int) -> Row[Any] | None:
    """Requeue or fail a job, unless its lease was renewed, or another transaction has the job."""
    try:
        require_visible(transaction, id)
    except JobNotFoundError:
        return None
    if transaction.execute(queries.LOCK_UNLESS_LOCKED, job_id=id).first() is None:
        return None
    found: Any = transaction.execute(queries.LEASE, job_id=id).one()
    if found.status != JobStatus.RUNNING or found.lease_expires_at is None or found.lease_expires_at >= found.now:
        return None
    lost = found.lost_leases + 1
    notes: TransitionNotes = {"actor": "rescue", "reason": f"the lease of worker {found.worker_id!r} expired"}
    if lost < max_attempts:
        delay = min(FIRST_DELAY * 2 ** min(lost - 1, 10), LONGEST_DELAY)
        available_at = found.now + round(delay * random.uniform(0.5, 1))
        guarded_update(transaction, id, "requeue", notes, lost_leases=lost, available_at=available_at)
        event = new_event(transaction.clock, "The worker of the job was lost: the job returns to the queue.", "warn")
    else:
        error = JobError(code="worker_lost", message=f"The job was given up after {lost} of its workers were lost.")
        guarded_update(transaction, id, "fail", notes, lost_leases=lost)
        replace_children(transaction, id, job_errors, [job_rows.error_row(id, error)])
        event = new_event(transaction.clock, f"The job failed: {lost} of its workers were lost.", "error")
    append_events(transaction, id, [event])
    return transaction.execute(JOB, job_id=id).one()

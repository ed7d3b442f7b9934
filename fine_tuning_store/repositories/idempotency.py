"""How a create request with an idempotency key makes one job, however often it is sent."""

from __future__ import annotations

from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.errors import IdempotencyConflictError, JobAlreadyExistsError, JobNotFoundError
from fine_tuning_store.repositories.job_reads import fetch
from fine_tuning_store.repositories.job_writes import add_jobs, insert_unless_taken
from fine_tuning_store.retries import MAX_ATTEMPTS
from fine_tuning_store.sql.models import idempotency_keys
from fine_tuning_store.sql.queries import idempotency as queries
from fine_tuning_store.transactions import Transaction


def create_once(transaction: Transaction, job: FineTuningJob, key: str, fingerprint: str, seconds: int) -> FineTuningJob:
    """Store a new job, or return that of an earlier request with the same key. One that is under way is waited for.

    Raises IdempotencyConflictError if the earlier request asked for something else, or its job was deleted.
    """
    first = _reserve(transaction, job, key, fingerprint, seconds)
    if first is not None:
        return first
    try:
        add_jobs(transaction, [job])
    except JobAlreadyExistsError:
        transaction.execute_unscoped(queries.RELEASE, key_organization_id=job.organization_id, given_key=key, its_job_id=job.id)
        raise
    return job


def _reserve(transaction: Transaction, job: FineTuningJob, key: str, fingerprint: str, seconds: int) -> FineTuningJob | None:
    """Make a key that of a job. Returns the job that has it already."""
    now = transaction.clock.now()
    row = {"fingerprint": fingerprint, "job_id": job.id, "expires_at": now + seconds}
    the_key = {"key_organization_id": job.organization_id, "given_key": key}
    for attempt in range(MAX_ATTEMPTS):  # another request may use or delete the key in between
        found = transaction.execute_unscoped(queries.KEY_SHARED if attempt else queries.KEY, **the_key).first()
        if found is not None and found.expires_at > now:
            return _first(transaction, key, found.job_id, is_same=found.fingerprint == fingerprint)
        if found is not None:
            new = {f"new_{name}": value for name, value in row.items()}
            if transaction.execute_unscoped(queries.TAKE_OVER, **the_key, now=now, **new).rowcount:
                return None
        elif insert_unless_taken(transaction, idempotency_keys, {"organization_id": job.organization_id, "key": key, **row}):
            return None
    raise IdempotencyConflictError(key, None)


def _first(transaction: Transaction, key: str, job_id: str, *, is_same: bool) -> FineTuningJob:
    if not is_same:
        raise IdempotencyConflictError(key, job_id)
    try:
        return fetch(transaction, job_id)
    except JobNotFoundError as error:
        raise IdempotencyConflictError(key, job_id) from error


def delete_expired(transaction: Transaction, limit: int) -> int:
    """Delete at most so many expired keys, and return how many."""
    now, scope = transaction.clock.now(), transaction.organization_id
    if scope is None:
        expired = transaction.execute_unscoped(queries.EXPIRED_KEYS, now=now, row_limit=limit).all()
    else:
        of_organization = {"key_organization_id": scope, "now": now, "row_limit": limit}
        expired = transaction.execute_unscoped(queries.EXPIRED_KEYS_OF_ORGANIZATION, **of_organization).all()
    if not expired:
        return 0
    return transaction.execute_unscoped(queries.DELETE_EXPIRED, now=now, expired=[tuple(row) for row in expired]).rowcount

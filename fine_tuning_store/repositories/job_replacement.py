"""How mirrored jobs are replaced: all rows are checked and locked in the order of their ids before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.errors import IllegalTransitionError, JobAlreadyExistsError, JobNotFoundError
from fine_tuning_store.repositories.job_reads import fetch
from fine_tuning_store.repositories.job_writes import BATCH_SIZE, insert_children, insert_rows
from fine_tuning_store.retries import MAX_ATTEMPTS
from fine_tuning_store.sql.models import job_errors, job_hyperparameters, job_metadata, job_result_files
from fine_tuning_store.sql.queries import job_rows
from fine_tuning_store.sql.queries import replacement as queries
from fine_tuning_store.sql.queries.jobs import DELETE_CHILDREN, new_values
from fine_tuning_store.transactions import Transaction


def replace_jobs(transaction: Transaction, given: Sequence[FineTuningJob]) -> None:
    """Insert the jobs that are not stored, and replace the mirrored ones. If one is refused, nothing is written.

    Raises IllegalTransitionError for a stored job that is not mirrored, and JobAlreadyExistsError for one of another organization.
    """
    by_id = sorted(given, key=lambda job: job.id)  # so that calls that share ids wait for each other instead of deadlocking
    rows = {job.id: job_rows.rows_of_job(job, is_imported=True) for job in by_id}
    for attempt in range(MAX_ATTEMPTS):
        stored = _lock_stored(transaction, by_id, is_current=attempt > 0)
        try:
            insert_rows(transaction, [row for id, row in rows.items() if id not in stored])
        except JobAlreadyExistsError:  # stored by another transaction since: it is replaced, or refused, in the next attempt
            if attempt == MAX_ATTEMPTS - 1:
                raise
        else:
            break
    for ids in _batches(sorted(stored)):
        _replace(transaction, [rows[id] for id in ids])


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), BATCH_SIZE):
        yield list(ids[start : start + BATCH_SIZE])


def _lock_stored(transaction: Transaction, given: Sequence[FineTuningJob], *, is_current: bool) -> set[str]:
    """Lock the jobs that are stored, and return their ids. Raises unless all of them may be replaced.

    Args:
        transaction: The transaction.
        given: The jobs in the order of their ids.
        is_current: True to read jobs that were stored after the transaction began, which locks them.
    """
    organizations = {job.id: job.organization_id for job in given}
    stored: set[str] = set()
    for ids in _batches(list(organizations)):
        owners = transaction.execute_unscoped(queries.OWNERS_LOCKED if is_current else queries.OWNERS, job_ids=ids).all()
        for owner in owners:
            if owner.organization_id != organizations[owner.id]:
                raise JobAlreadyExistsError(owner.id)
        found = [owner.id for owner in owners]
        mirrored = set(transaction.execute(queries.LOCK_MIRRORED, job_ids=found).scalars()) if found else set()
        for id in found:
            if id not in mirrored:
                _require_absent(transaction, id)
        stored |= mirrored
    return stored


def _require_absent(transaction: Transaction, id: str) -> None:
    """Raise IllegalTransitionError unless the job was deleted since it was found."""
    try:
        job = fetch(transaction, id, locked=True)
    except JobNotFoundError:
        return
    raise IllegalTransitionError(id, "replace", job.status, ())


def _replace(transaction: Transaction, rows: Sequence[job_rows.JobRows]) -> None:
    """Replace the rows of jobs, which are locked.

    Each statement is for one job: of a statement for many, MariaDB may read the whole table, and wait for rows of other organizations.
    """
    of_jobs = [{"job_id": row.job["id"]} for row in rows]
    values = [{name: value for name, value in row.job.items() if name not in ("id", "organization_id")} for row in rows]
    changes = [{**new_values(changed), **of_job} for changed, of_job in zip(values, of_jobs, strict=True)]
    transaction.execute_unscoped(queries.replace_job(frozenset(values[0])), changes)
    children = {
        job_errors: [row.error for row in rows if row.error],
        job_hyperparameters: [row.hyperparameters for row in rows],
        job_result_files: [file for row in rows for file in row.result_files],
        job_metadata: [pair for row in rows for pair in row.metadata],
    }
    for table, new in children.items():
        transaction.execute_unscoped(DELETE_CHILDREN[table], of_jobs)
        insert_children(transaction, table, new)

"""How jobs are written: functions of a transaction that the repositories are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert, ReturningInsert

from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.domain.job_validation import MAX_METADATA_PAIRS
from fine_tuning_store.domain.lifecycle import ENDED
from fine_tuning_store.errors import IllegalTransitionError, JobAlreadyExistsError, JobNotFoundError, JobReferencedError
from fine_tuning_store.outcomes import Written
from fine_tuning_store.repositories.job_reads import fetch
from fine_tuning_store.sql.batches import batches
from fine_tuning_store.sql.dialects import Database
from fine_tuning_store.sql.models import JOB_CHILDREN, job_errors, job_hyperparameters, job_metadata, job_result_files, jobs
from fine_tuning_store.sql.queries import job_rows
from fine_tuning_store.sql.queries import jobs as queries
from fine_tuning_store.sql.query_tags import tagged
from fine_tuning_store.transactions import AtOnce, Transaction

#: Most rows of one INSERT. A batch is a single statement on every database, so it is written as a whole or not at all.
BATCH_SIZE: Final = 100


def replace_children(transaction: Transaction, id: str, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Replace the rows of a job in a child table. The caller has locked the job's row."""
    transaction.execute(queries.DELETE_CHILDREN[table], job_id=id)
    insert_children(transaction, table, rows)


# Insert and delete


def add_jobs(transaction: Transaction, added: Sequence[FineTuningJob], *, are_imported: bool = False) -> None:
    """Insert jobs whose ids may be taken, as `insert_jobs` does, without waiting for jobs of other organizations that have them."""
    add_rows(transaction, [job_rows.rows_of_job(job, is_imported=are_imported) for job in added])


def add_rows(transaction: Transaction, added: Sequence[job_rows.JobRows]) -> None:
    """Insert the rows of jobs in the same way."""
    if transaction.organization_id is not None:
        for start in range(0, len(added), BATCH_SIZE):
            job_ids = [row.job["id"] for row in added[start : start + BATCH_SIZE]]
            taken = transaction.execute_unscoped(queries.TAKEN_ID, job_ids=job_ids).scalar()
            if taken is not None:
                raise JobAlreadyExistsError(taken)
    _insert_new(transaction, added)


def insert_jobs(transaction: Transaction, new: Sequence[FineTuningJob], *, are_imported: bool = False) -> None:
    """Insert jobs and their children, or none: if an id is taken, those before it are deleted again, also in a host's transaction."""
    _insert_new(transaction, [job_rows.rows_of_job(job, is_imported=are_imported) for job in new])


def _insert_new(transaction: Transaction, new: Sequence[job_rows.JobRows]) -> None:
    insert_rows(transaction, new)
    for row in new:
        transaction.written.add(jobs, row.job["id"], row.job["id"])


def insert_at_once(job: FineTuningJob) -> AtOnce[FineTuningJob]:
    """Return the INSERT of a new job and its children as a single statement. It raises JobAlreadyExistsError if the id is taken."""

    def execute(transaction: Transaction) -> FineTuningJob:
        row = job_rows.rows_of_job(job, is_imported=False)
        columns = tuple([name for name, value in row.job.items() if value is not None or name in job_rows.OPTIONAL])
        parameters = {f"job_{name}": row.job[name] for name in columns} | row.hyperparameters
        if row.metadata:
            parameters |= job_rows.numbered_pairs(row.metadata)
        try:
            transaction.execute(queries.insert_job(columns, len(row.metadata)), parameters)
        except DBAPIError as error:
            if transaction.database.is_duplicate(error):
                raise JobAlreadyExistsError(job.id) from error
            raise
        return job

    def recover(transaction: Transaction) -> FineTuningJob | None:
        return job if transaction.finds(Written(jobs, job.id, job.id)) else None

    return AtOnce(execute, recover, (job.id,))


def insert_rows(transaction: Transaction, new: Sequence[job_rows.JobRows]) -> None:
    """Insert the rows of jobs as `insert_jobs` does. The outcome of a lost COMMIT cannot be found by them."""
    rows = sorted(new, key=lambda row: row.job["id"])  # so that imports that share ids wait for each other instead of deadlocking
    _insert_batches(transaction, [row.job for row in rows])
    pairs = [pair for row in rows for pair in row.metadata]
    if transaction.database.writes_in_ctes and len(rows) == 1 and 0 < len(pairs) <= MAX_METADATA_PAIRS:
        statement = queries.insert_hyperparameters_and_metadata(len(pairs))
        transaction.execute(statement, {**rows[0].hyperparameters, **job_rows.numbered_pairs(pairs)})
    else:
        insert_children(transaction, job_hyperparameters, [row.hyperparameters for row in rows])
        insert_children(transaction, job_metadata, pairs)
    insert_children(transaction, job_errors, [row.error for row in rows if row.error])
    insert_children(transaction, job_result_files, [file for row in rows for file in row.result_files])


def insert_children(transaction: Transaction, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows into a child table, in statements of a limited size."""
    for batch in batches(table, rows):
        transaction.execute(queries.INSERT_CHILD[table], batch)


def _insert_batches(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    written: list[str] = []
    for batch in batches(jobs, rows, BATCH_SIZE):
        taken = _insert_batch(transaction, batch, written)
        if taken is not None:
            for begin in range(0, len(written), BATCH_SIZE):
                transaction.execute(queries.DELETE_JOBS, job_ids=written[begin : begin + BATCH_SIZE])
            raise JobAlreadyExistsError(taken)


def _insert_batch(transaction: Transaction, batch: Sequence[dict[str, Any]], written: list[str]) -> str | None:
    """Insert rows of jobs and add their ids to `written`. Returns an id that was taken, or None."""
    job_ids: list[str] = [row["id"] for row in batch]
    if len(batch) == 1:
        if not insert_unless_taken(transaction, jobs, batch[0]):
            return job_ids[0]
        written += job_ids
        return None
    try:
        inserted = set(transaction.execute(_insert_many(transaction.database, jobs), batch).scalars())
    except DBAPIError as error:
        if not transaction.database.is_duplicate(error):
            raise
        taken: str = transaction.execute_unscoped(queries.TAKEN_ID_LOCKED, job_ids=job_ids).scalar_one()
        return taken
    written += inserted
    return next((id for id in job_ids if id not in inserted), None)


def insert_unless_taken(transaction: Transaction, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row. Returns False if one of its keys was taken; the transaction goes on."""
    try:
        return bool(transaction.execute(_insert_one(transaction.database, table), row).rowcount)
    except DBAPIError as error:
        if transaction.database.is_duplicate(error):
            return False
        raise


@cache
def _insert_one(database: Database, table: Table) -> Insert:
    """Return an INSERT whose rowcount says whether the keys were free, in half the time of RETURNING."""
    statement = tagged(f"insert_{table.name}", database.insert_unless_taken(table))
    return statement.execution_options(preserve_rowcount=True)


@cache
def _insert_many(database: Database, table: Table) -> ReturningInsert[tuple[str]]:
    statement = tagged(f"insert_{table.name}", database.insert_unless_taken(table))
    return statement.returning(table.c.id).execution_options(insertmanyvalues_page_size=BATCH_SIZE)


def delete_job(transaction: Transaction, id: str) -> None:
    """Delete a job and its children. The transaction goes on after each error.

    Raises JobNotFoundError, IllegalTransitionError if the job has not ended, and JobReferencedError.
    """
    job = fetch(transaction, id, locked=True)
    if not job.status.is_ended:
        raise IllegalTransitionError(id, "delete", job.status, ENDED)
    guard = transaction.connection.begin_nested() if transaction.database.errors_end_transactions else nullcontext()
    try:
        with guard:
            deleted = transaction.execute(queries.DELETE_ENDED_JOB, job_id=id).rowcount
    except DBAPIError as error:
        if transaction.database.is_referenced(error):
            raise JobReferencedError(id) from error
        raise
    if not deleted:
        raise JobNotFoundError(id)
    if not transaction.database.enforces_foreign_keys:
        for table in JOB_CHILDREN:  # unscoped: the job that shows whose they are is gone
            transaction.execute_unscoped(queries.DELETE_CHILDREN[table], job_id=id)

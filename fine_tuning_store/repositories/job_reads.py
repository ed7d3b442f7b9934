"""How jobs are read: functions of a transaction that the repositories are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Select

from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.domain.job_validation import MAX_PAGE_SIZE
from fine_tuning_store.domain.page import HasId, Page
from fine_tuning_store.errors import CursorNotFoundError, JobNotFoundError
from fine_tuning_store.sql.queries import job_rows
from fine_tuning_store.sql.queries import jobs as queries
from fine_tuning_store.sql.queries.job_conditions import JobQuery
from fine_tuning_store.transactions import Transaction

T = TypeVar("T", bound=HasId)


def fetch(transaction: Transaction, id: str, *, locked: bool = False) -> FineTuningJob:
    """Return a job; with `locked`, as it is now and until the transaction ends. Raises JobNotFoundError."""
    if locked:
        require_job(transaction, id, locked=True)  # PostgreSQL reads only the row that it waited for again, not those joined to it
    row = transaction.execute(queries.JOB_LOCKED if locked else queries.JOB, job_id=id).first()
    if row is None:
        raise JobNotFoundError(id)
    return job_rows.job_from_row(row)


def require_job(transaction: Transaction, id: str, *, locked: bool = False) -> None:
    """Raise JobNotFoundError if there is no such job. With `locked`, it cannot be deleted until the transaction ends."""
    if locked:
        require_visible(transaction, id)
    if transaction.execute(queries.JOB_EXISTS_LOCKED if locked else queries.JOB_EXISTS, job_id=id).first() is None:
        raise JobNotFoundError(id)


def require_visible(transaction: Transaction, id: str) -> None:
    """Raise JobNotFoundError before a statement would lock, or wait for, a job of another organization. To be called before each lock."""
    if transaction.reads_before_locking:
        require_job(transaction, id)


def fetch_many(transaction: Transaction, ids: list[str]) -> tuple[FineTuningJob, ...]:
    """Return the jobs with these ids in their order. Raises JobNotFoundError for the first unknown id."""
    rows = transaction.execute(queries.JOBS_BY_IDS, job_ids=ids) if ids else ()
    found = {job.id: job for job in [job_rows.job_from_row(row) for row in rows]}
    for id in ids:
        if id not in found:
            raise JobNotFoundError(id)
    return tuple(found[id] for id in ids)


def fetch_child_page(
    transaction: Transaction, statement: Select[Any], from_row: Callable[[Sequence[Any]], T], job_id: str, limit: int, **key: Any
) -> Page[T]:
    """Return a page of what belongs to a job, after the key of a cursor if one is given. Raises JobNotFoundError."""
    rows = transaction.execute(statement, job_id=job_id, row_limit=limit + 1, **key).all()
    if not rows:
        require_job(transaction, job_id)
    return Page(tuple([from_row(row) for row in rows[:limit]]), has_more=len(rows) > limit)


def fetch_child_cursor(transaction: Transaction, statement: Select[Any], job_id: str, after: str) -> dict[str, Any]:
    """Return the sort key of the row `after` of a job, as parameters of the page after it. Raises CursorNotFoundError."""
    row = transaction.execute(statement, job_id=job_id, after_id=after).mappings().first()
    if row is None:
        require_job(transaction, job_id)
        raise CursorNotFoundError(after)
    return dict(row)


def fetch_children(
    transaction: Transaction, statement: Select[Any], from_row: Callable[[Sequence[Any]], T], job_id: str, ids: Sequence[str]
) -> dict[str, T]:
    """Return what belongs to a job and has one of these ids, by its id. The caller has locked the job."""
    found: dict[str, T] = {}
    for start in range(0, len(ids), MAX_PAGE_SIZE):
        rows = transaction.execute_unscoped(statement, job_id=job_id, child_ids=list(ids[start : start + MAX_PAGE_SIZE]))
        found |= {child.id: child for child in map(from_row, rows)}
    return found


def select_matching(
    transaction: Transaction, build: Callable[..., Any], query: JobQuery, *shape: Any, **parameters: Any
) -> Sequence[Sequence[Any]]:
    """Execute a SELECT that aggregates jobs, and return its rows.

    Args:
        transaction: The transaction.
        build: Returns the statement of the query and the shape.
        query: The filters, to which the organization is added here: the statement may select from the jobs inside of a subquery.
        *shape: What else `build` takes.
        **parameters: The values of the filters.
    """
    if transaction.organization_id is not None:
        query = query._replace(equal=query.equal | {"organization_id"})
        parameters["organization_id"] = transaction.organization_id
    return transaction.execute_unscoped(build(query, *shape), **parameters).all()

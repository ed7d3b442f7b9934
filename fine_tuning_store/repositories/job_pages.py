"""How pages of jobs are read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from sqlalchemy import Select

from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.errors import CorruptDataError, CursorNotFoundError
from fine_tuning_store.sql.models import jobs
from fine_tuning_store.sql.queries import job_pages as pages
from fine_tuning_store.sql.queries import job_rows
from fine_tuning_store.sql.queries import jobs as queries
from fine_tuning_store.sql.queries.job_conditions import JobQuery, OrderBy
from fine_tuning_store.transactions import Transaction

#: The number of jobs that a walk looks at in one statement at most.
MAX_BATCH: Final = 5000
#: How many times as many as the page has rows it looks at in the first statement, because not every key matches.
FIRST_BATCH: Final = 3
#: How many times as many as in the statement before it looks at in each later one.
GROWTH: Final = 4


def fetch_page(transaction: Transaction, query: JobQuery, parameters: dict[str, Any], rows: int) -> tuple[FineTuningJob, ...]:
    """Return the jobs of a page of at most `rows` rows.

    Where no index serves all conditions, the rarest one leads: if fewer than RARE jobs meet it, they are sorted, unless it is a metadata
    pair, whose index has them in order. Else the index of a pair, or of the order, is walked. Pairs alone need not be counted. The
    statements of the keys are restricted to the organization of `query`.
    """
    if query.pairs and query.has_metadata is False:
        return ()
    leads = pages.leads(query)
    pair = None
    if len(leads) > query.pairs or (leads and query.order_by != "created_at"):
        counts = tuple(transaction.execute_unscoped(pages.count_leads(query), **parameters).one())
        if min(counts) < pages.RARE:
            rarest = leads[counts.index(min(counts))]
            if rarest.pair is None or query.order_by != "created_at":
                return _fetch_by_keys(transaction, partial(pages.keys_of_rare, lead=rarest), query, parameters, rows)
            pair = rarest.pair
    if query.pairs:
        if pair is None:
            pair = _rarest_pair(transaction, query, parameters)
        batch = rows * FIRST_BATCH if leads else rows
        return _fetch_by_keys(transaction, partial(pages.walk, pair=pair), query, parameters, rows, batch=batch)
    if pages.merged_statuses(query):
        return _fetch_by_keys(transaction, pages.keys_of_statuses, query, parameters, rows)
    result = transaction.execute(pages.page(query), **parameters, row_limit=rows)
    return tuple([job_rows.job_from_row(row) for row in result])


def _rarest_pair(transaction: Transaction, query: JobQuery, parameters: dict[str, Any]) -> int:
    """Return the position of the pair whose next keys reach farthest in time. To count the rows of common pairs would take long."""
    if query.pairs == 1 or query.order_by != "created_at":  # in the order of the ends no index of a pair is walked
        return 0
    times = transaction.execute_unscoped(pages.reaches(query), **parameters).one()
    if None in times:
        return times.index(None)
    return times.index(min(times) if query.descending else max(times))


def _fetch_by_keys(
    transaction: Transaction,
    statement: Callable[[JobQuery], Select[Any]],
    query: JobQuery,
    parameters: dict[str, Any],
    rows: int,
    *,
    batch: int | None = None,
) -> tuple[FineTuningJob, ...]:
    """Return the jobs of a page by selecting more and more keys, batch by batch. The first batch has `batch` keys, by default `rows`."""
    found: list[FineTuningJob] = []
    batch = min(batch or rows, MAX_BATCH)
    while True:
        keys = transaction.execute_unscoped(statement(query), **parameters, row_limit=batch).all()
        matching = [key for key in keys if key.matches]
        wanted = matching[: rows - len(found)]
        found += fetch_existing(transaction, [key.id for key in wanted])
        if len(found) == rows or (len(keys) < batch and len(wanted) == len(matching)):
            return tuple(found)
        last = keys[-1] if len(wanted) == len(matching) else wanted[-1]  # the latter if some were deleted since
        query = query._replace(after=True)
        parameters = parameters | cursor_of(last, query.order_by)
        batch = min(batch * GROWTH, MAX_BATCH)


def fetch_existing(transaction: Transaction, ids: list[str]) -> tuple[FineTuningJob, ...]:
    """Return the jobs with these ids that still exist, in their order."""
    rows = transaction.execute(queries.JOBS_BY_IDS, job_ids=ids) if ids else ()
    by_id = {job.id: job for job in [job_rows.job_from_row(row) for row in rows]}
    return tuple(by_id[id] for id in ids if id in by_id)


def fetch_cursor(transaction: Transaction, id: str, organization_id: str | None, order_by: OrderBy) -> dict[str, Any]:
    """Return the sort key of the job `after`, as parameters of a page. Raises CursorNotFoundError."""
    if organization_id is None:
        row = transaction.execute(queries.CURSOR, job_id=id).one_or_none()
    else:
        row = transaction.execute(queries.CURSOR_IN_ORGANIZATION, job_id=id, organization_id=organization_id).one_or_none()
    if row is None or getattr(row, order_by) is None:
        raise CursorNotFoundError(id)
    return cursor_of(row, order_by)


def cursor_of(job: Any, order_by: OrderBy) -> dict[str, Any]:
    """Return the sort key of a job, or of its row, as parameters of the page after it. Raises CorruptDataError if it has none."""
    time = getattr(job, order_by)
    if time is None:
        raise CorruptDataError(jobs.name, job.id)
    return {"after_time": time, "after_id": job.id}

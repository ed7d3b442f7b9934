"""How pages of jobs are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
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

#: Returns a statement of the keys of a page.
KeysOfPage = Callable[[JobQuery], Select[Any]]
#: The number of jobs that a walk looks at in one statement at most.
MAX_BATCH: Final = 5000
#: How many times as many as the page has rows it looks at in the first statement, because not every key matches.
FIRST_BATCH: Final = 3
#: How many times as many as in the statement before it looks at in each later one.
GROWTH: Final = 4


def fetch_page(transaction: Transaction, query: JobQuery, parameters: dict[str, Any], rows: int) -> tuple[FineTuningJob, ...]:
    """Return the jobs of a page of at most `rows` rows.

    Where no index serves all conditions, keys are selected batch by batch until the page is full: in the order of the ends from the index
    of that order, else by the rarest condition. If fewer than RARE jobs meet it, they are sorted, unless it is a metadata pair, whose index
    has them in order. The statements of the keys are restricted to the organization of `query`.
    """
    if query.pairs and query.has_metadata is False:
        return ()
    fetch = partial(_fetch_by_keys, transaction, query, parameters, rows)
    leads = pages.leads(query)
    if leads and query.order_by == "finished_at":
        return fetch(_in_order_of_the_ends(transaction, query, parameters), batch=rows * FIRST_BATCH)
    rarest = _rarest(transaction, query, parameters) if len(leads) > query.pairs else None  # pairs alone need not be counted
    if rarest is not None and rarest.pair is None:
        return fetch(repeat(partial(pages.keys_of_rare, lead=rarest)))
    if query.pairs:
        pair = rarest.pair if rarest and rarest.pair is not None else _rarest_pair(transaction, query, parameters)
        return fetch(repeat(partial(pages.walk, pair=pair)), batch=rows * FIRST_BATCH if leads else rows)
    if pages.merged_statuses(query):
        return fetch(repeat(pages.keys_of_statuses))
    result = transaction.execute(pages.page(query), **parameters, row_limit=rows)
    return tuple([job_rows.job_from_row(row) for row in result])


def _in_order_of_the_ends(transaction: Transaction, query: JobQuery, parameters: dict[str, Any]) -> Iterator[KeysOfPage]:
    """Yield how the next keys are selected. If two batches do not fill the page, a condition may be so rare that its jobs are sorted."""
    walk = partial(pages.walk, pair=0)
    yield from (walk, walk)
    rarest = _rarest(transaction, query, parameters)
    yield from repeat(walk if rarest is None else partial(pages.keys_of_rare, lead=rarest))


def _rarest(transaction: Transaction, query: JobQuery, parameters: dict[str, Any]) -> pages.Lead | None:
    """Return the condition that the fewest jobs meet, None if RARE or more meet it."""
    counts = tuple(transaction.execute_unscoped(pages.count_leads(query), **parameters).one())
    return pages.leads(query)[counts.index(min(counts))] if min(counts) < pages.RARE else None


def _rarest_pair(transaction: Transaction, query: JobQuery, parameters: dict[str, Any]) -> int:
    """Return the position of the pair whose next keys reach farthest in time. To count the rows of common pairs would take long."""
    if query.pairs == 1:
        return 0
    times = transaction.execute_unscoped(pages.reaches(query), **parameters).one()
    if None in times:
        return times.index(None)
    return times.index(min(times) if query.descending else max(times))


def _fetch_by_keys(
    transaction: Transaction,
    query: JobQuery,
    parameters: dict[str, Any],
    rows: int,
    statements: Iterator[KeysOfPage],
    *,
    batch: int | None = None,
) -> tuple[FineTuningJob, ...]:
    """Return the jobs of a page by selecting more and more keys, batch by batch. The first batch has `batch` keys, by default `rows`."""
    found: list[FineTuningJob] = []
    wanted: list[str] = []
    batch = min(batch or rows, MAX_BATCH)
    for statement in statements:
        keys = transaction.execute_unscoped(statement(query), **parameters, row_limit=batch).all()
        matching = [key for key in keys if key.matches]
        taken = matching[: rows - len(found) - len(wanted)]
        wanted += [key.id for key in taken]
        is_last = len(keys) < batch and len(taken) == len(matching)
        if is_last or len(found) + len(wanted) == rows:
            found += fetch_existing(transaction, wanted)
            wanted = []
            if is_last or len(found) == rows:
                break
        last = keys[-1] if len(taken) == len(matching) else taken[-1]  # the latter if some were deleted since
        query = query._replace(after=True)
        parameters = parameters | cursor_of(last, query.order_by)
        batch = min(batch * GROWTH, MAX_BATCH)
    return tuple(found)


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

"""The statements of a purge: the keys of jobs that ended before a time, and what is locked, counted and deleted by their ids."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, BindParameter, Integer, Select, and_, bindparam, func, or_, select

from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.sql.models import events, jobs
from fine_tuning_store.sql.queries.jobs import after_key, status_in
from fine_tuning_store.sql.queries.replacement import by_primary_key
from fine_tuning_store.sql.query_tags import tagged

_JOB_IDS: Final[BindParameter[str]] = bindparam("job_ids", expanding=True)
_BEFORE: Final[BindParameter[int]] = bindparam("before", type_=BigInteger)
#: It is a number in the text, as in the pages of jobs: no statement relies on the statistics of the tables.
_LIMIT: Final = bindparam("row_limit", type_=Integer, literal_execute=True)

#: A job without a `finished_at`, as some imports are, counts as finished when it was created (docs/decisions/0020).
_HAS_ENDED_BEFORE: Final = and_(
    status_in(ENDED), or_(jobs.c.finished_at < _BEFORE, and_(jobs.c.finished_at.is_(None), jobs.c.created_at < _BEFORE))
)


@cache
def keys(status: JobStatus | None, *, has_end: bool, after: bool) -> Select[Any]:
    """Return the SELECT of the next keys of ended jobs, by one index in its order.

    Args:
        status: The status of the jobs, None for those of any status of the organization `organization_id`.
        has_end: True for the jobs that finished before a time, False for all without a `finished_at`.
        after: True to begin after the key (after_time, after_id).
    """
    lead = jobs.c.organization_id == bindparam("organization_id") if status is None else status_in((status,))
    statement = select(jobs.c.id, jobs.c.finished_at, jobs.c.created_at, jobs.c.status).where(lead)
    if has_end:
        statement = statement.where(jobs.c.finished_at < _BEFORE)
        if after:
            statement = statement.where(*after_key(jobs.c.finished_at, jobs.c.id, descending=False))
    else:
        statement = statement.where(jobs.c.finished_at.is_(None))
        if after:
            statement = statement.where(jobs.c.id > bindparam("after_id", type_=jobs.c.id.type))
    # MariaDB takes another index without the hint. Of the jobs without an end, which are few, it sorts those after the key.
    hint = f"FORCE INDEX (ix_fine_tuning_jobs_{'organization' if status is None else 'status'}_finished_at)"
    statement = statement.with_hint(jobs, hint, "mysql").with_hint(jobs, hint, "mariadb")
    return tagged("purge_keys", statement.order_by(jobs.c.finished_at, jobs.c.id).limit(_LIMIT))


#: Locks, of some jobs, those that ended before a time, and that no transaction has locked.
LOCK_ENDED: Final = tagged(
    "lock_ended",
    by_primary_key(select(jobs.c.id).where(jobs.c.id.in_(_JOB_IDS), _HAS_ENDED_BEFORE))
    .order_by(jobs.c.id)
    .with_for_update(skip_locked=True),
)
#: The number, of some jobs, of those that ended before a time.
COUNT_ENDED: Final = tagged("count_ended", select(func.count()).select_from(jobs).where(jobs.c.id.in_(_JOB_IDS), _HAS_ENDED_BEFORE))
#: The number of events of each job that has any.
EVENTS_PER_JOB: Final = tagged(
    "events_per_job", select(events.c.job_id, func.count().label("events")).where(events.c.job_id.in_(_JOB_IDS)).group_by(events.c.job_id)
)

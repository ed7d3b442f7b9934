"""The statements of leases: the next queued job, its claim, the lease of a job, and the jobs whose lease has expired."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Update,
    and_,
    bindparam,
    case,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.sql.functions import database_time
from fine_tuning_store.sql.models import job_transitions as log
from fine_tuning_store.sql.models import jobs
from fine_tuning_store.sql.queries.jobs import IS_THE_JOB, READ, status_in, within_organization
from fine_tuning_store.sql.queries.transitions import changes, new_entry, select_changed
from fine_tuning_store.sql.query_tags import tagged

#: The columns that a claim may be restricted by, under the names of its arguments, which are bound to the allowed values.
FILTERS: Final = {"models": jobs.c.model, "organization_ids": jobs.c.organization_id, "methods": jobs.c.method_type}

_ALL: ColumnElement[Any] = literal_column("*")
_NOW = database_time()
#: The same, computed once, so that PostgreSQL can seek to it.
_NOW_ONCE = select(_NOW).scalar_subquery()


def _next(filters: frozenset[str], *columns: ColumnElement[Any]) -> Select[Any]:
    """Select from the queued job that is claimed next. The restrictions are in a CASE, so that no index leads but that of the queue."""
    statement = select(*columns).where(status_in((JobStatus.QUEUED,)), jobs.c.available_at <= _NOW_ONCE)
    if filters:
        allowed = and_(*(FILTERS[name].in_(bindparam(name, expanding=True)) for name in sorted(filters)))
        statement = statement.where(case((allowed, 1), else_=0) == 1)
    hint = "FORCE INDEX (ix_fine_tuning_jobs_queued)"  # MariaDB would sort the jobs of another index, and lock them all
    return statement.order_by(jobs.c.available_at, jobs.c.id).limit(1).with_hint(jobs, hint, "mysql").with_hint(jobs, hint, "mariadb")


@cache
def available(filters: frozenset[str]) -> Select[Any]:
    """Select the next job, to learn whether there is one."""
    return tagged("available", _next(filters, jobs.c.id))


@cache
def lock_next(filters: frozenset[str]) -> Select[Any]:
    """Select and lock the next job that no transaction has locked, and the time of the database."""
    return tagged("lock_next", _next(filters, jobs.c.id, _NOW.label("now")).with_for_update(skip_locked=True))


@cache
def claim(filters: frozenset[str], *, is_scoped: bool) -> Select[Any]:
    """Log and start the next job that no transaction has locked, and select it, in one statement.

    It is for databases that write in common table expressions. Its rows are those of `select_jobs`.
    """
    entry = new_entry("start")
    free = _next(filters, *(value.label(name) for name, value in entry.items())).with_for_update(skip_locked=True)
    candidate = (within_organization(free) if is_scoped else free).cte("c")
    logged = insert(log).from_select(list(entry), select(_ALL).select_from(candidate)).returning(log.c.job_id).cte("logged")
    lease = {
        "worker_id": bindparam("new_worker_id", type_=jobs.c.worker_id.type),
        "lease_expires_at": _NOW + bindparam("seconds", type_=BigInteger),
    }
    started = update(jobs).where(jobs.c.id == logged.c.job_id).ordered_values(*changes("start", lease))
    return tagged("claim", select_changed(started))


#: The job that a worker started by a transition, if it runs in that attempt, to learn whether a claim took effect.
CLAIMED: Final = tagged(
    "claimed",
    READ.join(log, and_(log.c.job_id == jobs.c.id, log.c.position == jobs.c.transition_count)).where(
        status_in((JobStatus.RUNNING,)), jobs.c.worker_id == bindparam("worker_id"), log.c.id == bindparam("transition_id")
    ),
)

_LEASE = (jobs.c.status, jobs.c.attempt, jobs.c.worker_id, jobs.c.lease_expires_at, jobs.c.lost_leases, _NOW.label("now"))
#: The lease of a job, as it is now, and the time of the database. The caller has locked the row: a time that is read while the
#: statement waits could be one before the wait.
LEASE = tagged("lease", select(*_LEASE).where(IS_THE_JOB).with_for_update())
#: Locks a job, unless a transaction has locked it.
LOCK_UNLESS_LOCKED = tagged("lock_unless_locked", select(jobs.c.id).where(IS_THE_JOB).with_for_update(skip_locked=True))
RENEW: Final[Update] = tagged(
    "renew_lease", update(jobs).where(IS_THE_JOB).values(lease_expires_at=bindparam("new_lease_expires_at", type_=BigInteger))
)
#: Running jobs whose lease has expired. It holds to the end of its last second, so that it is not shorter than it was claimed for.
EXPIRED = tagged(
    "expired_leases",
    select(jobs.c.id)
    .where(status_in((JobStatus.RUNNING,)), jobs.c.lease_expires_at < _NOW_ONCE)
    .order_by(jobs.c.created_at, jobs.c.id)
    .limit(bindparam("row_limit", type_=Integer)),
)
#: Running jobs without a live lease: theirs has expired, or they have none.
STUCK = tagged(
    "stuck_jobs",
    select(jobs.c.id)
    .where(status_in((JobStatus.RUNNING,)), or_(jobs.c.lease_expires_at.is_(None), jobs.c.lease_expires_at < _NOW_ONCE))
    .order_by(jobs.c.created_at, jobs.c.id)
    .limit(bindparam("row_limit", type_=Integer)),
)

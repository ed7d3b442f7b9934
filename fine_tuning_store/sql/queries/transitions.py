"""The statements of transitions: the guarded change of a job's status, its row in the log, and the pages of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    Integer,
    Select,
    Update,
    bindparam,
    case,
    column,
    insert,
    literal_column,
    null,
    select,
    table,
    update,
)

from fine_tuning_store.domain.lifecycle import ENDED, TRANSITIONS, JobStatus
from fine_tuning_store.domain.transition import JobTransition
from fine_tuning_store.sql.functions import database_time, later
from fine_tuning_store.sql.models import job_transitions as log
from fine_tuning_store.sql.models import jobs
from fine_tuning_store.sql.queries.job_rows import select_jobs
from fine_tuning_store.sql.queries.jobs import (
    IMPORTED_STATUS,
    IS_IMPORTED,
    IS_THE_JOB,
    JOB_ID,
    NOT_BEFORE_CREATION,
    NOW,
    constant,
    new_value_binds,
    status_in,
    within_organization,
)
from fine_tuning_store.sql.queries.values import constructor, raising_corrupt_data
from fine_tuning_store.sql.query_tags import tagged

_ONE = literal_column("1", BigInteger)
_transition = constructor(JobTransition)
_STATUSES = {status.value: status for status in JobStatus}

#: The columns of the log in the order of the fields of JobTransition.
COLUMNS = (
    *(log.c.id, log.c.job_id, log.c.position, log.c.transition, log.c.from_status, log.c.to_status),
    *(log.c.at, log.c.actor, log.c.reason, log.c.attempt),
)


# Writes. The log takes the status from the row of the job, which it locks, so it is written before the status changes.


@cache
def log_transition(verb: str, *, is_scoped: bool, skip_locked: bool = False) -> Insert:
    """Return the INSERT of the row in the log, if the status of the job allows the transition.

    Args:
        verb: A key of TRANSITIONS.
        is_scoped: True if the job must be of the organization `within_organization`. Nothing else restricts an INSERT to one.
        skip_locked: True to do nothing if a transaction has locked the job, instead of waiting for it.
    """
    values = new_entry(verb)
    source = select(*values.values()).where(IS_THE_JOB, status_in(TRANSITIONS[verb].sources)).with_for_update(skip_locked=skip_locked)
    statement = insert(log).from_select(list(values), within_organization(source) if is_scoped else source)
    return tagged("log_transition", statement).execution_options(preserve_rowcount=True)


def new_entry(verb: str) -> dict[str, ColumnElement[Any]]:
    """Return the columns of a row in the log, selected from the job. `transition_` id, actor and reason are bound."""
    return {
        "id": bindparam("transition_id", type_=log.c.id.type),
        "job_id": jobs.c.id,
        "position": jobs.c.transition_count + _ONE,
        "transition": constant(verb),
        "from_status": jobs.c.status,
        "to_status": constant(TRANSITIONS[verb].target),
        "at": NOT_BEFORE_CREATION,
        "actor": bindparam("transition_actor", type_=log.c.actor.type),
        "reason": bindparam("transition_reason", type_=log.c.reason.type),
        "attempt": jobs.c.attempt + _ONE if verb == "start" else jobs.c.attempt,
    }


@cache
def change_status(verb: str, columns: frozenset[str] = frozenset()) -> Update:
    """Return the guarded UPDATE of a transition, which takes effect only from its sources. `columns` are set to `new_` parameters too."""
    return tagged(
        verb, update(jobs).where(IS_THE_JOB, status_in(TRANSITIONS[verb].sources)).ordered_values(*changes(verb, new_value_binds(columns)))
    )


@cache
def log_and_change_status(verb: str, columns: frozenset[str], *, is_scoped: bool) -> Update:
    """Return both in one statement, for databases that write in common table expressions."""
    logged = log_transition(verb, is_scoped=is_scoped).returning(log.c.job_id).cte("logged")
    return tagged(
        verb, update(jobs).where(IS_THE_JOB, jobs.c.id == logged.c.job_id).ordered_values(*changes(verb, new_value_binds(columns)))
    )


@cache
def transition_at_once(verb: str, columns: frozenset[str], *, is_scoped: bool) -> Select[Any]:
    """Return both in one statement that selects the job as it is afterwards, unless a transaction has locked it.

    It would wait for that transaction, and then select the job's metadata as they were before.
    """
    logged = log_transition(verb, is_scoped=is_scoped, skip_locked=True).returning(log.c.job_id).cte("logged")
    changed = update(jobs).where(jobs.c.id == logged.c.job_id).ordered_values(*changes(verb, new_value_binds(columns)))
    return tagged(verb, select_changed(changed))


def select_changed(statement: Update) -> Select[Any]:
    """Select the jobs that an UPDATE changes, as they are afterwards, with the rows of `select_jobs`.

    It names no column twice without need: psycopg takes long to read a statement of more than 4096 characters, each time anew.
    """
    changed = table("j", *(column(each.name, each.type) for each in jobs.columns))
    return select_jobs(changed).add_cte(statement.returning(literal_column(f"{jobs.name}.*")).cte(changed.name))


def changes(verb: str, values: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return what a transition sets, columns that are given other values included.

    No expression refers to a column that is set before it: MariaDB would use the new value.
    """
    allowed = TRANSITIONS[verb]
    changed: list[tuple[Any, Any]] = [
        (jobs.c.queued_seconds, _total(verb, jobs.c.queued_seconds, JobStatus.QUEUED, jobs.c.queued_at)),
        (jobs.c.running_seconds, _total(verb, jobs.c.running_seconds, JobStatus.RUNNING, jobs.c.started_at)),
        (jobs.c.transition_count, jobs.c.transition_count + _ONE),
        (jobs.c.updated_at, NOT_BEFORE_CREATION),
        (jobs.c.logged_status, constant(allowed.target)),
        (jobs.c.status, constant(allowed.target)),
        (jobs.c.wire_status, null()),
    ]
    if verb == "start":
        changed.append((jobs.c.attempt, jobs.c.attempt + _ONE))
    time_of = {JobStatus.QUEUED: jobs.c.queued_at, JobStatus.RUNNING: jobs.c.started_at} | dict.fromkeys(ENDED, jobs.c.finished_at)
    if allowed.target in time_of:
        changed.append((time_of[allowed.target], NOT_BEFORE_CREATION))
    defaults: dict[str, Any] = {} if verb == "pause" else {"worker_id": null(), "lease_expires_at": null()}
    if allowed.target is JobStatus.QUEUED:
        defaults["available_at"] = database_time()
    return changed + [(jobs.c[name], value) for name, value in {**defaults, **values}.items()]


def _total(verb: str, seconds: Any, status: JobStatus, since: Any) -> ColumnElement[int | None]:
    """Return the total of seconds in a status, which grows if the job leaves it, and is NULL if the log lacks a transition."""
    whens: list[Any] = [(jobs.c.logged_status.not_in([jobs.c.status, IMPORTED_STATUS]), null())]
    if status in TRANSITIONS[verb].sources:
        whens.append((jobs.c.status == constant(status), seconds + (later(since, NOW) - since)))
    return case(*whens, else_=seconds)


# Reads. Each Select joins the jobs, so that it can be scoped.

_OF_THE_JOB = log.c.job_id == JOB_ID
_PAGE: Select[Any] = (
    select(*COLUMNS)
    .join_from(log, jobs, jobs.c.id == log.c.job_id)
    .where(_OF_THE_JOB)
    .order_by(log.c.position)
    .limit(bindparam("row_limit", type_=Integer))
)
TRANSITIONS_OF_JOB = tagged("transitions", _PAGE)
TRANSITIONS_AFTER = tagged("transitions_after", _PAGE.where(log.c.position > bindparam("after_position")))
NEWEST_TRANSITION = tagged(
    "newest_transition",
    select(log.c.transition, log.c.actor)
    .join_from(log, jobs, jobs.c.id == log.c.job_id)
    .where(_OF_THE_JOB, log.c.position == jobs.c.transition_count),
)
TRANSITION_POSITION = tagged(
    "transition_position",
    select(log.c.position.label("after_position"))
    .join_from(log, jobs, jobs.c.id == log.c.job_id)
    .where(_OF_THE_JOB, log.c.id == bindparam("after_id")),
)

# Imports. The caller has locked the job.

#: Locks a job, and says how long its log is, and whether it is mirrored.
LOCK_LOG = tagged(
    "lock_log",
    select(jobs.c.status, jobs.c.transition_count, IS_IMPORTED.label("is_mirrored")).where(IS_THE_JOB).with_for_update(),
)
TRANSITIONS_BETWEEN = tagged(
    "transitions_between",
    select(*COLUMNS).where(_OF_THE_JOB, log.c.position.between(bindparam("first"), bindparam("last"))).order_by(log.c.position),
)
TAKEN_TRANSITION = tagged(
    "taken_transition", select(log.c.id).where(_OF_THE_JOB, log.c.id.in_(bindparam("transition_ids", expanding=True))).limit(1)
)
COUNT_TRANSITIONS = tagged("count_transitions", update(jobs).where(IS_THE_JOB).values(transition_count=bindparam("new_count")))
INSERT_TRANSITIONS = tagged(f"insert_{log.name}", insert(log))


@raising_corrupt_data(log, 0)
def transition_from_row(row: Sequence[Any]) -> JobTransition:
    """Return the transition of a row of a page."""
    id, job_id, position, transition, from_status, to_status, *others = row
    return _transition(id, job_id, position, transition, _STATUSES[from_status], _STATUSES[to_status], *others)


def transition_row(transition: JobTransition) -> dict[str, Any]:
    """Return the row of a transition."""
    return {
        "job_id": transition.job_id,
        "position": transition.position,
        "id": transition.id,
        "transition": transition.transition,
        "from_status": transition.from_status.value,
        "to_status": transition.to_status.value,
        "at": transition.at,
        "actor": transition.actor,
        "reason": transition.reason,
        "attempt": transition.attempt,
    }

"""The statements of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    ColumnElement,
    Delete,
    Insert,
    Select,
    String,
    Update,
    bindparam,
    delete,
    insert,
    literal_column,
    select,
    tuple_,
    union_all,
    update,
)

from fine_tuning_store.domain.lifecycle import ENDED, OPEN, JobStatus
from fine_tuning_store.sql.functions import later
from fine_tuning_store.sql.models import (
    JOB_CHILDREN,
    compatibility,
    job_hyperparameters,
    job_metadata,
    jobs,
)
from fine_tuning_store.sql.queries.job_rows import IMPORTED, select_jobs
from fine_tuning_store.sql.query_tags import tagged

JOB_ID: BindParameter[str] = bindparam("job_id")
_JOB_IDS: BindParameter[str] = bindparam("job_ids", expanding=True)
IS_THE_JOB = jobs.c.id == JOB_ID


def constant(word: str) -> ColumnElement[str]:
    """Return a word of the store, such as a status, as a literal: a bound list would be expanded anew at each execution."""
    return literal_column(f"'{word}'")


def status_in(statuses: tuple[JobStatus, ...]) -> ColumnElement[bool]:
    """Return the condition that a job has one of the statuses."""
    if len(statuses) == 1:
        return jobs.c.status == constant(statuses[0])
    return jobs.c.status.in_([constant(status) for status in statuses])


@lru_cache(maxsize=1024)
def within_organization(statement: Select[Any] | Update | Delete) -> Any:
    """Return the statement, restricted to the jobs of one organization or, on a child table, to the children of such jobs."""
    organization_id: BindParameter[str] = bindparam("within_organization")
    if isinstance(statement, Select) or statement.table is jobs:
        return statement.where(jobs.c.organization_id == organization_id)
    jobs_of_organization = select(jobs.c.id).where(jobs.c.organization_id == organization_id)
    return statement.where(statement.table.c.job_id.in_(jobs_of_organization))


#: `logged_status` of an imported job whose status nothing has changed since, neither this release nor one that logs no transitions.
IMPORTED_STATUS: ColumnElement[str] = literal_column(f"'{IMPORTED}'", String) + jobs.c.status
IS_IMPORTED = jobs.c.logged_status == IMPORTED_STATUS


# Reads

READ: Select[Any] = select_jobs(jobs)
JOB = tagged("job", READ.where(IS_THE_JOB))
#: The job as it is now, whatever the transaction saw before, locked until the transaction ends.
JOB_LOCKED = tagged("job_locked", READ.where(IS_THE_JOB).with_for_update(of=jobs))
JOB_EXISTS = tagged("job_exists", select(jobs.c.id).where(IS_THE_JOB))
#: The same, and the job cannot be deleted until the transaction ends.
JOB_EXISTS_LOCKED = tagged("job_exists_locked", select(jobs.c.id).where(IS_THE_JOB).with_for_update())
#: Several jobs, in no order.
JOBS_BY_IDS = tagged("jobs_by_ids", READ.where(jobs.c.id.in_(_JOB_IDS)))
#: The first of some ids that a job of any organization has.
TAKEN_ID = tagged("taken_id", select(jobs.c.id).where(jobs.c.id.in_(_JOB_IDS)).order_by(jobs.c.id).limit(1))
#: The same as of now, whatever the transaction saw before.
TAKEN_ID_LOCKED = tagged("taken_id_locked", TAKEN_ID.with_for_update())
#: The sort key of the job that a page begins after.
CURSOR = tagged("cursor", select(jobs.c.created_at, jobs.c.finished_at, jobs.c.id).where(IS_THE_JOB))
CURSOR_IN_ORGANIZATION = CURSOR.where(jobs.c.organization_id == bindparam("organization_id"))
COMPATIBILITY = tagged("compatibility", select(compatibility.c.schema_number, compatibility.c.oldest_code_number))


def after_key(at: ColumnElement[int], id: ColumnElement[str], *, descending: bool) -> tuple[ColumnElement[bool], ...]:
    """Return the condition of the rows after a sort key.

    SQLite and PostgreSQL seek to a row value in the index, also among many rows of one time; SQLite by the first condition it can use.
    MariaDB seeks to the time.
    """
    time, tie = bindparam("after_time", type_=at.type), bindparam("after_id", type_=id.type)
    if descending:
        return tuple_(at, id) < tuple_(time, tie), at <= time
    return tuple_(at, id) > tuple_(time, tie), at >= time


def key_order(at: ColumnElement[Any], id: ColumnElement[str], *, descending: bool) -> tuple[ColumnElement[Any], ...]:
    """Return the order of a sort key."""
    return (at.desc(), id.desc()) if descending else (at, id)


# Writes

NOW: BindParameter[int] = bindparam("now", type_=BigInteger)
#: The time of a change. Not before the job was created: the clock of this process may be behind that of the one that created it.
NOT_BEFORE_CREATION = later(jobs.c.created_at, NOW)
_TOUCH = update(jobs).where(IS_THE_JOB).values(updated_at=NOT_BEFORE_CREATION)
TOUCH_JOB = tagged("touch_job", _TOUCH)


@cache
def update_open_job(columns: frozenset[str]) -> Update:
    """Return the UPDATE of columns of a job that has not ended, and of the time of its last change."""
    return tagged("update_open_job", _TOUCH.where(status_in(OPEN)).values(new_value_binds(columns)))


@cache
def update_hyperparameters(columns: frozenset[str]) -> Update:
    """Return the UPDATE of some hyperparameters of a job, whose id is bound as `updated_job_id`: SQLAlchemy reserves the column's name."""
    is_of_the_job = job_hyperparameters.c.job_id == bindparam("updated_job_id")
    statement = update(job_hyperparameters).where(is_of_the_job).values(new_value_binds(columns))
    return tagged("update_hyperparameters", statement)


def new_value_binds(columns: frozenset[str]) -> dict[str, Any]:
    """Return the values of an UPDATE of these columns: bound parameters, which `new_values` fills."""
    return {name: bindparam(f"new_{name}") for name in sorted(columns)}


def new_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an UPDATE of these columns: SQLAlchemy reserves the names of the columns themselves."""
    return {f"new_{name}": value for name, value in values.items()}


#: The INSERT of a row of a child table, and the DELETE of those of a job.
INSERT_CHILD = {table: tagged(f"insert_{table.name}", insert(table)) for table in JOB_CHILDREN}
DELETE_CHILDREN = {table: tagged(f"delete_{table.name}", delete(table).where(table.c.job_id == JOB_ID)) for table in JOB_CHILDREN}


@cache
def insert_hyperparameters_and_metadata(pairs: int) -> Insert:
    """Return the INSERT of a job's hyperparameters and metadata pairs, bound as key_0, value_0, digest_0, key_1 ..., in one round trip.

    psycopg would run several rows of parameters as a pipeline, which takes longer than all the rest of a create.
    """
    return tagged("insert_hyperparameters_and_metadata", _insert_hyperparameters().add_cte(_insert_pairs(pairs)))


@cache
def insert_job(columns: tuple[str, ...], pairs: int) -> Insert:
    """Return the INSERT of a job, whose columns are bound as job_id, job_created_at ..., and of the same rows, in one statement.

    It leaves out what is NULL in every new job: psycopg takes long to read a statement with more than 50 parameters, each time anew. A
    policy of row level security on a child table that looks the job up cannot see it.
    """
    values = {name: bindparam(f"job_{name}", type_=jobs.c[name].type) for name in columns}
    statement = _insert_hyperparameters().add_cte(insert(jobs).values(values).cte("job"))
    return tagged("insert_job", statement.add_cte(_insert_pairs(pairs)) if pairs else statement)


def _insert_hyperparameters() -> Insert:
    values: dict[str, Any] = {column.name: bindparam(column.name) for column in job_hyperparameters.columns}
    return insert(job_hyperparameters).values(values)


def _insert_pairs(pairs: int) -> CTE:
    columns = job_metadata.columns.keys()
    rows = (
        select(
            *(
                bindparam(f"{name}_{row}" if name in ("key", "value", "digest") else name, type_=job_metadata.c[name].type)
                for name in columns
            )
        )
        for row in range(pairs)
    )
    return insert(job_metadata).from_select(columns, union_all(*rows)).cte("inserted")


DELETE_ENDED_JOB = tagged("delete_ended_job", delete(jobs).where(IS_THE_JOB, status_in(ENDED)))
DELETE_JOBS = tagged("delete_jobs", delete(jobs).where(jobs.c.id.in_(_JOB_IDS)))

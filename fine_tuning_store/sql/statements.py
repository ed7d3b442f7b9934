"""The statements, as functions that answer values without a session or an engine.

Each statement is made once for its shape, on first use, which keeps the import of this package cheap; what varies is a bound
parameter.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Delete,
    Insert,
    Integer,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    insert,
    literal_column,
    select,
    union_all,
    update,
)

from fine_tuning_store.domain.lifecycle import ENDED, OPEN, TRANSITIONS, JobStatus
from fine_tuning_store.sql.mapping import job_columns
from fine_tuning_store.sql.query_tags import named, tagged_by_name
from fine_tuning_store.sql.tables import (
    checkpoints,
    compatibility,
    errors,
    events,
    hyperparameters,
    jobs,
    metadata,
    permissions,
    result_files,
)


def _constant(word: str) -> ColumnElement[str]:
    """One of our own words, written into the statement: a bound list would be expanded anew at every execution."""
    return literal_column(f"'{word}'")


def _any_of(column: ColumnElement[str], statuses: tuple[JobStatus, ...]) -> ColumnElement[bool]:
    if len(statuses) == 1:
        return column == _constant(statuses[0])
    return column.in_([_constant(status) for status in statuses])


@lru_cache(maxsize=1024)
def within_organization(statement: Select[Any] | Update | Delete) -> Any:
    """The statement, held to the jobs of one organization; those on a child table, to the children of such jobs."""
    owner: BindParameter[str] = bindparam("within_organization")
    if isinstance(statement, Select) or statement.table is jobs:
        return statement.where(jobs.c.organization_id == owner)
    owned = select(jobs.c.id).where(jobs.c.organization_id == owner)
    return statement.where(statement.table.c.job_id.in_(owned))


# Reads


@cache
def _read() -> Select[Any]:
    with_error = jobs.outerjoin(errors, errors.c.job_id == jobs.c.id)
    return select(*job_columns()).select_from(with_error.outerjoin(hyperparameters, hyperparameters.c.job_id == jobs.c.id))


@cache
@tagged_by_name
def job() -> Select[Any]:
    """A job by its id."""
    return _read().where(_of_job(jobs.c.id))


@cache
@tagged_by_name
def job_locked() -> Select[Any]:
    """The job as it is now, whatever the transaction saw before, and kept so until the transaction ends."""
    return _read().where(_of_job(jobs.c.id)).with_for_update(of=jobs)


@cache
@tagged_by_name
def job_exists() -> Select[tuple[str]]:
    """The id of a job that is there."""
    return select(jobs.c.id).where(_of_job(jobs.c.id))


@cache
@tagged_by_name
def job_kept_there() -> Select[tuple[str]]:
    """The same, and the job stays until the transaction ends."""
    return select(jobs.c.id).where(_of_job(jobs.c.id)).with_for_update()


@cache
@tagged_by_name
def jobs_of_ids() -> Select[Any]:
    """Several jobs, in no order."""
    return _read().where(jobs.c.id.in_(bindparam("job_ids", expanding=True)))


@cache
@tagged_by_name
def taken() -> Select[Any]:
    """The first of some ids that is taken by anyone, as of now."""
    return select(jobs.c.id).where(jobs.c.id.in_(bindparam("job_ids", expanding=True))).order_by(jobs.c.id).limit(1).with_for_update()


@cache
@tagged_by_name
def cursor(*, of_organization: bool) -> Select[tuple[int, str]]:
    """The key of a job that a page begins behind."""
    key = select(jobs.c.created_at, jobs.c.id).where(_of_job(jobs.c.id))
    return key.where(jobs.c.organization_id == bindparam("organization_id")) if of_organization else key


@cache
@tagged_by_name
def compatible_numbers() -> Select[tuple[int, int]]:
    """The schema's number and the oldest code number that may use it."""
    return select(compatibility.c.schema_number, compatibility.c.oldest_code_number)


class JobQuery(NamedTuple):
    """Which filters a page of jobs has; their values are bound under the same names."""

    equal: frozenset[str] = frozenset()
    """Columns of jobs that equal a value."""
    statuses: tuple[JobStatus, ...] = ()
    pairs: int = 0
    """How many metadata pairs, bound as key_0, value_0, key_1 ..."""
    has_metadata: bool | None = None
    since: bool = False
    until: bool = False
    after: bool = False
    """Whether the page begins behind the row (after_created_at, after_id)."""
    descending: bool = True


@lru_cache(maxsize=512)
@tagged_by_name
def page(shape: JobQuery) -> Select[Any]:
    """A page of jobs in order of (created_at, id), at most `row_limit` rows.

    With a metadata filter the first pair leads: its index holds that pair's jobs in the order of the page.
    """
    statement = _read()
    created_at: Column[int] = jobs.c.created_at
    id: Column[str] = jobs.c.id
    if shape.pairs:
        first = metadata.alias("pair_0")
        statement = statement.join(first, first.c.job_id == jobs.c.id).where(first.c.digest == bindparam("digest_0"), _is_pair(first, 0))
        if "organization_id" in shape.equal:
            statement = statement.where(first.c.organization_id == bindparam("organization_id"))
        created_at, id = first.c.created_at, first.c.job_id
    for position in range(1, shape.pairs):
        other = metadata.alias(f"pair_{position}")
        statement = statement.where(exists().where(other.c.job_id == jobs.c.id, _is_pair(other, position)))
    statement = statement.where(*(jobs.c[name] == bindparam(name) for name in sorted(shape.equal)))
    if shape.statuses:
        statement = statement.where(_any_of(jobs.c.status, shape.statuses))
    if shape.has_metadata is not None:
        some = exists().where(metadata.c.job_id == jobs.c.id)
        statement = statement.where(some if shape.has_metadata else ~some)
    if shape.since:
        statement = statement.where(created_at >= bindparam("created_since"))
    if shape.until:
        statement = statement.where(created_at < bindparam("created_until"))
    if shape.after:
        statement = statement.where(*behind(created_at, id, descending=shape.descending))
    return statement.order_by(*in_order(created_at, id, descending=shape.descending)).limit(bindparam("row_limit", type_=Integer))


def _is_pair(pairs: Any, position: int) -> ColumnElement[bool]:
    return and_(pairs.c.key == bindparam(f"key_{position}"), pairs.c.value == bindparam(f"value_{position}"))


def behind(created_at: Column[int], id: Column[str], *, descending: bool) -> tuple[ColumnElement[bool], ...]:
    """The rows after a key. In this form all three databases seek in the index; a row value or a plain OR makes one of them scan."""
    time: BindParameter[int] = bindparam("after_created_at")
    tail: BindParameter[str] = bindparam("after_id")
    if descending:
        return created_at <= time, (created_at < time) | (id < tail)
    return created_at >= time, (created_at > time) | (id > tail)


def in_order(created_at: Column[int], id: Column[str], *, descending: bool) -> tuple[ColumnElement[Any], ...]:
    """The order of a key."""
    return (created_at.desc(), id.desc()) if descending else (created_at, id)


# Writes


class Child(NamedTuple):
    """How the rows of a child table come and go."""

    insert: Insert
    delete: Delete


def _of_job(column: Column[Any]) -> ColumnElement[bool]:
    return column == bindparam("of_job")


def _ended_at() -> ColumnElement[int]:
    """Now, but never before the job was created: a store's clock may be behind the one that made the job."""
    return case((jobs.c.created_at > bindparam("now"), jobs.c.created_at), else_=bindparam("now"))


@cache
def move(verb: str, columns: frozenset[str] = frozenset()) -> Update:
    """The guarded UPDATE of a move. It takes effect only from the verb's sources; `columns` are set to `new_` parameters as well."""
    legal = TRANSITIONS[verb]
    values: dict[str, Any] = {"status": _constant(legal.target), **_new_values(columns)}
    if legal.target in ENDED:
        values["finished_at"] = _ended_at()
    return named(verb, update(jobs).where(_of_job(jobs.c.id), _any_of(jobs.c.status, legal.sources)).values(values))


@cache
@tagged_by_name
def update_open_job(columns: frozenset[str]) -> Update:
    """Set columns of a job that has not ended."""
    return update(jobs).where(_of_job(jobs.c.id), _any_of(jobs.c.status, OPEN)).values(_new_values(columns))


@cache
@tagged_by_name
def update_hyperparameters(columns: frozenset[str]) -> Update:
    """Set some hyperparameters of a job."""
    return update(hyperparameters).where(_of_job(hyperparameters.c.job_id)).values(_new_values(columns))


def _new_values(columns: frozenset[str]) -> dict[str, Any]:
    return {name: bindparam(f"new_{name}") for name in sorted(columns)}


@cache
def child(table: Table) -> Child:
    """The statements of a child table."""
    return Child(named(f"insert_{table.name}", insert(table)), named(f"delete_{table.name}", delete(table).where(_of_job(table.c.job_id))))


#: The tables of everything that belongs to a job and goes with it.
CHILDREN = (errors, hyperparameters, result_files, metadata, permissions, checkpoints, events)


@cache
@tagged_by_name
def insert_settings(pairs: int) -> Insert:
    """The hyperparameters of a job and so many metadata pairs, bound as key_0, value_0, digest_0, key_1 ..., in one round trip.

    psycopg would run several rows of parameters as a pipeline, which takes longer than all the rest of a create.
    """
    columns = ("job_id", "key", "value", "digest", "organization_id", "created_at")
    rows = (
        select(
            *(bindparam(f"{name}_{row}" if name in ("key", "value", "digest") else name, type_=metadata.c[name].type) for name in columns)
        )
        for row in range(pairs)
    )
    inserted = insert(metadata).from_select(columns, union_all(*rows)).cte("inserted")
    return insert(hyperparameters).values({column.name: bindparam(column.name) for column in hyperparameters.columns}).add_cte(inserted)


@cache
@tagged_by_name
def delete_ended_job() -> Delete:
    """Remove a job that has ended."""
    return delete(jobs).where(_of_job(jobs.c.id), _any_of(jobs.c.status, ENDED))


@cache
@tagged_by_name
def delete_jobs() -> Delete:
    """Remove jobs by their ids."""
    return delete(jobs).where(jobs.c.id.in_(bindparam("job_ids", expanding=True)))

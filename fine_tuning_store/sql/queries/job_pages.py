"""The statements of pages of jobs: first the keys of the page, then the jobs.

No statement relies on the statistics of the tables. PostgreSQL may plan it without the values of its parameters, once psycopg has prepared
it, or before the first ANALYZE. So each ordered and limited subquery has one condition that one index serves in its order, and its LIMIT
is a number in the text (docs/decisions/0014).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Integer, Select, and_, bindparam, func, literal_column, select, union_all

from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.sql.models import job_metadata, jobs
from fine_tuning_store.sql.queries.job_conditions import JobQuery, conditions, time_limit
from fine_tuning_store.sql.queries.jobs import READ, after_key, key_order, status_in
from fine_tuning_store.sql.query_tags import tagged

#: A condition that fewer jobs meet is rare: all of them are read and sorted.
RARE: Final = 1000
#: The columns whose combinations with others an index has in the order of creation.
_INDEXED: Final = ("model", "fine_tuned_model", "training_file", "method_type")

_LIMIT: Final = bindparam("row_limit", type_=Integer, literal_execute=True)
_RARE_LIMIT: Final[ColumnElement[int]] = literal_column(str(RARE))


class Lead(NamedTuple):
    """A condition of a query that an index serves: a metadata pair, the statuses, or columns that equal a value."""

    pair: int | None = None
    columns: tuple[str, ...] = ()
    has_statuses: bool = False


@lru_cache(maxsize=512)
def leads(query: JobQuery) -> tuple[Lead, ...]:
    """Return the conditions among which the rarest one leads; none if one index serves the whole query, in its order."""
    columns = tuple(name for name in _INDEXED if name in query.equal)
    scoped = ("organization_id",) if "organization_id" in query.equal else ()
    if _has_index(query, columns, is_scoped=bool(scoped)):
        return ()
    found = [Lead(pair=position) for position in range(query.pairs)]
    found += [Lead(columns=(name,)) for name in columns]
    if query.statuses:
        found.append(Lead(columns=scoped, has_statuses=True))
    elif scoped:
        found.append(Lead(columns=scoped))
    return tuple(found)


def _has_index(query: JobQuery, columns: tuple[str, ...], *, is_scoped: bool) -> bool:
    """Return whether one index serves the pairs, columns, statuses and the organization of the query, in its order."""
    if query.order_by == "finished_at":
        return not (query.pairs or columns or (is_scoped and query.statuses))
    number = query.pairs + len(columns) + bool(query.statuses)
    with_organization = bool(query.pairs or query.statuses) or columns in (("model",), ("method_type",))
    return number == 0 or (number == 1 and (not is_scoped or with_organization))


@lru_cache(maxsize=512)
def count_leads(query: JobQuery) -> Select[Any]:
    """Return the statement that counts the rows of each lead, RARE at most."""
    counts = (select(func.count()).select_from(_rows_of(query, lead).subquery()).scalar_subquery() for lead in leads(query))
    return tagged("count_leads", select(*counts))


def _rows_of(query: JobQuery, lead: Lead) -> Select[Any]:
    """Return a SELECT of the ids of the jobs of a lead, RARE at most."""
    if lead.pair is not None:
        return select(job_metadata.c.job_id.label("id")).where(*_pair_conditions(query, lead.pair)).limit(_RARE_LIMIT)
    statement = select(jobs.c.id).where(*(jobs.c[name] == bindparam(name) for name in lead.columns))
    return (statement.where(status_in(query.statuses)) if lead.has_statuses else statement).limit(_RARE_LIMIT)


def _pair_conditions(query: JobQuery, position: int) -> list[ColumnElement[bool]]:
    """Return the conditions on the digest of a pair alone: of its key and value PostgreSQL would expect hardly any row."""
    found = [job_metadata.c.digest == bindparam(f"digest_{position}")]
    if "organization_id" in query.equal:
        found.append(job_metadata.c.organization_id == bindparam("organization_id"))
    return found


@lru_cache(maxsize=512)
def page(query: JobQuery) -> Select[Any]:
    """Return the statement of a page of at most `row_limit` jobs, which walks an index in the order of the page, one for each status."""
    if len(_statuses(query)) < 2:
        return _ordered(tagged("page", READ).where(*conditions(query)), query)
    return _jobs_of(_keys(query), query)


def _statuses(query: JobQuery) -> tuple[JobStatus, ...]:
    """Return the statuses whose indexes are merged. Only ended jobs have a `finished_at`, and an organization has an index of its own."""
    is_finished_order = query.order_by == "finished_at" and "organization_id" not in query.equal
    return query.statuses or (ENDED if is_finished_order else ())


def _keys(query: JobQuery) -> Select[Any]:
    """Return the SELECT of the keys of a page, from one ordered and limited branch for each status."""
    branches = [query._replace(statuses=(status,)) for status in _statuses(query)] or [query]
    keys = [_ordered(select(jobs.c.id, jobs.c[query.order_by]).where(*conditions(branch)), query) for branch in branches]
    if len(keys) == 1:
        return keys[0]
    merged = union_all(*(select(branch.subquery()) for branch in keys)).subquery()
    return select(merged).order_by(*key_order(merged.c[query.order_by], merged.c.id, descending=query.descending)).limit(_LIMIT)


@lru_cache(maxsize=512)
def page_of_rare(query: JobQuery, lead: Lead) -> Select[Any]:
    """Return the statement of a page of the jobs of a lead that fewer than RARE jobs meet: they are sorted."""
    rare = _rows_of(query, lead).subquery()
    keys = select(jobs.c.id, jobs.c[query.order_by]).join(rare, rare.c.id == jobs.c.id).where(*conditions(query))
    return _jobs_of(_ordered(keys, query), query)


def _jobs_of(keys: Select[Any], query: JobQuery) -> Select[Any]:
    """Return the SELECT of the jobs of these keys."""
    found = keys.subquery("keys")
    order = key_order(found.c[query.order_by], found.c.id, descending=query.descending)
    return tagged("page", READ).join(found, found.c.id == jobs.c.id).order_by(*order)


def _ordered(statement: Select[Any], query: JobQuery) -> Select[Any]:
    """Return the statement in the order of the page, from its beginning, and limited to its size."""
    key = jobs.c[query.order_by], jobs.c.id
    if query.order_by == "finished_at":
        statement = statement.where(jobs.c.finished_at.is_not(None))
    if query.after:
        statement = statement.where(*after_key(*key, descending=query.descending))
    return statement.order_by(*key_order(*key, descending=query.descending)).limit(_LIMIT)


@lru_cache(maxsize=512)
def walk(query: JobQuery, pair: int) -> Select[Any]:
    """Return the statement that looks at the next `row_limit` jobs, and says of each whether it meets all conditions.

    It selects `id`, the time of the order and `matches`. In the order of creation it walks the jobs of a metadata pair, at the position
    `pair`, else those of the organization or the statuses.
    """
    keys = (_keys_of_pair(query, pair) if query.order_by == "created_at" else _keys(_without_residuals(query))).subquery("keys")
    time = keys.c[query.order_by]
    matches = and_(*conditions(query)).label("matches")
    statement = tagged("walk", select(keys.c.id, time, matches)).join_from(keys, jobs, jobs.c.id == keys.c.id)
    return statement.order_by(*key_order(time, keys.c.id, descending=query.descending))


def _keys_of_pair(query: JobQuery, pair: int) -> Select[Any]:
    key = job_metadata.c.created_at, job_metadata.c.job_id.label("id")
    times = [time_limit(job_metadata.c.created_at, name) for name in sorted(query.times) if name.startswith("created_")]
    statement = select(*key).where(*_pair_conditions(query, pair), *times)
    if query.after:
        statement = statement.where(*after_key(job_metadata.c.created_at, job_metadata.c.job_id, descending=query.descending))
    order = key_order(job_metadata.c.created_at, job_metadata.c.job_id, descending=query.descending)
    return statement.order_by(*order).limit(_LIMIT)


def _without_residuals(query: JobQuery) -> JobQuery:
    """Return the part of a query in the order of the ends that one index serves."""
    times = frozenset(name for name in query.times if name.startswith("finished_"))
    order = {"order_by": query.order_by, "descending": query.descending, "after": query.after}
    return JobQuery(equal=query.equal & {"organization_id"}, statuses=query.statuses, times=times, **order)  # type: ignore[arg-type]

"""The statements of pages of jobs: first the keys of the page, then the jobs.

No statement relies on the statistics of the tables. PostgreSQL may plan it without the values of its parameters, once psycopg has prepared
it, or before the first ANALYZE. So each ordered and limited subquery has one condition that one index serves in its order, and its LIMIT
is a number in the text (docs/decisions/0014).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)

from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.validation import LARGEST_INTEGER, SMALLEST_INTEGER
from fine_tuning_store.sql.functions import on_postgresql
from fine_tuning_store.sql.models import job_metadata, jobs
from fine_tuning_store.sql.queries.job_conditions import JobQuery, conditions, time_limit
from fine_tuning_store.sql.queries.jobs import READ, after_key, key_order, status_in
from fine_tuning_store.sql.query_tags import tagged

#: A condition that fewer jobs meet is rare: all of them are read and sorted.
RARE: Final = 1000
#: Of pairs that are all common, the rarest is the one whose next so many keys reach farthest.
NEXT: Final = 100
#: The columns whose combinations with others an index has in the order of creation.
_INDEXED: Final = ("model", "fine_tuned_model", "training_file", "method_type")

_LIMIT: Final = bindparam("row_limit", type_=Integer, literal_execute=True)
_RARE_LIMIT: Final[ColumnElement[int]] = literal_column(str(RARE))
_NEXT_LIMIT: Final[ColumnElement[int]] = literal_column(str(NEXT))
_FIRST_TIME, _LAST_TIME = (literal_column(f"CAST({time} AS BIGINT)", BigInteger) for time in (SMALLEST_INTEGER, LARGEST_INTEGER))


class Lead(NamedTuple):
    """A condition of a query that an index serves: a metadata pair, the statuses, or columns that equal a value."""

    pair: int | None = None
    columns: tuple[str, ...] = ()
    has_statuses: bool = False


def _columns(query: JobQuery) -> tuple[str, ...]:
    return tuple(name for name in _INDEXED if name in query.equal)


@lru_cache(maxsize=512)
def leads(query: JobQuery) -> tuple[Lead, ...]:
    """Return the conditions among which the rarest one leads; none if one index serves the whole query, in its order."""
    columns = _columns(query)
    scoped = ("organization_id",) if "organization_id" in query.equal else ()
    if _has_index(query, columns, is_scoped=bool(scoped)):
        return ()
    found = [Lead(pair=position) for position in range(query.pairs)]
    found += [Lead(columns=(name,)) for name in columns]
    if query.statuses:
        found.append(Lead(columns=scoped, has_statuses=True))
    elif scoped and not query.pairs:  # fewer jobs of the organization have the pair
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
        id, time, equal = job_metadata.c.job_id, job_metadata.c.created_at, _pair_conditions(query, lead.pair)
    else:
        id, time, equal = jobs.c.id, jobs.c.created_at, [jobs.c[name] == bindparam(name) for name in lead.columns]
        if lead.has_statuses:
            equal.append(status_in(query.statuses))
    more = [_has_time(time)] if len(equal) == 1 else []
    return select(id.label("id")).where(*equal, *more).limit(_RARE_LIMIT)


@lru_cache(maxsize=512)
def reaches(query: JobQuery) -> Select[Any]:
    """Return the statement of the time that the next NEXT keys of each pair reach, NULL if no more are left."""
    keys = (_keys_of_pair(query, position) for position in range(query.pairs))
    times = (each.with_only_columns(job_metadata.c.created_at).limit(literal_column("1")).offset(_NEXT_LIMIT) for each in keys)
    return tagged("reaches", select(*(time.scalar_subquery() for time in times)))


def _pair_conditions(query: JobQuery, position: int) -> list[ColumnElement[bool]]:
    """Return the conditions on the digest of a pair alone: of its key and value PostgreSQL would expect hardly any row."""
    return [job_metadata.c.digest == bindparam(f"digest_{position}"), *_scope_of_pair(query)]


def _scope_of_pair(query: JobQuery) -> list[ColumnElement[bool]]:
    if "organization_id" not in query.equal:
        return []
    return [job_metadata.c.organization_id == bindparam("organization_id")]


@lru_cache(maxsize=512)
def page(query: JobQuery) -> Select[Any]:
    """Return the statement of a page of at most `row_limit` jobs, which walks one index in the order of the page.

    On MariaDB a hint names the index of a model or a file, which contains only the first characters. Without the hint, the optimizer
    searches the index for the name alone, and reads all of its entries up to the cursor.
    """
    statement = _ordered(tagged("page", READ), query)
    name = next((column for column in _INDEXED if column in query.equal and not leads(query)), None)
    if name is None:
        return statement
    hint = f"FORCE INDEX (ix_fine_tuning_jobs_{'organization_' if 'organization_id' in query.equal else ''}{name})"
    return statement.with_hint(jobs, hint, "mysql").with_hint(jobs, hint, "mariadb")


def merged_statuses(query: JobQuery) -> tuple[JobStatus, ...]:
    """Return the statuses whose indexes a page merges, none if it walks one index.

    Only ended jobs have a `finished_at`, and the jobs of an organization have an index of their own in that order.
    """
    is_finished_order = query.order_by == "finished_at" and "organization_id" not in query.equal
    statuses = query.statuses or (ENDED if is_finished_order else ())
    return statuses if len(statuses) > 1 else ()


# The statements below select the keys of a page: `id`, the time of the order, and `matches`, which says whether the job meets all
# conditions. They join no tables, whose order each database would choose by statistics: what the job must meet is a CASE or a subquery.
# They have no other restriction to an organization than that of the query, so the jobs themselves are selected by another statement.


@lru_cache(maxsize=512)
def keys_of_statuses(query: JobQuery) -> Select[Any]:
    """Return the SELECT of the keys of a page of several statuses, from one ordered and limited branch for each."""
    return tagged("keys_of_statuses", _with_matches(_keys(query), query, true()))


@lru_cache(maxsize=512)
def keys_of_rare(query: JobQuery, lead: Lead) -> Select[Any]:
    """Return the SELECT of the keys of a page of the jobs of a lead that fewer than RARE jobs meet: all of them are sorted.

    The conditions stand in a CASE, which no index serves: before the first ANALYZE, PostgreSQL may find an index that serves more of them
    as good as that of the lead, or as the primary key, and read all of its jobs.
    """
    rows = _rows_of(query, lead)
    time: ColumnElement[int] = case((and_(true(), *conditions(query), *_place(query)), jobs.c[query.order_by]))
    if lead.pair is not None:
        rare = rows.subquery("rare")
        time = select(time).where(jobs.c.id == rare.c.id).scalar_subquery()
        rows = select(rare.c.id).limit(_RARE_LIMIT)  # without a LIMIT, PostgreSQL looks each job up twice
    keys = rows.add_columns(time.label(query.order_by)).subquery("matching")
    at = keys.c[query.order_by]
    order = key_order(at, keys.c.id, descending=query.descending)
    return tagged("keys_of_rare", select(keys.c.id, at, true().label("matches")).where(at.is_not(None)).order_by(*order).limit(_LIMIT))


@lru_cache(maxsize=512)
def walk(query: JobQuery, pair: int) -> Select[Any]:
    """Return the SELECT of the next `row_limit` keys of an index, and whether each job meets all conditions.

    In the order of creation it is the index of the metadata pair at the position `pair`, else that of the organization or the statuses.
    """
    keys = _keys_of_pair(query, pair) if query.order_by == "created_at" else _keys(_without_residuals(query))
    return tagged("walk", _with_matches(keys, query, and_(*conditions(query))))


def _with_matches(keys: Select[Any], query: JobQuery, condition: ColumnElement[bool]) -> Select[Any]:
    found = keys.subquery("keys")
    time = found.c[query.order_by]
    matches = true() if condition is true() else select(condition).where(jobs.c.id == found.c.id).scalar_subquery()
    order = key_order(time, found.c.id, descending=query.descending)
    return select(found.c.id, time, matches.label("matches")).order_by(*order)


def _keys(query: JobQuery) -> Select[Any]:
    """Return the SELECT of the keys of a page, from one ordered and limited branch for each status that is merged."""
    branches = [query._replace(statuses=(status,)) for status in merged_statuses(query)] or [query]
    keys = [_ordered(select(jobs.c.id, jobs.c[query.order_by]), branch) for branch in branches]
    if len(keys) == 1:
        return keys[0]
    merged = union_all(*(select(branch.subquery()) for branch in keys)).subquery()
    return select(merged).order_by(*key_order(merged.c[query.order_by], merged.c.id, descending=query.descending)).limit(_LIMIT)


def _keys_of_pair(query: JobQuery, pair: int) -> Select[Any]:
    digest, time, id = job_metadata.c.digest, job_metadata.c.created_at, job_metadata.c.job_id
    times = [time_limit(time, name) for name in sorted(query.times) if name.startswith("created_")]
    after = after_key(time, id, descending=query.descending) if query.after else ()
    is_pair = on_postgresql(_range_of_pair(query, pair), and_(*after, digest == bindparam(f"digest_{pair}")))
    order = (digest.desc() if query.descending else digest, *key_order(time, id, descending=query.descending))
    return select(id.label("id"), time).where(is_pair, *_scope_of_pair(query), *times, _has_time(time)).order_by(*order).limit(_LIMIT)


def _range_of_pair(query: JobQuery, pair: int) -> ColumnElement[bool]:
    """Return the condition of the keys of a pair, after the cursor if there is one, as a range of its index.

    Of an equality PostgreSQL may expect hardly any row, and sort all there are. Of a comparison of rows it expects a third of the table.
    """
    digest, time, id = job_metadata.c.digest, job_metadata.c.created_at, job_metadata.c.job_id
    value: BindParameter[int] = bindparam(f"digest_{pair}")
    within = digest >= value if query.descending else digest <= value
    if query.after:
        key, place = tuple_(digest, time, id), tuple_(value, bindparam("after_time"), bindparam("after_id"))
        return and_(key < place if query.descending else key > place, within)
    key, place = tuple_(digest, time), tuple_(value, _LAST_TIME if query.descending else _FIRST_TIME)
    return and_(key <= place if query.descending else key >= place, within)


def _without_residuals(query: JobQuery) -> JobQuery:
    """Return the part of a query in the order of the ends that one index serves: its organization, else its statuses."""
    equal = query.equal & {"organization_id"}
    times = frozenset(name for name in query.times if name.startswith("finished_"))
    order = {"order_by": query.order_by, "descending": query.descending, "after": query.after}
    return JobQuery(equal=equal, statuses=() if equal else query.statuses, times=times, **order)  # type: ignore[arg-type]


def _ordered(statement: Select[Any], query: JobQuery) -> Select[Any]:
    """Return a SELECT of jobs with the conditions of a page, in its order, and limited to its size.

    The cursor is the first condition: SQLite seeks to the first limit of a time.
    """
    order = key_order(jobs.c[query.order_by], jobs.c.id, descending=query.descending)
    return statement.where(*_place(query), *conditions(query)).order_by(*order).limit(_LIMIT)


def _place(query: JobQuery) -> list[ColumnElement[bool]]:
    """Return the conditions of the jobs that have a place in the order, after the cursor if there is one."""
    time = jobs.c[query.order_by]
    after = after_key(time, jobs.c.id, descending=query.descending) if query.after else ()
    return [*after] if _is_of_two_columns(query) else [*after, _has_time(time)]


def _is_of_two_columns(query: JobQuery) -> bool:
    """Return whether an index in the order of creation serves the organization and another condition."""
    return (
        query.order_by == "created_at" and "organization_id" in query.equal and bool(_columns(query) or query.statuses) and not leads(query)
    )


def _has_time(time: Column[Any]) -> ColumnElement[bool]:
    """Return the condition that a row has a time, for a statement with one equality.

    On PostgreSQL it is a range, of which the planner expects all rows, but before the first ANALYZE hardly any. Then it reads the index of
    both columns in order, where it would sort all rows with the value. With two equalities, every index that serves one of them would seem
    as good as the index of both.
    """
    return on_postgresql(time.between(_FIRST_TIME, _LAST_TIME), time.is_not(None) if time.nullable else true())

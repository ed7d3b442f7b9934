"""The statements of statistics: one for each call."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)

from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.statistics import MAX_DIMENSIONS
from fine_tuning_store.sql.functions import count_if, exact_sum, last_of, percentiles, quotient, remainder
from fine_tuning_store.sql.models import job_errors, job_metadata, jobs
from fine_tuning_store.sql.queries.job_conditions import JobQuery, restricted
from fine_tuning_store.sql.queries.jobs import constant, status_in
from fine_tuning_store.sql.query_tags import tagged

#: The lengths of buckets, and what is added to a time so that the first one begins at 0. 1970-01-01 was a Thursday.
_SECONDS: Final = {"hour": (3600, 0), "day": (86400, 0), "week": (7 * 86400, 3 * 86400)}
#: The days in 400 years of the calendar, after which it repeats, and those from 0000-03-01 to 1970-01-01.
_CYCLE: Final = 146_097
_DAYS_BEFORE_1970: Final = 719_468


class Grouping(NamedTuple):
    """What jobs are grouped by."""

    dimensions: tuple[str | None, ...] = ()
    """Columns of `fine_tuning_jobs`, and None for each metadata key, which is bound as dimension_0, dimension_1 ... by its position."""
    bucket: str | None = None
    time: str = "created_at"
    """The column of the bucket. Jobs without that time are left out."""


def _number(value: int) -> ColumnElement[int]:
    """Return a literal: PostgreSQL would take two bound parameters for different expressions in SELECT and GROUP BY."""
    return literal_column(str(value), BigInteger)


def _seconds_into(time: ColumnElement[int], size: int, offset: int = 0) -> ColumnElement[int]:
    """Return the seconds since an interval of `size` began, also before 1970, where a remainder is negative."""
    return remainder(remainder(time, _number(size)) + _number(size + offset), _number(size))


def _month_start(time: ColumnElement[int]) -> ColumnElement[int]:
    """Return the start of the month in UTC, by integers alone.

    The databases' own functions differ in their ranges and use the time zone of the session. This is the algorithm of Neri and Schneider
    (Euclidean affine functions and their application to calendar algorithms, 2022): the years begin in March, and the day within the
    century, the year and the month is each the remainder of a linear function.
    """
    second = _seconds_into(time, _CYCLE * 86400, _DAYS_BEFORE_1970 * 86400)
    day = quotient(second, _number(86400))
    day_of_century = quotient(remainder(_number(4) * day + _number(3), _number(_CYCLE)), _number(4))
    scaled = remainder(_number(2_939_745) * (_number(4) * day_of_century + _number(3)), _number(2**32))
    day_of_year = quotient(scaled, _number(4 * 2_939_745))
    day_of_month = quotient(remainder(_number(2141) * day_of_year + _number(197_913), _number(2**16)), _number(2141))
    return time - remainder(second, _number(86400)) - _number(86400) * day_of_month


def _bucket_start(grouping: Grouping) -> ColumnElement[int]:
    time = jobs.c[grouping.time]
    if grouping.bucket == "month":
        return _month_start(time)
    return time - _seconds_into(time, *_SECONDS[str(grouping.bucket)])


def _keys(grouping: Grouping) -> list[ColumnElement[Any]]:
    """Return the bucket, if there is one, and the dimensions."""
    keys = [] if grouping.bucket is None else [_bucket_start(grouping)]
    for position, name in enumerate(grouping.dimensions):
        keys.append(_pair(position).c.value if name is None else jobs.c[name])
    return keys


@lru_cache(maxsize=MAX_DIMENSIONS)
def _pair(position: int) -> Any:
    return job_metadata.alias(f"dimension_{position}")


def _matching(columns: Iterable[ColumnElement[Any]], query: JobQuery, grouping: Grouping) -> Select[Any]:
    """Return the SELECT of the jobs that a statistic is about."""
    statement = restricted(select(*columns).select_from(jobs), query)
    for position, name in enumerate(grouping.dimensions):
        if name is None:
            pair = _pair(position)
            is_pair = and_(pair.c.job_id == jobs.c.id, pair.c.key == bindparam(f"dimension_{position}"))
            statement = statement.outerjoin(pair, is_pair)
    if grouping.time != "created_at":
        statement = statement.where(jobs.c[grouping.time].is_not(None))
    return statement


@lru_cache(maxsize=256)
def counts(query: JobQuery, grouping: Grouping) -> Select[Any]:
    """Return the SELECT of the keys of each group, the number of its jobs, of those with each status that ends a job, and the tokens."""
    keys = _keys(grouping)
    ended = (count_if(jobs.c.status == constant(status)) for status in ENDED)
    columns = [*keys, func.count(), *ended, exact_sum(jobs.c.trained_tokens)]
    return tagged("counts", _matching(columns, query, grouping).group_by(*keys))


_HAS_ENDED: Final = status_in(ENDED)
#: The totals that durations are about. Those of an open job still grow.
_DURATIONS: Final = tuple(case((_HAS_ENDED, seconds)).label(seconds.name) for seconds in (jobs.c.queued_seconds, jobs.c.running_seconds))
#: The percentiles, in hundredths.
PERCENTILES: Final = (50, 90, 99)


@lru_cache(maxsize=256)
def percentiles_of_durations(query: JobQuery, grouping: Grouping) -> Select[Any]:
    """Return the SELECT of the keys of each group, the number of its ended jobs, and a list of percentiles of each duration."""
    keys = _keys(grouping)
    columns = [*keys, count_if(_HAS_ENDED), *(percentiles(duration.element) for duration in _DURATIONS)]
    return tagged("durations", _matching(columns, query, grouping).group_by(*keys))


@lru_cache(maxsize=256)
def ranked_durations(query: JobQuery, grouping: Grouping) -> CompoundSelect[Any]:
    """Return what percentiles are computed from, for databases without such an aggregate.

    A row has the keys of a group, the number of a duration (0 queued, 1 running), the place of the last job for which it is known, and the
    place and the seconds of a job next to a percentile. One row of each group has NULL for the duration, and the number of its ended jobs.
    """
    keys = [key.label(f"key_{position}") for position, key in enumerate(_keys(grouping))]
    matching = _matching([*keys, _HAS_ENDED.label("has_ended"), *_DURATIONS], query, grouping).cte("matching")
    groups = [matching.c[key.name] for key in keys]
    numbers = (null().label("duration"), count_if(matching.c.has_ended).label("last"), null().label("place"), null().label("seconds"))
    parts = [tagged("durations", select(*groups, *numbers).select_from(matching).group_by(*groups))]
    for number, duration in enumerate(_DURATIONS):
        seconds = matching.c[duration.name]
        last = (func.count().over(partition_by=groups) - _number(1)).label("last")
        place = (func.row_number().over(partition_by=groups, order_by=seconds) - _number(1)).label("place")
        known = select(*groups, _number(number).label("duration"), last, place, seconds.label("seconds")).where(seconds.is_not(None))
        ranked = known.subquery(f"ranked_{number}")
        below = [quotient(ranked.c.last * _number(percent), _number(100)) for percent in PERCENTILES]
        parts.append(select(ranked).where(or_(*(ranked.c.place.in_([place, place + _number(1)]) for place in below))))
    return union_all(*parts)


@lru_cache(maxsize=256)
def error_codes(query: JobQuery) -> Select[Any]:
    """Return the SELECT of each error code of failed jobs, their number, and the time and id of the last one, most frequent first.

    An index serves the jobs that have a `finished_at`, as almost all have, without their rows. So the others are a branch of their own.
    """
    branches = ((jobs.c.finished_at, jobs.c.finished_at.is_not(None)), (jobs.c.created_at, jobs.c.finished_at.is_(None)))
    failed = union_all(
        *(
            _matching([jobs.c.id, time.label("time")], query, Grouping()).where(status_in((JobStatus.FAILED,)), condition)
            for time, condition in branches
        )
    ).subquery("failed")
    number, last = func.count().label("jobs"), last_of(failed.c.time, failed.c.id).label("last")
    with_errors = failed.outerjoin(job_errors, job_errors.c.job_id == failed.c.id)
    statement = select(job_errors.c.code, number, last).select_from(with_errors).group_by(job_errors.c.code)
    return tagged("error_codes", statement.order_by(number.desc(), last.desc()).limit(bindparam("row_limit", type_=Integer)))


@lru_cache(maxsize=256)
def queue(query: JobQuery) -> Select[Any]:
    """Return the SELECT of the number of queued, running and paused jobs, and the oldest times at which they were queued and started."""
    oldest = (func.min(func.coalesce(time, jobs.c.created_at)) for time in (jobs.c.queued_at, jobs.c.started_at))
    statement = _matching([jobs.c.status, func.count(), *oldest], query, Grouping())
    waiting = status_in((JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED))
    return tagged("queue", statement.where(waiting).group_by(jobs.c.status))


@lru_cache(maxsize=256)
def count(query: JobQuery, *, is_limited: bool) -> Select[Any]:
    """Return the SELECT of the number of jobs, or of up to `row_limit` of them."""
    if not is_limited:
        return tagged("count", _matching([func.count()], query, Grouping()))
    found = _matching([_number(1).label("one")], query, Grouping()).limit(bindparam("row_limit", type_=Integer))
    return tagged("count", select(func.count()).select_from(found.subquery("found")))

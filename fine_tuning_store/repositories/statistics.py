"""The repository of statistics: figures about the jobs that match some filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Unpack

from fine_tuning_store.domain.job_validation import check_page_size
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.statistics import (
    METADATA_PREFIX,
    Bucket,
    BucketTime,
    ErrorCodeCount,
    JobCounts,
    JobDurations,
    JobQueueState,
    check_bucket,
    check_bucket_time,
    check_dimensions,
)
from fine_tuning_store.repositories.base import Repository, with_keywords_of
from fine_tuning_store.repositories.job_filters import JobFilters, job_query
from fine_tuning_store.repositories.job_reads import select_matching
from fine_tuning_store.sql.queries import statistics as queries
from fine_tuning_store.sql.queries.job_conditions import JobQuery
from fine_tuning_store.sql.queries.statistics import Grouping
from fine_tuning_store.sql.queries.values import constructor
from fine_tuning_store.transactions import Transaction

#: A group: its bucket and its values.
Key = tuple[int | None, tuple[str | None, ...]]


class FineTuningJobStatistics(Repository):
    """Figures about many jobs, computed by the database in one statement.

    The filters are those of a list. `by` and `bucket` divide the jobs into groups, of which each row describes one. The rows are in the
    order of the bucket and then of the values of `by`, compared by code points, None last. Without `by` and `bucket` there is one row.

    `by` is a tuple of `"organization_id"`, `"model"`, `"method"`, `"status"` and `"metadata.<key>"`, at most 8. `bucket` is `"hour"`,
    `"day"`, `"week"` (from Monday) or `"month"`, in UTC. `at` is the time that is meant: `"created"`, or `"finished"`, which leaves out the
    jobs without a `finished_at`.
    """

    @with_keywords_of(JobFilters)
    def counts(
        self, *, by: str | Sequence[str] = (), bucket: Bucket | None = None, at: BucketTime = "created", **filters: Unpack[JobFilters]
    ) -> tuple[JobCounts, ...]:
        """Count the jobs of each group, how they ended, and their trained tokens.

        Args:
            by: What the jobs are grouped by. A string is one dimension.
            bucket: The length of the intervals that the jobs are grouped by, None for no intervals.
            at: The time of a job that decides on its interval.
            **filters: The members of JobFilters. A job must match all of them.

        Raises:
            InvalidValueError: A dimension, the bucket, `at` or a filter is wrong.
        """
        dimensions, grouping, parameters, query = self._grouped(by, bucket, at, filters)

        def read(transaction: Transaction) -> list[JobCounts]:
            rows = select_matching(transaction, queries.counts, query, grouping, **parameters)
            return [_counts(dimensions, _key(row, grouping), row[-5:]) for row in rows]

        found = self._source.read(read)
        if not (found or dimensions or bucket):
            found = [_counts((), (None, ()), (0, 0, 0, 0, 0))]
        return tuple(sorted(found, key=_order))

    @with_keywords_of(JobFilters)
    def durations(
        self, *, by: str | Sequence[str] = (), bucket: Bucket | None = None, at: BucketTime = "created", **filters: Unpack[JobFilters]
    ) -> tuple[JobDurations, ...]:
        """Return how long the ended jobs of each group were queued and running: percentiles in seconds.

        A job for which a duration is not known, like many imports, is left out of the percentiles of that duration.

        Args:
            by: What the jobs are grouped by. A string is one dimension.
            bucket: The length of the intervals that the jobs are grouped by, None for no intervals.
            at: The time of a job that decides on its interval.
            **filters: The members of JobFilters. A job must match all of them.

        Raises:
            InvalidValueError: A dimension, the bucket, `at` or a filter is wrong.
        """
        dimensions, grouping, parameters, query = self._grouped(by, bucket, at, filters)

        def read(transaction: Transaction) -> list[JobDurations]:
            if transaction.database.aggregates_percentiles:
                rows = select_matching(transaction, queries.percentiles_of_durations, query, grouping, **parameters)
                return [_durations(dimensions, _key(row, grouping), row[-3], row[-2:]) for row in rows]
            rows = select_matching(transaction, queries.ranked_durations, query, grouping, **parameters)
            return list(_interpolated(dimensions, grouping, rows))

        found = self._source.read(read)
        if not (found or dimensions or bucket):
            found = [_durations((), (None, ()), 0, (None, None))]
        return tuple(sorted(found, key=_order))

    @with_keywords_of(JobFilters)
    def error_codes(self, *, limit: int = 20, **filters: Unpack[JobFilters]) -> tuple[ErrorCodeCount, ...]:
        """Count the failed jobs of each error code, the most frequent code first, of equally frequent ones the one seen last.

        Args:
            limit: The number of codes, 1 to 1000.
            **filters: The members of JobFilters. A job must match all of them.

        Raises:
            InvalidValueError: The limit or a filter is wrong.
        """
        limit = check_page_size("limit", limit)
        query, parameters = self._query(filters)
        rows = self._source.read(
            lambda transaction: select_matching(transaction, queries.error_codes, query, row_limit=limit, **parameters)
        )
        return tuple([ErrorCodeCount(code=code, jobs=jobs, last_job_id=last[1], last_at=last[0]) for code, jobs, last in rows])

    @with_keywords_of(JobFilters)
    def queue(self, **filters: Unpack[JobFilters]) -> JobQueueState:
        """Count the queued, running and paused jobs, and return since when the longest of them wait and run.

        It reads these jobs alone, so that metrics can be collected every few seconds.

        Args:
            **filters: The members of JobFilters. A job must match all of them.

        Raises:
            InvalidValueError: A filter is wrong.
        """
        query, parameters = self._query(filters)
        rows = self._source.read(lambda transaction: select_matching(transaction, queries.queue, query, **parameters))
        found = {status: figures for status, *figures in rows}
        queued, oldest_queued_at, _ = found.get(JobStatus.QUEUED, _NONE_WAIT)
        running, _, longest_running_since = found.get(JobStatus.RUNNING, _NONE_WAIT)
        paused, _, _ = found.get(JobStatus.PAUSED, _NONE_WAIT)
        return JobQueueState(
            queued=queued,
            oldest_queued_at=oldest_queued_at,
            running=running,
            longest_running_since=longest_running_since,
            paused=paused,
        )

    def _query(self, filters: JobFilters) -> tuple[JobQuery, dict[str, Any]]:
        return job_query(filters, "desc", self._organization(filters.get("organization_id")))

    def _grouped(
        self, by: object, bucket: object, at: object, filters: JobFilters
    ) -> tuple[tuple[str, ...], Grouping, dict[str, Any], JobQuery]:
        """Return the dimensions, what stands for them in the statement, and its parameters and filters."""
        dimensions = check_dimensions(by)
        time = f"{check_bucket_time(at)}_at"
        grouping = Grouping(tuple(_COLUMNS.get(dimension) for dimension in dimensions), check_bucket(bucket), time)
        query, parameters = self._query(filters)
        for position, dimension in enumerate(dimensions):
            if dimension not in _COLUMNS:
                parameters[f"dimension_{position}"] = dimension.removeprefix(METADATA_PREFIX)
        return dimensions, grouping, parameters, query


_NONE_WAIT = (0, None, None)
_COLUMNS = {"organization_id": "organization_id", "model": "model", "method": "method_type", "status": "status"}


#: Statistics by day have thousands of rows, whose making would take as long as a tenth of the query.
_job_counts = constructor(JobCounts)


def _key(row: Sequence[Any], grouping: Grouping) -> Key:
    if grouping.bucket is None:
        return None, tuple(row[: len(grouping.dimensions)])
    return row[0], tuple(row[1 : 1 + len(grouping.dimensions)])


def _order(row: JobCounts | JobDurations) -> tuple[Any, ...]:
    return row.bucket or 0, [(value is None, value or "") for value in row.group.values()]


def _counts(dimensions: tuple[str, ...], key: Key, figures: Sequence[int]) -> JobCounts:
    total, succeeded, failed, cancelled, trained_tokens = figures
    ended = succeeded + failed
    rate = succeeded / ended if ended else None
    group = dict(zip(dimensions, key[1], strict=True))
    return _job_counts(key[0], group, total, succeeded, failed, cancelled, total - ended - cancelled, trained_tokens, rate)


def _durations(dimensions: tuple[str, ...], key: Key, jobs: int, percentiles: Sequence[Sequence[float] | None]) -> JobDurations:
    """Return a row. Between whole seconds a percentile is a multiple of a hundredth: rounding makes databases agree to the last bit."""
    queued, running = ((None, None, None) if each is None else tuple(round(value, 2) for value in each) for each in percentiles)
    return JobDurations(
        bucket=key[0],
        group=dict(zip(dimensions, key[1], strict=True)),
        jobs=jobs,
        queued_median=queued[0],
        queued_p90=queued[1],
        queued_p99=queued[2],
        running_median=running[0],
        running_p90=running[1],
        running_p99=running[2],
    )


def _interpolated(dimensions: tuple[str, ...], grouping: Grouping, rows: Sequence[Sequence[Any]]) -> Iterator[JobDurations]:
    """Yield the rows of durations, from those jobs that a percentile is between."""
    jobs: dict[Key, int] = {}
    last: dict[tuple[Key, int], int] = {}
    seconds: dict[tuple[Key, int, int], int] = {}
    for row in rows:
        key = _key(row, grouping)
        duration, number, place, value = row[-4:]
        if duration is None:
            jobs[key] = number
        else:
            last[key, duration] = number
            seconds[key, duration, place] = value

    def percentile(key: Key, duration: int, percent: int) -> float:
        place, hundredths = divmod(last[key, duration] * percent, 100)
        below = seconds[key, duration, place]
        above = seconds.get((key, duration, place + 1), below)
        return float(below + (above - below) * hundredths / 100)

    for key, number in jobs.items():
        known: list[list[float] | None] = [
            [percentile(key, duration, percent) for percent in queries.PERCENTILES] if (key, duration) in last else None
            for duration in (0, 1)
        ]
        yield _durations(dimensions, key, number, known)

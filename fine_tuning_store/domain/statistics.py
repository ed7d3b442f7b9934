"""Statistics: figures about many jobs, as plain values.

Times are Unix seconds, and so are the starts of buckets, which are those of UTC. Every row has a flat `as_dict()`, so that
`pandas.DataFrame([row.as_dict() for row in rows])` makes a table of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, get_args

from fine_tuning_store.domain.validation import MAX_METADATA_KEY_LENGTH, check_choice, check_text
from fine_tuning_store.errors import InvalidValueError

#: The length of the intervals that jobs are counted in. Weeks begin on Monday.
Bucket = Literal["hour", "day", "week", "month"]
#: The time of a job that puts it into a bucket.
BucketTime = Literal["created", "finished"]

#: What jobs can be grouped by, besides `metadata.<key>`.
DIMENSIONS: Final = ("organization_id", "model", "method", "status")
METADATA_PREFIX: Final = "metadata."
MAX_DIMENSIONS: Final = 8


def _flat(row: Any) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for member in fields(row):
        value = getattr(row, member.name)
        flat |= value if member.name == "group" else {member.name: value}
    return flat


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCounts:
    """How many jobs of a group there are, and how they ended.

    `bucket` is the start of the interval, None if none was asked for. `group` maps each dimension to its value, None for jobs without one.
    `trained_tokens` is a sum. `success_rate` is the share of the succeeded jobs in those that succeeded or failed, None without any.
    """

    bucket: int | None
    group: Mapping[str, str | None] = field(hash=False)
    total: int
    succeeded: int
    failed: int
    cancelled: int
    open: int
    trained_tokens: int
    success_rate: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the row as one flat dict: the bucket, one key for each dimension, and the figures."""
        return _flat(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDurations:
    """How long the ended jobs of a group were queued and running, in seconds: the median, the 90th and the 99th percentile.

    The figures are totals over all attempts of a job, without pauses. A percentile between two jobs is interpolated, as by
    `percentile_cont` in SQL. Jobs whose total is unknown, as of imported ones, count in `jobs` alone; a percentile is None if no total
    is known.
    """

    bucket: int | None
    group: Mapping[str, str | None] = field(hash=False)
    jobs: int
    queued_median: float | None
    queued_p90: float | None
    queued_p99: float | None
    running_median: float | None
    running_p90: float | None
    running_p99: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the row as one flat dict: the bucket, one key for each dimension, and the figures."""
        return _flat(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCodeCount:
    """How many failed jobs have an error code, and the last one of them. `code` is None for failed jobs without a code.

    `last_at` is the `finished_at` of that job, its `created_at` if that is unknown.
    """

    code: str | None
    jobs: int
    last_job_id: str
    last_at: int

    def as_dict(self) -> dict[str, Any]:
        """Return the row as a dict."""
        return _flat(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQueueState:
    """How many jobs are queued, running and paused now, and since when the longest of them wait and run.

    `oldest_queued_at` and `longest_running_since` are None if no job is queued or running. A job of which the time is unknown, as an
    imported one, is taken to wait or run since its creation.
    """

    queued: int
    oldest_queued_at: int | None
    running: int
    longest_running_since: int | None
    paused: int

    def as_dict(self) -> dict[str, Any]:
        """Return the row as a dict."""
        return _flat(self)


def check_dimensions(value: object) -> tuple[str, ...]:
    """Return the dimensions of `by`. A string is one dimension."""
    possible = f"{', '.join(DIMENSIONS)}, {METADATA_PREFIX}<key>"
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise InvalidValueError("by", value, f"must be a tuple of these: {possible}")
    dimensions = tuple(value)
    for dimension in dimensions:
        if isinstance(dimension, str) and dimension.startswith(METADATA_PREFIX):
            check_text("by (a metadata key)", dimension.removeprefix(METADATA_PREFIX), MAX_METADATA_KEY_LENGTH)
        else:
            check_choice("by", dimension, DIMENSIONS, f"must be one of {possible}")
    if len(set(dimensions)) < len(dimensions):
        raise InvalidValueError("by", dimensions, "must name each dimension once")
    if len(dimensions) > MAX_DIMENSIONS:
        raise InvalidValueError("by", dimensions, f"must have at most {MAX_DIMENSIONS} dimensions")
    return tuple(map(str.__str__, dimensions))


def check_bucket(value: object) -> Bucket | None:
    """Return the name of a bucket, or None."""
    if value is None:
        return None
    bucket: Bucket = check_choice("bucket", value, get_args(Bucket), f"must be None or one of {', '.join(get_args(Bucket))}")
    return bucket


def check_bucket_time(value: object) -> BucketTime:
    """Return the value of `at`."""
    time: BucketTime = check_choice("at", value, get_args(BucketTime))
    return time

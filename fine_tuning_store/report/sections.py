"""The parts of a report: what is read from the store for each, as rows of a table and as a chart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from fine_tuning_store.domain.history_validation import check_many
from fine_tuning_store.domain.statistics import Bucket, check_bucket
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.job_table import shown_time
from fine_tuning_store.losses import read_losses
from fine_tuning_store.report import charts
from fine_tuning_store.repositories.job_filters import JobFilters
from fine_tuning_store.store import FineTuningStore

MAX_BUCKETS: Final = 200
MAX_JOBS: Final = 12
#: Bars of models and organizations, the others follow in the table; and rows of a table.
MAX_BARS, MAX_ROWS = 15, 500
#: Points of a line.
MAX_POINTS: Final = 400
OUTCOMES: Final = ("succeeded", "failed", "cancelled", "open")
_SECONDS: Final = {"hour": 3600, "day": 86400, "week": 7 * 86400, "month": 30 * 86400}
#: The interval that is chosen for at most so many seconds.
_CHOICES: Final[tuple[tuple[int, Bucket], ...]] = ((3 * 86400, "hour"), (100 * 86400, "day"), (700 * 86400, "week"))


class Section(NamedTuple):
    """A part of a report. The first column of the table names its rows. `chart` is SVG, empty if there is nothing to draw."""

    title: str
    description: str
    chart: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    left_out: int = 0


def sections(store: FineTuningStore, jobs: Sequence[str], bucket: Bucket | None, filters: JobFilters) -> list[Section]:
    """Read the parts of a report from a store, all but the losses of the `jobs` about those that match the filters."""
    ids = tuple(check_many("jobs", jobs))
    if len(ids) > MAX_JOBS:
        raise InvalidValueError("jobs", len(ids), f"must be at most {MAX_JOBS}")
    interval = _interval(store, check_bucket(bucket), filters)
    found = [
        _outcomes(store, interval, filters),
        _models(store, filters),
        _tokens(store, filters),
        *_durations(store, interval, filters),
        _error_codes(store, filters),
    ]
    return [*found, *(_losses(store, id) for id in ids)]


def _interval(store: FineTuningStore, bucket: Bucket | None, filters: JobFilters) -> Bucket:
    """Return the bucket, or one that suits the time between the first and the last job."""
    ends = [job.created_at for order in ("asc", "desc") for job in store.jobs.list(limit=1, order=order, **filters)]
    seconds = max(ends) - min(ends) if ends else 0
    if bucket is None:
        return next((name for limit, name in _CHOICES if seconds <= limit), "month")
    if seconds / _SECONDS[bucket] > MAX_BUCKETS:
        raise InvalidValueError("bucket", bucket, f"must make at most {MAX_BUCKETS} intervals: choose a longer one, or a shorter time")
    return bucket


def _outcomes(store: FineTuningStore, bucket: Bucket, filters: JobFilters) -> Section:
    counts = store.statistics.counts(bucket=bucket, **filters)
    drawn = [{"time": row.bucket, "outcome": name, "jobs": getattr(row, name)} for row in counts for name in OUTCOMES]
    rows = [(_time(row.bucket, bucket), row.total, *(getattr(row, name) for name in OUTCOMES)) for row in counts]
    description = f"The jobs that were created in each {bucket}, by how they ended."
    return _section(
        "Jobs over time", description, charts.outcomes_over_time(drawn, bucket) if drawn else "", (bucket, "jobs", *OUTCOMES), rows
    )


def _models(store: FineTuningStore, filters: JobFilters) -> Section:
    counts = sorted(store.statistics.counts(by="model", **filters), key=lambda row: -row.total)
    known = [row for row in counts if row.success_rate is not None][:MAX_BARS]
    drawn = [{"model": row.group["model"], "success rate": row.success_rate} for row in known]
    rows = [(row.group["model"], row.total, row.succeeded, row.failed, _percent(row.success_rate)) for row in counts]
    chart = charts.bars(drawn, "model", "success rate", color=0, percent=True) if drawn else ""
    description = "The share of the jobs that succeeded, of those that succeeded or failed. The models with the most jobs come first."
    return _section("Success rate by model", description, chart, ("model", "jobs", "succeeded", "failed", "success rate"), rows)


def _tokens(store: FineTuningStore, filters: JobFilters) -> Section:
    counts = sorted(store.statistics.counts(by="organization_id", **filters), key=lambda row: -row.trained_tokens)
    drawn = [
        {"organization": row.group["organization_id"], "tokens": row.trained_tokens} for row in counts[:MAX_BARS] if row.trained_tokens
    ]
    rows = [(row.group["organization_id"], row.total, row.trained_tokens) for row in counts]
    chart = charts.bars(drawn, "organization", "tokens") if drawn else ""
    return _section("Tokens by organization", "The tokens that were trained.", chart, ("organization", "jobs", "tokens"), rows)


def _durations(store: FineTuningStore, bucket: Bucket, filters: JobFilters) -> Iterator[Section]:
    durations = store.statistics.durations(bucket=bucket, **filters)
    for kind, title, description in (
        ("queued", "Waiting times", "How long ended jobs were queued, pauses excluded. Half of them waited no longer than the median."),
        ("running", "Running times", "How long ended jobs ran, over all attempts."),
    ):
        names = {"median": "median", "p90": "90 %", "p99": "99 %"}
        values = [(row, {name: getattr(row, f"{kind}_{name}") for name in names}) for row in durations]
        known = [(row, figures) for row, figures in values if figures["median"] is not None]
        drawn = [
            {"time": row.bucket, "percentile": label, "minutes": round(figures[name] / 60, 2)}
            for name, label in names.items()
            for row, figures in known
        ]
        rows = [(_time(row.bucket, bucket), row.jobs, *(_minutes(value) for value in figures.values())) for row, figures in known]
        chart = charts.durations_over_time(drawn, bucket) if drawn else ""
        columns = (bucket, "jobs", "median, minutes", "90 %, minutes", "99 %, minutes")
        yield _section(title, description, chart, columns, rows)


def _error_codes(store: FineTuningStore, filters: JobFilters) -> Section:
    found = store.statistics.error_codes(limit=100, **filters)
    drawn = [{"code": row.code or "(none)", "jobs": row.jobs} for row in found[:MAX_BARS]]
    rows = [(row.code or "(none)", row.jobs, row.last_job_id, _time(row.last_at)) for row in found]
    chart = charts.bars(drawn, "code", "jobs", color=1) if drawn else ""
    return _section("Error codes", "Why jobs failed, the most frequent code first.", chart, ("code", "jobs", "last job", "at"), rows)


def _losses(store: FineTuningStore, id: str) -> Section:
    job = store.jobs.get(id)
    losses = read_losses(store, id)
    drawn = [
        {"step": step, "value": value, "series": name}
        for name, points in losses.items()
        for step, value in points[:: math.ceil(len(points) / MAX_POINTS)]
    ]
    by_step: dict[float, dict[str, float]] = {}
    for name, points in losses.items():
        for step, value in points:
            by_step.setdefault(step, {})[name] = value
    rows = [(f"{step:g}", *(_number(values.get(name)) for name in losses)) for step, values in sorted(by_step.items())]
    description = f"{job.model}, {job.status}: the losses of its events and checkpoints by step, or its rewards if it has no losses."
    return _section(f"Job {id}", description, charts.losses(drawn) if drawn else "", ("step", *losses), rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _section(title: str, description: str, chart: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Section:
    return Section(title, description, chart, columns, tuple(rows[:MAX_ROWS]), left_out=max(len(rows) - MAX_ROWS, 0))


def _time(seconds: int | None, bucket: Bucket | None = None) -> str:
    return "" if seconds is None else shown_time(seconds, "%Y-%m-%d" if bucket in ("day", "week", "month") else "%Y-%m-%d %H:%M")


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.1%}"


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:,.1f}"

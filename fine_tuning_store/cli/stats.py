"""`fine-tuning-store stats`: figures about many jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from fine_tuning_store.cli import output
from fine_tuning_store.cli.filters import TIMES, Filters
from fine_tuning_store.cli.options import EXIT_CODES, Form, Source, epilog, with_options
from fine_tuning_store.cli.tables import Bar, Column, write_rows
from fine_tuning_store.cli.times import iso_time, shown_duration, shown_time
from fine_tuning_store.domain.statistics import METADATA_PREFIX, ErrorCodeCount, JobCounts, JobDurations

commands = typer.Typer(epilog=epilog(EXIT_CODES, examples=("stats counts --by model --since 30d", "stats queue")))

#: The parts of a bar of counts, with different characters for terminals without colours.
_OUTCOMES = (("succeeded", "█", "green"), ("failed", "▓", "red"), ("cancelled", "▒", "magenta"), ("open", "░", "cyan"))
_BUCKET_FORMS = {"hour": "%Y-%m-%d %H:%M", "month": "%Y-%m"}


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The options of how jobs are grouped."""

    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Group by organization_id, model, method, status, metadata.KEY (repeatable).", show_default=False
        ),
    ] = None
    bucket: Annotated[Literal["hour", "day", "week", "month"] | None, typer.Option(help="Group by intervals, in UTC.")] = None
    at: Annotated[Literal["created", "finished"], typer.Option(help="The time that puts a job into an interval.")] = "created"

    def as_arguments(self) -> dict[str, Any]:
        """Return the options as the store takes them."""
        return {"by": tuple(self.by or ()), "bucket": self.bucket, "at": self.at}

    def columns(self) -> list[Column[Any]]:
        """Return the columns that name a group."""
        form = _BUCKET_FORMS.get(self.bucket or "", "%Y-%m-%d")
        interval = [Column[Any](title=self.bucket.upper(), value=lambda row: shown_time(row.bucket, form), rank=0)] if self.bucket else []
        return interval + [Column(title=_title(name), value=partial(_value, name), rank=0, may_shrink=True) for name in self.by or ()]


def _title(dimension: str) -> str:
    """Return the name of a column. Metadata keys differ by case."""
    return output.plain(dimension) if dimension.startswith(METADATA_PREFIX) else dimension.upper()


def _value(name: str, row: JobCounts | JobDurations) -> str | None:
    return row.group[name]


@commands.command(
    epilog=epilog(
        TIMES,
        EXIT_CODES,
        examples=(
            "stats counts --by model --since 30d",
            "stats counts --by metadata.team --bucket week --at finished",
            "stats counts --by organization_id --bucket month --csv > invoice.csv",
        ),
    )
)
@with_options
def counts(source: Source, filters: Filters, groups: Groups, form: Form) -> None:
    """Count jobs, how they ended, and their trained tokens. The success rate is that of the jobs that succeeded or failed."""
    chosen = filters.of_jobs()
    with source.open(as_json=form.as_json) as store:
        rows = store.call(lambda store: store.statistics.counts(**groups.as_arguments(), **chosen))
    if _write_data(JobCounts, rows, groups.by or (), form):
        return
    most = max((row.total for row in rows), default=0)
    figures = [_number(name, rank) for name, rank in (("total", 0), ("succeeded", 2), ("failed", 1), ("cancelled", 4), ("open", 3))]
    rate: Column[JobCounts] = Column(
        title="SUCCESS", value=lambda row: None if row.success_rate is None else f"{row.success_rate:.0%}", rank=1, is_number=True
    )
    tokens: Column[JobCounts] = Column(title="TOKENS", value=lambda row: f"{row.trained_tokens:,}", rank=6, is_number=True)
    write_rows([*groups.columns(), *figures, rate, tokens], rows, Bar(draw=lambda row, width: _stacked(row, most, width)))
    if output.console().is_terminal:
        parts = (part for name, character, style in _OUTCOMES for part in ((f"{character} ", style), f"{name}  "))
        output.console().print(Text.assemble("\n", *parts))


@commands.command(
    epilog=epilog(
        TIMES, EXIT_CODES, examples=("stats durations --by model --since 30d", "stats durations --status succeeded --bucket day --json")
    )
)
@with_options
def durations(source: Source, filters: Filters, groups: Groups, form: Form) -> None:
    """Show how long ended jobs were queued and ran: the median, the 90th and the 99th percentile. The bars are of the median run."""
    chosen = filters.of_jobs()
    with source.open(as_json=form.as_json) as store:
        rows = store.call(lambda store: store.statistics.durations(**groups.as_arguments(), **chosen))
    if _write_data(JobDurations, rows, groups.by or (), form):
        return
    most = max((row.running_median or 0 for row in rows), default=0)
    ranks = {"median": 2, "p90": 3, "p99": 4}
    figures = [_duration(f"queued_{name}", rank) for name, rank in ranks.items()]
    figures += [_duration(f"running_{name}", rank - 1) for name, rank in ranks.items()]
    bar: Bar[JobDurations] = Bar(
        title="MEDIAN RUN", draw=lambda row, width: Text(_bar(row.running_median or 0, most, width), "cyan"), longest=30
    )
    write_rows([*groups.columns(), _number("jobs", 1), *figures], rows, bar)


@commands.command(
    "error-codes",
    epilog=epilog(TIMES, EXIT_CODES, examples=("stats error-codes --finished-since 24h", "stats error-codes --model gpt-4o --csv")),
)
@with_options
def error_codes(
    source: Source,
    filters: Filters,
    form: Form,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="The number of codes.")] = 20,
) -> None:
    """Count the failed jobs of each error code, the most frequent first. Jobs that failed without a code are counted under none."""
    chosen = filters.of_jobs()
    with source.open(as_json=form.as_json) as store:
        rows = store.call(lambda store: store.statistics.error_codes(limit=limit, **chosen))
    if _write_data(ErrorCodeCount, rows, (), form):
        return
    most = max((row.jobs for row in rows), default=0)
    columns: list[Column[ErrorCodeCount]] = [
        Column(title="CODE", value=lambda row: row.code, rank=1, may_shrink=True),
        _number("jobs", 0),
        Column(title="LAST", value=lambda row: shown_time(row.last_at), rank=2),
        Column(title="LAST JOB", value=lambda row: row.last_job_id, rank=0),
    ]
    write_rows(columns, rows, Bar(draw=lambda row, width: Text(_bar(row.jobs, most, width), "red"), longest=30))
    if not rows:
        output.write_line("no failed jobs", error=True)


@commands.command(epilog=epilog(TIMES, EXIT_CODES, examples=("stats queue", "stats queue --model gpt-4o --json")))
@with_options
def queue(source: Source, filters: Filters, form: Form) -> None:
    """Count the queued, running and paused jobs, and show how long the longest of them have waited and run."""
    chosen = filters.of_jobs()
    with source.open(as_json=form.as_json) as store:
        found = store.call(lambda store: store.statistics.queue(**chosen))
    if form.as_json:
        output.write_json(found.as_dict())
        return
    now = time.time()
    rows: list[tuple[str, int, int | None, str]] = [
        ("queued", found.queued, found.oldest_queued_at, "yellow"),
        ("running", found.running, found.longest_running_since, "cyan"),
        ("paused", found.paused, None, "magenta"),
    ]
    if form.as_csv:
        output.write_csv(("status", "jobs", "since"), [(status, jobs, iso_time(since)) for status, jobs, since, _ in rows])
        return
    most = max(jobs for _, jobs, _, _ in rows)
    columns: list[Column[tuple[str, int, int | None, str]]] = [
        Column(title="STATUS", value=lambda row: row[0], rank=0, style=lambda row: row[3]),
        Column(title="JOBS", value=lambda row: row[1], rank=0, is_number=True),
        Column(title="LONGEST", value=lambda row: None if row[2] is None else shown_duration(now - row[2]), rank=1, is_number=True),
    ]
    write_rows(columns, rows, Bar(draw=lambda row, width: Text(_bar(row[1], most, width), row[3]), longest=30))


def _write_data(kind: type[Any], rows: Sequence[Any], by: Sequence[str], form: Form) -> bool:
    """Write rows as JSON or CSV if one of them was asked for, and return whether."""
    if form.as_json:
        output.write_json({"data": [row.as_dict() for row in rows]})
    elif form.as_csv:
        names = [name for field in fields(kind) for name in (by if field.name == "group" else (field.name,))]
        data = ({**row.as_dict(), **_iso_times(row)} for row in rows)
        output.write_csv(names, [[row[name] for name in names] for row in data])
    return form.as_json or form.as_csv


def _iso_times(row: Any) -> dict[str, str]:
    return {name: iso_time(getattr(row, name)) for name in ("bucket", "last_at") if hasattr(row, name)}


def _number(name: str, rank: int) -> Column[Any]:
    return Column(title=name.upper(), value=lambda row: getattr(row, name), rank=rank, is_number=True)


def _duration(name: str, rank: int) -> Column[Any]:
    title = name.upper().replace("_", " ")
    return Column(title=title, value=lambda row: shown_duration(getattr(row, name)), rank=rank, is_number=True)


def _bar(value: float, most: float, width: int) -> str:
    return "█" * _cells(value, most, width)


def _cells(value: float, most: float, width: int) -> int:
    """Return the length of a bar. What is not zero has one."""
    return max(1, round(value / most * width)) if value else 0


def _stacked(row: JobCounts, most: int, width: int) -> Text:
    """Return a bar whose parts add up to the length of the total, as far as each needs a cell of its own."""
    bar = Text()
    done, drawn = 0, 0
    for name, character, style in _OUTCOMES:
        jobs = getattr(row, name)
        done += jobs
        end = max(drawn + 1, round(done / most * width)) if jobs else drawn
        bar.append(character * (end - drawn), style)
        drawn = end
    return bar

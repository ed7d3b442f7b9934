"""`fine-tuning-store jobs watch`: the queue and the running jobs, read again and again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.console import Console, Group
from rich.text import Text

from fine_tuning_store.cli import output
from fine_tuning_store.cli.job_rows import job_columns
from fine_tuning_store.cli.options import EXIT_CODES, AsJson, Organization, Source, epilog, with_options
from fine_tuning_store.cli.stores import OpenStore
from fine_tuning_store.cli.tables import table_of
from fine_tuning_store.cli.times import iso_time, shown_duration, shown_time
from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.statistics import JobQueueState
from fine_tuning_store.repositories.job_filters import JobFilters
from fine_tuning_store.store import FineTuningStore

commands = typer.Typer()

#: The most jobs of a part of the view that are read.
_MOST: Final = 50


class _View(NamedTuple):
    at: float
    queue: JobQueueState
    running: tuple[FineTuningJob, ...] = ()
    queued: tuple[FineTuningJob, ...] = ()
    ended: tuple[FineTuningJob, ...] = ()


@commands.command(
    epilog=epilog(EXIT_CODES, examples=("jobs watch", "jobs watch --interval 10 >> queue.log", "jobs watch --json --count 1 | jq .queued"))
)
@with_options
def watch(
    *,
    source: Source,
    organization: Organization = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Jobs with this base model.")] = None,
    interval: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to read.")] = 2,
    times: Annotated[int | None, typer.Option("--count", min=1, metavar="N", help="End after this number of times.")] = None,
    as_json: AsJson = False,
) -> None:
    """Watch the queue and the running jobs.

    A terminal shows them until Ctrl-C. Elsewhere, and with --json, one line per interval is printed.
    """
    filters: JobFilters = {"organization_id": organization, "model": model}
    terminal = output.console()
    is_live = terminal.is_terminal and not as_json
    rounds = range(times) if times else count()
    with source.open(as_json=as_json) as store:
        if is_live:
            with output.report_failures(as_json=False):
                _show_live(store, terminal, filters, interval, rounds)
            return
        for number in rounds:
            if number:
                time.sleep(interval)
            queue = store.call(lambda store: store.statistics.queue(**filters))
            _write_line(queue, time.time(), as_json=as_json)


def _show_live(store: OpenStore, terminal: Console, filters: JobFilters, interval: float, rounds: Iterable[int]) -> None:
    """Show the view on a screen of its own. An error is raised, not printed, so that it is shown after that screen."""
    from rich.live import Live

    def view() -> Group:
        return _rendered(terminal, store.attempt(lambda store: _read(store, filters)), interval)

    live = Live(view(), console=terminal, screen=True, auto_refresh=False)
    try:  # not `with live`, which leaves the terminal as it is if Ctrl-C comes while it begins
        live.start(refresh=True)
        for _ in rounds:
            time.sleep(interval)
            live.update(view(), refresh=True)
    finally:
        live.stop()


def _read(store: FineTuningStore, filters: JobFilters) -> _View:
    def oldest(status: JobStatus) -> tuple[FineTuningJob, ...]:
        narrowed: JobFilters = {**filters, "status": status}
        return store.jobs.list(limit=_MOST, order="asc", **narrowed).data

    return _View(
        at=time.time(),
        queue=store.statistics.queue(**filters),
        running=oldest(JobStatus.RUNNING),
        queued=oldest(JobStatus.QUEUED),
        ended=store.jobs.list(limit=_MOST, order_by="finished_at", **filters).data,
    )


def _rendered(terminal: Console, view: _View, interval: float) -> Group:
    """Return the parts of the view. Each gets a third of the height of the terminal, and what the parts before it leave."""
    parts: list[Any] = [_headline(view, interval)]
    left = terminal.height - 2
    sections = [("Running", view.running), ("Queued", view.queued), ("Ended lately", view.ended)]
    for position, (title, jobs) in enumerate(sections):
        rows = max(0, min(len(jobs), left // (len(sections) - position) - 3))
        left -= rows + 3
        parts += [Text(""), Text(title if jobs else f"{title}: none", "bold")]
        if rows:
            parts.append(table_of(terminal, job_columns(), jobs[:rows]))
    return Group(*parts)


def _headline(view: _View, interval: float) -> Text:
    queue = view.queue
    figures = (
        ("queued", queue.queued, "yellow", queue.oldest_queued_at, "oldest for"),
        ("running", queue.running, "cyan", queue.longest_running_since, "longest for"),
        ("paused", queue.paused, "magenta", None, ""),
    )
    line = Text(f"{shown_time(view.at)} UTC, every {interval:g} s  ")
    for name, number, color, since, words in figures:
        line.append(f"  {number} {name}", f"bold {color}")
        if since is not None:
            line.append(f" ({words} {shown_duration(view.at - since)})")
    line.truncate(500)
    return line


def _write_line(queue: JobQueueState, now: float, *, as_json: bool) -> None:
    if as_json:
        output.write_json({"at": int(now), **queue.as_dict()})
        return
    figures: Mapping[str, object] = {
        "queued": queue.queued,
        "oldest_queued_seconds": _since(queue.oldest_queued_at, now),
        "running": queue.running,
        "longest_running_seconds": _since(queue.longest_running_since, now),
        "paused": queue.paused,
    }
    output.write_line(" ".join((iso_time(now), *(f"{name}={value}" for name, value in figures.items()))))


def _since(time: int | None, now: float) -> int:
    return 0 if time is None else int(now - time)

"""`fine-tuning-store jobs purge`: old jobs are deleted."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fine_tuning_store.cli import output
from fine_tuning_store.cli.filters import TIMES
from fine_tuning_store.cli.options import EXIT_CODES, AsJson, Organization, Source, epilog, with_options
from fine_tuning_store.cli.progress import progress
from fine_tuning_store.cli.times import parse_time
from fine_tuning_store.domain.lifecycle import ENDED, JobStatus
from fine_tuning_store.domain.retention import PurgeResult
from fine_tuning_store.store import FineTuningStore

commands = typer.Typer()


@commands.command(
    epilog=epilog(
        TIMES,
        EXIT_CODES,
        examples=(
            "jobs purge --finished-before 365d",
            "jobs purge --finished-before 365d --export-to purged.jsonl --delete",
            "jobs purge --finished-before 30d --events-only --delete",
        ),
    )
)
@with_options
def purge(
    *,
    source: Source,
    finished_before: Annotated[str, typer.Option(metavar="TIME", help="Jobs that ended before TIME.")],
    status: Annotated[
        list[JobStatus] | None,
        typer.Option(metavar="STATUS", help=f"Jobs of any of these statuses (repeatable): {', '.join(ENDED)}.", show_default=False),
    ] = None,
    organization: Organization = None,
    events_only: Annotated[bool, typer.Option("--events-only", help="Delete the events of the jobs, and leave the jobs.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The most jobs, those that ended first.", show_default=False)
    ] = None,
    export_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="Append the history of each job to this file of JSON lines first.", show_default=False
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them. Without it, they are only counted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete ended jobs, or their events alone, that are older than a time.

    Without --delete they are only counted. A purge runs in short transactions beside the service, and goes on by the same command after an
    interruption. Jobs that are locked, or that rows of other tables refer to, are left.
    """
    if export_to is not None and not delete:
        raise typer.BadParameter("needs --delete", param_hint="'--export-to'")
    arguments: dict[str, Any] = {
        "finished_before": parse_time("--finished-before", finished_before),
        "statuses": status or None,
        "organization_id": organization,
        "events_only": events_only,
        "limit": limit,
    }

    def work(store: FineTuningStore) -> PurgeResult:
        counted = store.retention.purge(**arguments)
        if not delete:
            return counted
        show(0, counted.jobs)
        with nullcontext(None) if export_to is None else appending_histories(store, export_to) as append:
            return store.retention.purge(**arguments, dry_run=False, progress=lambda result: show(result.jobs), before_delete=append)

    if export_to is not None:
        from fine_tuning_store.transfer import appending_histories
    with source.open(as_json=as_json, read_only=not delete) as store, progress("jobs") as show:
        result = store.call(work)
    if as_json:
        output.write_json({**asdict(result), "deleted": delete})
    else:
        _write(result, events_only=events_only, deleted=delete)


def _write(result: PurgeResult, *, events_only: bool, deleted: bool) -> None:
    verb = "deleted" if deleted else "to be deleted; --delete deletes them"
    what = f"{result.events:,} events of {result.jobs:,} jobs" if events_only else f"{result.jobs:,} jobs with {result.events:,} events"
    output.write_line(f"{what} {verb}")
    if result.locked:
        output.write_line(f"{result.locked:,} jobs were left: other transactions have locked them")
    if result.referenced:
        ids = ", ".join(map(output.plain, result.referenced_ids))
        output.write_line(f"{result.referenced:,} jobs were left: rows of other tables refer to them: {ids}")
    if result.has_more:
        output.write_line("there are more, past the limit")

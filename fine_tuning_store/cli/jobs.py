"""`fine-tuning-store jobs`: the commands that list and show jobs."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import typer

from fine_tuning_store.cli import output
from fine_tuning_store.cli.filters import TIMES, Filters
from fine_tuning_store.cli.job_rows import CSV_COLUMNS, csv_row, job_columns, job_to_json, stuck_columns
from fine_tuning_store.cli.options import EXIT_CODES, AsJson, Form, JobId, Organization, Source, epilog, with_options
from fine_tuning_store.cli.tables import write_rows
from fine_tuning_store.wire.records import page_to_wire

commands = typer.Typer(epilog=epilog(EXIT_CODES, examples=("jobs list --status failed --since 7d", "jobs show ftjob-abc", "jobs watch")))


@commands.command(
    "list",
    epilog=epilog(
        TIMES,
        EXIT_CODES,
        examples=(
            "jobs list --status failed --finished-since 12h",
            "jobs list --metadata team=nlp --hyperparameter-at-least n_epochs=4",
            "jobs list --since 2026-01-01 --limit 1000 --csv > jobs.csv",
            "jobs list --json | jq -r '.data[].id'",
        ),
    ),
)
@with_options
def list_jobs(
    *,
    source: Source,
    filters: Filters,
    form: Form,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="The number of jobs.")] = 20,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="The id of the job that the list begins after: the last one of the page before.")
    ] = None,
    order: Annotated[Literal["desc", "asc"], typer.Option(help="The newest or the oldest first.")] = "desc",
    order_by: Annotated[
        Literal["created_at", "finished_at"], typer.Option(help="The time to order by; finished_at lists jobs that have one.")
    ] = "created_at",
) -> None:
    """List jobs that match all filters.

    On a terminal the table has the columns that fit, elsewhere it has all of them.
    """
    chosen = filters.of_jobs()
    with source.open(as_json=form.as_json) as store:
        page = store.call(lambda store: store.jobs.list(after=after, limit=limit, order=order, order_by=order_by, **chosen))
    if form.as_json:
        output.write_json(page_to_wire(page, job_to_json))
    elif form.as_csv:
        output.write_csv(CSV_COLUMNS, map(csv_row, page))
    elif page.data:
        write_rows(job_columns(), page.data)
    if form.as_json or form.as_csv:
        return
    if page.has_more:
        output.write_line(f"more: --after {output.plain(page.last_id)}", error=True)
    elif not page.data:
        output.write_line("no jobs", error=True)


@commands.command(
    epilog=epilog(EXIT_CODES, examples=("jobs show ftjob-abc", "jobs show ftjob-abc --events 100", "jobs show ftjob-abc --json | jq .job"))
)
@with_options
def show(
    *,
    source: Source,
    id: JobId,
    events: Annotated[int, typer.Option(min=0, max=1000, metavar="N", help="The number of newest events.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show a job and its history.

    That is its members, transitions, checkpoints, newest events, and losses, which a terminal shows as a curve.
    """
    from fine_tuning_store.cli import job_view

    with source.open(as_json=as_json) as store:
        found = store.call(lambda store: job_view.read(store, id, events, with_curve=not as_json))
    if as_json:
        output.write_json(job_view.as_json(found))
    else:
        job_view.write(found)


@commands.command(
    epilog=epilog(
        EXIT_CODES,
        examples=(
            "jobs events ftjob-abc",
            "jobs events ftjob-abc --follow",
            "jobs events ftjob-abc --json | jq -r '.data[].message'",
        ),
    )
)
@with_options
def events(
    *,
    source: Source,
    id: JobId,
    limit: Annotated[int, typer.Option(min=0, max=1000, metavar="N", help="The number of newest events to begin with.")] = 20,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on with new events, until the job has ended. With --json, print one object per event."),
    ] = False,
    interval: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often --follow looks for new events.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Print the events of a job, oldest first."""
    from fine_tuning_store.cli import job_events

    with source.open(as_json=as_json) as store:
        newest = store.call(lambda store: job_events.newest_of(store, id, limit))
        if as_json and not follow:
            output.write_json(job_events.as_json(newest.events))
            return
        job_events.write(newest.events, as_json=as_json)
        if follow:
            job_events.follow(store, id, newest.position, interval, as_json=as_json)


@commands.command(epilog=epilog(EXIT_CODES, examples=("jobs stuck", "jobs stuck --json | jq -r '.data[].id'")))
@with_options
def stuck(
    *,
    source: Source,
    organization: Organization = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="The number of jobs.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List running jobs without a live lease.

    The oldest is first, and the exit code is 1 if there are any. The lease of such a job has expired, or the job was started without one.
    `leases.rescue`, which workers call, returns the former to the queue; `jobs requeue` and `jobs cancel` change one job.
    """
    with source.open(as_json=as_json) as store:
        found = store.call(
            lambda store: (store if organization is None else store.for_organization(organization)).leases.stuck(limit=limit)
        )
    if as_json:
        output.write_json({"object": "list", "data": [job_to_json(job) for job in found]})
    elif found:
        write_rows(stuck_columns(time.time()), found)
    else:
        output.write_line("no stuck jobs", error=True)
    raise typer.Exit(output.TO_DO if found else 0)

"""`fine-tuning-store report`: pictures of the job history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fine_tuning_store.cli import output
from fine_tuning_store.cli.filters import TIMES, Filters
from fine_tuning_store.cli.options import EXIT_CODES, AsJson, Source, epilog, with_options


@with_options
def report(
    *,
    source: Source,
    filters: Filters,
    html: Annotated[Path, typer.Option(metavar="FILE", dir_okay=False, help="The page to write. It is replaced if it exists.")],
    job: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A job whose losses are drawn (repeatable, at most 12).", show_default=False)
    ] = None,
    bucket: Annotated[
        Literal["hour", "day", "week", "month"] | None, typer.Option(help="The length of intervals; one that suits the time unless given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an HTML page with charts of the jobs that match.

    It shows outcomes over time, success by model, tokens by organization, waiting and running times, error codes, and the losses of chosen
    jobs, each with its data as a table. The page is one file, and loads nothing from elsewhere.
    """
    from fine_tuning_store.report import html_report
    from fine_tuning_store.transfer.targets import checked_target

    chosen = filters.of_jobs()
    with output.report_failures(as_json=as_json), source.open(as_json=as_json) as store:
        target = store.call(lambda store: checked_target(store, html, "html"))
        page = store.call(lambda store: html_report(store, jobs=job or (), bucket=bucket, **chosen))
        target.write_text(page, encoding="utf-8")
    if as_json:
        output.write_json({"file": str(html), "bytes": len(page.encode())})
    else:
        output.write_line(f"the report is in {output.plain(html)}")


EPILOG = epilog(
    TIMES,
    EXIT_CODES,
    examples=(
        "report --html report.html --since 90d",
        "report --html org-1.html --organization org-1 --bucket week",
        "report --html losses.html --job ftjob-abc --job ftjob-def",
    ),
)

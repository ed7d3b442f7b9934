"""`fine-tuning-store jobs`: the commands that copy the job history into files and out of them, and from a provider."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fine_tuning_store.cli import output
from fine_tuning_store.cli.filters import TIMES, Filters, parse_pairs
from fine_tuning_store.cli.options import EXIT_CODES, AsJson, Source, epilog, with_options
from fine_tuning_store.cli.progress import progress
from fine_tuning_store.errors import MissingExtraError

if TYPE_CHECKING:
    from fine_tuning_store.transfer import ImportReport

commands = typer.Typer()

_FILE = typer.Argument(metavar="FILE", dir_okay=False)


@commands.command(
    "export",
    epilog=epilog(
        TIMES,
        EXIT_CODES,
        examples=(
            "jobs export history.jsonl",
            "jobs export failed.csv --status failed --since 30d",
            "jobs export history.parquet --organization org-1",
        ),
    ),
)
@with_options
def export_jobs(
    *,
    source: Source,
    filters: Filters,
    file: Annotated[Path, _FILE],
    format: Annotated[
        Literal["jsonl", "csv", "parquet"] | None, typer.Option(help="The format; by default the suffix of the file says it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write jobs to a file.

    JSONL has the whole history of each job, for `jobs import`. CSV and Parquet have a row for each job. The file appears when it is
    complete; the same command goes on after an interruption.
    """
    from fine_tuning_store.transfer import export_jobs

    chosen = filters.of_jobs()
    with source.open(as_json=as_json) as store, progress("jobs") as show:
        show(0, store.call(lambda store: store.jobs.count(**chosen)))
        words = filters.words()
        written = store.call(lambda store: export_jobs(store, file, format=format, progress=show, words=words, **chosen))
    _print({"file": str(file), "jobs": written}, [f"{written:,} jobs in {output.plain(file)}"], as_json=as_json)


@commands.command(
    "import",
    epilog=epilog(
        EXIT_CODES,
        examples=(
            "jobs import history.jsonl",
            "jobs import jobs.jsonl --organization org-1 --status-word training=running",
            "jobs import --from-openai --files files",
            "jobs import --from-azure --organization org-1",
        ),
    ),
)
@with_options
def import_jobs(
    *,
    source: Source,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", dir_okay=False, show_default=False)] = None,
    from_openai: Annotated[
        bool, typer.Option("--from-openai", help="Copy from a server of the API: OPENAI_API_KEY and OPENAI_BASE_URL say which.")
    ] = False,
    from_azure: Annotated[
        bool,
        typer.Option("--from-azure", help="The same from Azure: AZURE_OPENAI_API_KEY, AZURE_OPENAI_ENDPOINT and OPENAI_API_VERSION."),
    ] = False,
    organization: Annotated[str | None, typer.Option(metavar="ID", help="The organization of all jobs; else each job says it.")] = None,
    status_word: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD=STATUS", help="What a provider's word for the status means (repeatable).", show_default=False),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", file_okay=False, help="Copy the files of a provider, too: training, validation, results."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Read the jobs of a provider again that have not changed.")] = False,
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Where refused lines go; FILE.rejects.jsonl by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Store the jobs of a file that `jobs export` wrote, or of a provider.

    It can be repeated: jobs that have changed are replaced, and what is new is added. Jobs that were created or started here stay as they
    are. The exit code is 1 if a job was refused.
    """
    if sum((file is not None, from_openai, from_azure)) != 1:
        raise typer.BadParameter("give one of FILE, --from-openai and --from-azure", param_hint="'FILE'")
    if file is not None:
        for option, value in {"--files": files, "--again": again, "--status-word": status_word}.items():
            _refuse(option, value)
        report = _from_file(source, file, rejects, organization, as_json=as_json)
    else:
        _refuse("--rejects", rejects)
        options = {"organization_id": organization, "files": files, "again": again, "statuses": parse_pairs("--status-word", status_word)}
        report = _from_provider(source, options, is_azure=from_azure, as_json=as_json)
    raise typer.Exit(output.TO_DO if report.rejected else 0)


def _refuse(option: str, value: object) -> None:
    if value:
        raise typer.BadParameter("cannot be combined with this source", param_hint=f"'{option}'")


def _from_file(source: Source, file: Path, rejects: Path | None, organization: str | None, *, as_json: bool) -> ImportReport:
    from fine_tuning_store.transfer import import_jobs

    total = None
    if file.is_file():  # no pipe, which can be read once
        with output.report_failures(as_json=as_json), file.open("rb") as lines:
            total = sum(1 for line in lines if line.strip())
    with source.open(as_json=as_json, read_only=False) as store, progress("lines") as show:
        report = store.call(
            lambda store: import_jobs(
                store, file, rejects=rejects, organization_id=organization, progress=lambda report: show(report.read, total)
            )
        )
    where = file.with_name(f"{file.name}.rejects.jsonl") if rejects is None else rejects
    _print(asdict(report), [_summary(report, f"the lines are in {output.plain(where)}")], as_json=as_json)
    return report


def _from_provider(source: Source, options: dict[str, Any], *, is_azure: bool, as_json: bool) -> ImportReport:
    with output.report_failures(as_json=as_json):
        try:
            import openai
        except ModuleNotFoundError as error:
            raise MissingExtraError("openai", "copies of a provider need its official client") from error
    from fine_tuning_store.transfer.provider import import_from_provider

    try:
        client: openai.OpenAI = (openai.AzureOpenAI if is_azure else openai.OpenAI)(max_retries=8)
    except (openai.OpenAIError, ValueError) as error:  # the latter if no address of Azure is set
        output.fail(f"the provider cannot be asked: {error}", as_json=as_json, kind=type(error).__name__)
    try:
        with client, source.open(as_json=as_json, read_only=False) as store, progress("jobs") as show:
            report = store.call(lambda store: import_from_provider(store, client, progress=lambda report: show(report.read), **options))
    except (openai.OpenAIError, UnicodeError) as error:  # the latter for a key that no header can hold
        output.fail(f"the provider failed: {error}", as_json=as_json, kind=type(error).__name__)
    lines = [_summary(report, "")]
    lines += [f"  {output.plain(id)}: {output.plain(reason)}" for id, reason in report.reasons.items()]
    parts = f"{report.events:,} events, {report.checkpoints:,} checkpoints and {report.permissions:,} permissions were read"
    lines.append(parts + (f"; {report.files:,} files are in {output.plain(options['files'])}" if options["files"] else ""))
    gone = ", ".join(f"{name} ({number:,})" for name, number in report.gone.items() if number)
    lines += [f"the provider did not give: {gone}"] if gone else []
    _print(asdict(report), lines, as_json=as_json)
    return report


def _summary(report: ImportReport, where: str) -> str:
    figures = f"{report.added:,} jobs added, {report.merged:,} brought up to date, {report.unchanged:,} unchanged"
    return figures + (f", {report.rejected:,} refused{where and f': {where}'}" if report.rejected else "")


def _print(result: dict[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        output.write_json(result)
    else:
        for line in lines:
            output.write_line(line)

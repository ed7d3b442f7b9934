"""`fine-tuning-store db`: the migrations of a database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, TypeVar

import typer

from fine_tuning_store.cli import output
from fine_tuning_store.cli.database import on_schema
from fine_tuning_store.cli.options import AsJson, SchemaName, Url, VersionTable, epilog
from fine_tuning_store.schema import LOCK_SECONDS, Schema, SchemaState
from fine_tuning_store.sql.urls import shown

T = TypeVar("T")

EXIT_CODES = """\b
Exit codes:
    0  done; state: this release can use the tables; check: no differences
    1  state: something must be done first; check: differences were found
    2  usage error, or a value that is not possible
    3  refused or failed, or the output could not be written
    4  another process kept the migration lock for too long
  130  interrupted by Ctrl-C"""

commands = typer.Typer(epilog=epilog(EXIT_CODES, examples=("db upgrade", "db state")))

LockTimeout = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for others that migrate or use the tables.")]


@commands.command(epilog=epilog(EXIT_CODES, examples=("db upgrade", "db upgrade --url postgresql://user@host/name --lock-timeout 300")))
def upgrade(
    *,
    url: Url,
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="The revision to upgrade to.")] = "head",
    schema: SchemaName = None,
    host_version_table: VersionTable = None,
    create_schema: Annotated[bool, typer.Option("--create-schema", help="Create the --schema first if it does not exist.")] = False,
    lock_timeout: LockTimeout = LOCK_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Upgrade the tables. Safe to repeat, and safe for many processes at once: one migrates, the others wait."""

    def work(found: Schema) -> str | None:
        found.upgrade(revision, lock_timeout=lock_timeout, create_schema=create_schema)
        return found.current()

    _print_revision(work, url, schema, host_version_table, as_json=as_json)


@commands.command(epilog=epilog(EXIT_CODES, examples=("db downgrade fine_tuning_store_0001",)))
def downgrade(
    *,
    url: Url,
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="The revision to downgrade to; `base` drops all tables.")],
    schema: SchemaName = None,
    host_version_table: VersionTable = None,
    allow_data_loss: Annotated[
        bool, typer.Option("--allow-data-loss", help="Downgrade although jobs are stored; what the older tables cannot hold is lost.")
    ] = False,
    lock_timeout: LockTimeout = LOCK_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Downgrade the tables. Refused while any job is stored, unless --allow-data-loss is given."""

    def work(found: Schema) -> str | None:
        found.downgrade(revision, allow_data_loss=allow_data_loss, lock_timeout=lock_timeout)
        return found.current()

    _print_revision(work, url, schema, host_version_table, as_json=as_json)


@commands.command(epilog=epilog(EXIT_CODES, examples=("db adopt",)))
def adopt(
    *,
    url: Url,
    schema: SchemaName = None,
    host_version_table: VersionTable = None,
    lock_timeout: LockTimeout = LOCK_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Create the version table of tables that have none, if they are exactly those of a revision."""

    def work(found: Schema) -> str | None:
        found.adopt(lock_timeout=lock_timeout)
        return found.current()

    _print_revision(work, url, schema, host_version_table, as_json=as_json)


@commands.command(epilog=epilog(EXIT_CODES, examples=("db state", "db state --json | jq -r .command")))
def state(*, url: Url, schema: SchemaName = None, host_version_table: VersionTable = None, as_json: AsJson = False) -> None:
    """Show whether this release can use the tables, and what to run next. Changes nothing."""
    found = _ask(Schema.state, url, schema, host_version_table, as_json=as_json)
    if as_json:
        output.write_json(_as_json(found))
    else:
        _show(found, url)
    raise typer.Exit(0 if found.is_usable else output.TO_DO)


@commands.command(epilog=epilog(EXIT_CODES, examples=("db check",)))
def check(*, url: Url, schema: SchemaName = None, host_version_table: VersionTable = None, as_json: AsJson = False) -> None:
    """List what the state says is wrong, the differences between the tables and those of this release, and on SQLite damage of the file.

    Changes nothing.
    """

    def work(found: Schema) -> list[str]:
        problems = (problem for problem in found.state().problems if isinstance(problem, str))
        return [*problems, *map(str, found.check()), *(f"damaged: {fault}" for fault in found.damage())]

    differences = _ask(work, url, schema, host_version_table, as_json=as_json)
    if as_json:
        output.write_json({"differences": differences})
    else:
        for difference in differences:
            output.write_line(difference, "yellow")
        if not differences:
            output.write_line("no differences", "green")
    raise typer.Exit(output.TO_DO if differences else 0)


@commands.command(epilog=epilog(EXIT_CODES, examples=("db sql > all.sql", "db sql --from fine_tuning_store_0001 > upgrade.sql")))
def sql(
    *,
    url: Url,
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="The target revision; one older than --from writes a downgrade.")
    ] = "head",
    start: Annotated[str, typer.Option("--from", metavar="REVISION", help="The current revision of the database.")] = "base",
    schema: SchemaName = None,
    host_version_table: VersionTable = None,
    as_json: AsJson = False,
) -> None:
    """Print the SQL of a migration for the URL's kind of database. Does not connect."""
    written = _ask(lambda found: found.sql(revision, start=start), url, schema, host_version_table, as_json=as_json, connects=False)
    if as_json:
        output.write_json({"sql": written})
    else:
        typer.echo(written, nl=False)


def _ask(
    work: Callable[[Schema], T], url: str, schema: str | None, host_version_table: str | None, *, as_json: bool, connects: bool = True
) -> T:
    with output.report_failures(as_json=as_json):
        return on_schema(work, url, schema, host_version_table, connects=connects)


def _print_revision(
    work: Callable[[Schema], str | None], url: str, schema: str | None, host_version_table: str | None, *, as_json: bool
) -> None:
    revision = _ask(work, url, schema, host_version_table, as_json=as_json)
    if as_json:
        output.write_json({"revision": revision})
    else:
        output.write_line("the database has no fine-tuning tables" if revision is None else f"the database is at {revision}", "green")


def _as_json(found: SchemaState) -> dict[str, object]:
    values = {each.name: getattr(found, each.name) for each in fields(found)}
    return {**values, "problems": [str(problem) for problem in found.problems], "is_usable": found.is_usable}


def _show(found: SchemaState, url: str) -> None:
    output.write_table(
        {
            "database": shown(url),
            "status": found.status.value,
            "revision": found.revision or "none",
            "schema of the database": found.schema_number or "none",
            "oldest code that may use it": found.oldest_code_number or "none",
            "schema of this release": found.code_number,
            "read-only": "yes" if found.is_read_only else "no",
        }
    )
    for problem in found.problems:
        output.write_line(str(problem), "yellow")
    if found.command is not None:
        output.write_line(f"next{', on the primary' if found.is_read_only else ''}: {found.command}", "bold")

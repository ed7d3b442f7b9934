"""The commands, in their groups."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Annotated, NamedTuple

import typer

from fine_tuning_store.cli import output
from fine_tuning_store.cli.options import epilog


class _Group(NamedTuple):
    """A group of commands: what the help says of it, and its modules with the commands that they are imported for."""

    help: str
    modules: Mapping[str, Collection[str]]


_GROUPS = {
    "db": _Group("Migrate the tables of a database, and show their state.", {"db": ()}),
    "jobs": _Group(
        "List, show, watch, create, change, export, import and purge jobs.",
        {
            "jobs": ("list", "show", "events", "stuck"),
            "watch": ("watch",),
            "job_changes": ("create", "cancel", "pause", "resume", "requeue"),
            "transfers": ("export", "import"),
            "retention": ("purge",),
        },
    ),
    "stats": _Group("Counts, durations, error codes and the queue.", {"stats": ()}),
}
_REPORT = "report"


def app_for(arguments: list[str]) -> typer.Typer:
    """Return the command line. Modules without a command that the arguments name are not imported, unless all are needed, as for help."""
    app = typer.Typer(
        callback=root,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        epilog=epilog(examples=("db upgrade", "jobs list --since 7d", "stats counts --by model", "--install-completion")),
    )
    named = [name for name in (*_GROUPS, _REPORT, "--version") if name in arguments]
    for name, group in _GROUPS.items():
        if named and name not in named:
            continue
        needed = [module for module, names in group.modules.items() if not set(arguments).isdisjoint(names)] or group.modules
        parts: list[typer.Typer] = [import_module(f"fine_tuning_store.cli.{module}").commands for module in needed]
        commands = typer.Typer()
        for part in parts:
            commands.add_typer(part)
        app.add_typer(commands, name=name, help=group.help, epilog=parts[0].info.epilog, no_args_is_help=True)
    if not named or _REPORT in named:
        from fine_tuning_store.cli.report import EPILOG, report

        app.command(_REPORT, epilog=EPILOG)(report)
    return app


def _print_version(*, value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"fine-tuning-store {version('fine-tuning-store')}")
        raise typer.Exit


def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=lambda value: _print_version(value=value), is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Fine-tuning jobs in a SQL database."""
    del version


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code, also if its output cannot be written."""
    try:
        code = _run(arguments, as_json="--json" in arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, SystemExit) as error:  # Typer and Rich exit by themselves when a pipe is broken
        if isinstance(error, SystemExit) and (not error.code or "--show-completion" in arguments or "--install-completion" in arguments):
            return int(error.code or 0)  # shell completion ends so
        return output.unwritten(error)
    return code


def _run(arguments: list[str], *, as_json: bool) -> int:
    """Print wrong arguments and bugs as JSON too if --json is given. An OSError is one of the output: a database's is printed before."""
    try:
        return app_for(arguments)(arguments, prog_name="fine-tuning-store", standalone_mode=False) or 0
    except typer.TyperException as error:
        if as_json:
            output.write_json({"error": "UsageError", "message": error.format_message()})
        else:
            error.show()  # type: ignore[attr-defined]  # what Typer raises has it, what it exports does not say so
        return error.exit_code
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a bug; the 1 that Python would exit with has a meaning here
        traceback.print_exc()
        if as_json:
            output.write_json({"error": type(error).__name__, "message": str(error)})
        return output.FAILED

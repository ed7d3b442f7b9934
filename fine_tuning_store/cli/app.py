"""The commands, in their groups."""

from __future__ import annotations

import traceback

import typer

from fine_tuning_store.cli import output
from fine_tuning_store.cli.db import db

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(db)


@app.callback()
def root() -> None:
    """Fine-tuning jobs in a SQL database."""


def run(arguments: list[str]) -> int:
    """Run a command and answer its exit code. With --json, wrong arguments and bugs are told as JSON too."""
    as_json = "--json" in arguments
    try:
        return app(arguments, prog_name="fine-tuning-store", standalone_mode=not as_json) or 0
    except typer.TyperException as error:
        output.write_json({"error": "UsageError", "message": error.format_message()})
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - a bug; the 1 that Python would exit with has a meaning here
        traceback.print_exc()
        if as_json:
            output.write_json({"error": type(error).__name__, "message": str(error)})
        return output.FAILED

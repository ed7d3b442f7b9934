"""The commands, in their groups."""

from __future__ import annotations

import sys
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
    """Run a command and return its exit code, also if its output cannot be written."""
    try:
        code = _run(arguments, as_json="--json" in arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, SystemExit) as error:  # Typer and Rich exit by themselves when a pipe is broken
        return output.unwritten(error)
    return code


def _run(arguments: list[str], *, as_json: bool) -> int:
    """Print wrong arguments and bugs as JSON too if --json is given. An OSError is one of the output: a database's is printed before."""
    try:
        return app(arguments, prog_name="fine-tuning-store", standalone_mode=False) or 0
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

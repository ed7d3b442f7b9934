"""The output of commands: one JSON object for programs; tables and lines for people, without styles if it is not a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from fine_tuning_store.cli.database import in_one_line
from fine_tuning_store.errors import FineTuningStoreError, SchemaLockTimeoutError

#: Exit codes, besides 0 for success and Typer's 2 for a usage error.
TO_DO, FAILED, LOCKED = 1, 3, 4


def write_json(value: Mapping[str, Any]) -> None:
    """Write one object on one line, the same on every terminal."""
    typer.echo(json.dumps(value))


def write_line(line: str, style: str = "", *, error: bool = False) -> None:
    """Write a line without markup and without wrapping, so that it can be copied."""
    Console(stderr=error, highlight=False).print(Text(line, style), soft_wrap=True)


def write_table(rows: Mapping[str, object]) -> None:
    """Write names and values, in two columns on a terminal, else as `name: value`."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for name, value in rows.items():
            write_line(f"{name}: {value}")
        return
    table = Table(show_header=False)
    for _ in ("name", "value"):
        table.add_column(overflow="fold")  # so that a long URL is whole
    for name, value in rows.items():
        table.add_row(Text(name, "bold"), Text(str(value)))
    console.print(table)


def unwritten(error: OSError | SystemExit) -> int:
    """Return the exit code of a command whose output could not be written, and say so on standard error if possible."""
    reason = error.strerror if isinstance(error, OSError) else "Broken pipe"
    with suppress(OSError, SystemExit):
        write_line(f"error: the output could not be written: {reason}", "red", error=True)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # else Python reports at exit that it cannot flush them
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return FAILED


@contextmanager
def report_failures(*, as_json: bool) -> Iterator[None]:
    """End the command on an expected error inside the block, and print its message, or JSON. Other errors pass through."""
    try:
        yield
    except (FineTuningStoreError, SQLAlchemyError, OSError) as error:
        message = str(error) if isinstance(error, FineTuningStoreError) else f"the database failed: {in_one_line(error)}"
        if as_json:
            write_json({"error": type(error).__name__, "message": message})
        else:
            write_line(f"error: {message}", "red", error=True)
        raise typer.Exit(LOCKED if isinstance(error, SchemaLockTimeoutError) else FAILED) from error

"""What a command says: one JSON object for machines; a table, a list or a line for people, and plain text where no terminal listens."""

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

#: Exit codes. 0 is done; 2 is a wrong use of the command line, answered by Typer.
TO_DO, FAILED, LOCKED = 1, 3, 4


def write_json(value: Mapping[str, Any]) -> None:
    """One object on one line, the same on every terminal."""
    typer.echo(json.dumps(value))


def write_line(line: str, style: str = "", *, error: bool = False) -> None:
    """A line as it is: never wrapped, so that it can be copied, and without any markup in it."""
    Console(stderr=error, highlight=False).print(Text(line, style), soft_wrap=True)


def write_table(rows: Mapping[str, object]) -> None:
    """Names and values, in two columns on a terminal, as `name: value` elsewhere."""
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
    """The exit code of a command whose output could not be written, which standard error tells where it can."""
    reason = error.strerror if isinstance(error, OSError) else "Broken pipe"
    with suppress(OSError, SystemExit):
        write_line(f"error: the output could not be written: {reason}", "red", error=True)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # Python complains at its end of what is left in them
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return FAILED


@contextmanager
def failures_told(*, as_json: bool) -> Iterator[None]:
    """A block whose errors end the command and are told by what they say, or as JSON. Anything unforeseen passes through."""
    try:
        yield
    except (FineTuningStoreError, SQLAlchemyError, OSError) as error:
        message = str(error) if isinstance(error, FineTuningStoreError) else f"the database failed: {in_one_line(error)}"
        if as_json:
            write_json({"error": type(error).__name__, "message": message})
        else:
            write_line(f"error: {message}", "red", error=True)
        raise typer.Exit(LOCKED if isinstance(error, SchemaLockTimeoutError) else FAILED) from error

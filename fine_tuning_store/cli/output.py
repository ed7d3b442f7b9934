"""The output of commands: one JSON object for programs; tables and lines for people, without styles if it is not a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from fine_tuning_store.cli.database import in_one_line
from fine_tuning_store.errors import FineTuningStoreError, InvalidValueError, SchemaLockTimeoutError, StoreBusyError
from fine_tuning_store.job_table import without_formula

#: Exit codes, besides 0 for success and Typer's 2 for a usage error.
TO_DO, USAGE, FAILED, LOCKED = 1, 2, 3, 4

#: Characters that a terminal acts on instead of showing them: control characters, and those that change the direction of a line.
_ACTED_ON: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def console(*, error: bool = False) -> Console:
    """Return the console of standard output or standard error. It styles what is printed on a terminal, unless NO_COLOR is set."""
    return Console(stderr=error, highlight=False)


def plain(value: object) -> str:
    """Return a value of the database as one line of text that a terminal does not act on."""
    return _ACTED_ON.sub("\N{REPLACEMENT CHARACTER}", re.sub(r"\s*[\r\n\t\x0b\x0c]\s*", " ", str(value)))


def write_json(value: Mapping[str, Any]) -> None:
    """Write one object on one line, the same on every terminal."""
    typer.echo(json.dumps(value))


def write_csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows with a header. A text that a spreadsheet would run as a formula gets an apostrophe, which makes it a text."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in rows)
    typer.echo(written.getvalue(), nl=False)


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    return without_formula(plain(value))


def write_line(line: str, style: str = "", *, error: bool = False) -> None:
    """Write a line without markup and without wrapping, so that it can be copied."""
    console(error=error).print(Text(_ACTED_ON.sub("\N{REPLACEMENT CHARACTER}", line), style), soft_wrap=True)


def write_table(rows: Mapping[str, object]) -> None:
    """Write names and values, in two columns on a terminal, else as `name: value`."""
    terminal = console()
    if not terminal.is_terminal:
        for name, value in rows.items():
            write_line(f"{name}: {value}")
        return
    table = Table(show_header=False)
    for _ in ("name", "value"):
        table.add_column(overflow="fold")  # so that a long URL is whole
    for name, value in rows.items():
        table.add_row(Text(name, "bold"), value if isinstance(value, Text) else Text(plain(value)))
    terminal.print(table)


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
        fail(_message_of(error), as_json=as_json, kind=type(error).__name__, code=_exit_code(error), cause=error)


def fail(message: str, *, as_json: bool, kind: str, code: int = FAILED, cause: Exception | None = None) -> NoReturn:
    """Print a message, or JSON, and end the command."""
    if as_json:
        write_json({"error": kind, "message": message})
    else:
        write_line(f"error: {message}", "red", error=True)
    raise typer.Exit(code) from cause


def _message_of(error: Exception) -> str:
    if isinstance(error, FineTuningStoreError):
        return str(error)
    if isinstance(error, OSError):  # of a file: those of connections are wrapped
        return str(error) if error.filename is None else f"{error.filename}: {error.strerror}"
    return f"the database failed: {in_one_line(error)}"


def _exit_code(error: Exception) -> int:
    if isinstance(error, InvalidValueError):
        return USAGE
    return LOCKED if isinstance(error, (SchemaLockTimeoutError, StoreBusyError)) else FAILED

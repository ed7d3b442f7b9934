"""Pages of the documentation that show what their blocks print."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, text

from tests.support.terminals import in_terminal, without_styles

#: What the first line of a block of SQL begins with that runs on one database only.
ONLY = {"sqlite": "-- SQLite", "postgresql": "-- PostgreSQL", "mariadb": "-- MariaDB"}


class Block(NamedTuple):
    """A fenced block. `line` is the number of lines before its first one."""

    language: str
    line: int
    text: str


class Output(NamedTuple):
    """A block of output, as the page shows it and as its program printed it."""

    line: int
    shown: str
    printed: str


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    language, first, lines = None, 0, []
    for number, line in enumerate(page.splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif language is None:
            language, first, lines = line[3:], number, []
        else:
            yield Block(language, first, "".join(f"{each}\n" for each in lines))
            language = None


def outputs_of(page: str, path: Path, database: str, namespace: dict[str, Any]) -> Iterator[Output]:
    """Run the Python and the SQL of a page in turn, and yield each block `text` with what was printed since the one before.

    The SQL runs on the engine of `store` in the namespace. A block for another database is left out, with its output. What the program
    prints at the end, after the last block of output, is yielded with an empty `shown`.
    """
    printed, is_left_out = "", False
    for block in blocks_of(page):
        if block.language == "python":
            with redirect_stdout(io.StringIO()) as stdout:
                exec(compile("\n" * block.line + block.text, str(path), "exec", dont_inherit=True), namespace)
            printed += stdout.getvalue()
        elif block.language == "sql":
            is_left_out = block.text.startswith(tuple(words for name, words in ONLY.items() if name != database))
            printed += "" if is_left_out else selected(namespace["store"].engine, block.text)
        elif block.language == "text" and not is_left_out:
            yield Output(block.line, block.text, printed)
            printed = ""
        else:
            is_left_out = False
    yield Output(len(page.splitlines()), "", printed)


def selected(engine: Engine, statement: str) -> str:
    """Return the rows of a SELECT as a table of text. NULL is empty, as in psql."""
    with engine.connect() as connection:
        result = connection.execute(text(statement))
        return as_table([list(result.keys()), *(list(map(_shown, row)) for row in result)])


def _shown(value: object) -> str:
    if isinstance(value, Decimal | float):
        return f"{float(value):.10g}"
    return "" if value is None else str(value)


def as_table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *others = (_line(row, widths, " | ") for row in rows)
    rule = "-+-".join("-" * width for width in widths)
    return "".join(f"{line}\n" for line in (header, rule, *others))


def _line(row: Iterable[str], widths: Sequence[int], separator: str) -> str:
    return separator.join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()


def run_session(session: str, urls: dict[str, str], columns: int = 100) -> str:
    """Run a block `console`, and return it with what its commands print on a terminal without colours.

    A line after `$` is a command of `fine-tuning-store`, an `export NAME=VALUE`, which is kept in `urls`, or `echo $?`.
    """
    shown, code = "", 0
    for line in session.splitlines():
        if not line.startswith("$ "):
            continue
        shown += f"{line}\n"
        program, *arguments = shlex.split(line.removeprefix("$ "))
        if program == "export":
            name, _, value = arguments[0].partition("=")
            urls[name] = value
        elif program == "echo":
            shown += f"{code}\n"
        else:
            assert program == "fine-tuning-store"
            code, output = in_terminal(*arguments, url=urls["FINE_TUNING_STORE_URL"], columns=columns, NO_COLOR="1")
            lines = "".join(f"{each}\n" for each in without_styles(output).splitlines())
            shown += re.sub(r"\n*(.*━.*\n)+\n*", "", lines)  # bars of progress, which a terminal erases
    return shown


def without_times(session: str) -> str:
    """Return a session without what differs from run to run: times, durations, and the widths of columns."""
    session = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?", "TIME", session)
    session = re.sub(r"\b\d+[smhdw]( \d+[smhdw])?(?= |$)", "DURATION", session, flags=re.MULTILINE)
    return re.sub(r" +|─+", " ", re.sub(r'"(at|\w+_at|\w+_since)": \d+', r'"\1": TIME', session))

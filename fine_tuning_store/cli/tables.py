"""Tables of rows: as many columns as fit on a terminal; all of them, aligned, elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import typer
from rich.cells import cell_len
from rich.console import Console, JustifyMethod, OverflowMethod
from rich.table import Table
from rich.text import Text

from fine_tuning_store.cli.output import console, plain

T = TypeVar("T")

#: The cells that a column with `may_shrink` is left with while other columns lack space, and the fewest on a narrow terminal.
_SHRUNK: Final = 14
_NARROW: Final = 8
_GAP: Final = 2
#: The cells that are kept for bars.
_BAR: Final = 12


@dataclass(frozen=True, kw_only=True)
class Column(Generic[T]):
    """A column of a table of rows."""

    title: str
    value: Callable[[T], object]
    """Returns the value of a row. None is shown as a dash."""
    rank: int
    """The columns of the lowest ranks stay on a narrow terminal; those of rank 0 always do."""
    is_number: bool = False
    may_shrink: bool = False
    style: Callable[[T], str] = lambda _: ""


@dataclass(frozen=True, kw_only=True)
class Bar(Generic[T]):
    """A last column of bars, for terminals."""

    draw: Callable[[T, int], Text]
    """Returns the bar of a row, for a number of cells."""
    title: str = ""
    longest: int = 50


def write_rows(columns: Sequence[Column[T]], rows: Sequence[T], bar: Bar[T] | None = None) -> None:
    """Write a table to standard output."""
    terminal = console()
    if terminal.is_terminal:
        terminal.print(table_of(terminal, columns, rows, bar))
    else:
        _write_aligned(columns, rows)


def table_of(terminal: Console, columns: Sequence[Column[T]], rows: Sequence[T], bar: Bar[T] | None = None) -> Table:
    """Return a table with the columns that fit on a terminal. Columns without any value are left out."""
    cells = {column.title: [_shown(column, row) for row in rows] for column in columns}
    wanted = {title: max(map(cell_len, (title, *texts))) for title, texts in cells.items()}
    present = [column for column in columns if column.rank == 0 or any(text != "-" for text in cells[column.title])]
    reserved = _BAR + _GAP if bar else 0
    widths = _fitting(present, wanted, terminal.width - reserved)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    chosen = [column for column in present if column.title in widths]
    for column in chosen:
        overflow: OverflowMethod = "ellipsis" if column.may_shrink else "fold"
        justify: JustifyMethod = "right" if column.is_number else "left"
        width = widths[column.title]
        table.add_column(column.title, width=width, no_wrap=column.may_shrink, justify=justify, overflow=overflow)
    bar_width = min(terminal.width - sum(widths.values()) - _GAP * len(widths), bar.longest) if bar else 0
    if bar and bar_width > 0:
        table.add_column(bar.title, width=bar_width, no_wrap=True)
    for position, row in enumerate(rows):
        texts = [Text(cells[column.title][position], column.style(row)) for column in chosen]
        table.add_row(*texts, *([bar.draw(row, bar_width)] if bar and bar_width > 0 else []))
    return table


def _shown(column: Column[T], row: T) -> str:
    value = column.value(row)
    return "-" if value is None or value == "" else plain(value)


def _fitting(columns: Sequence[Column[T]], wanted: dict[str, int], width: int) -> dict[str, int]:
    """Return the widths of the columns that fit, by their ranks. What is left goes to the columns that may shrink, by their ranks too."""
    widths: dict[str, int] = {}
    left = width + _GAP  # nothing follows the last column
    by_rank = sorted(columns, key=lambda column: column.rank)
    for column in by_rank:
        least = wanted[column.title]
        if column.may_shrink:
            least = min(least, _SHRUNK)
            if column.rank <= 1:
                least = max(min(least, left - _GAP), min(least, _NARROW))
        if column.rank == 0 or least + _GAP <= left:
            widths[column.title] = least
            left -= least + _GAP
    for column in by_rank:
        if column.may_shrink and column.title in widths and left > 0:
            more = min(left, wanted[column.title] - widths[column.title])
            widths[column.title] += more
            left -= more
    return {column.title: widths[column.title] for column in columns if column.title in widths}


def _write_aligned(columns: Sequence[Column[T]], rows: Sequence[T]) -> None:
    lines = [[column.title for column in columns], *([_shown(column, row) for column in columns] for row in rows)]
    widths = [max(map(cell_len, texts)) for texts in zip(*lines, strict=True)]
    for line in lines:
        parts = zip(columns, line, widths, strict=True)
        padded = [_padded(text, width, is_number=column.is_number) for column, text, width in parts]
        typer.echo("  ".join(padded).rstrip())


def _padded(text: str, width: int, *, is_number: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if is_number else text + space

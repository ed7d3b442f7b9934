"""The losses of a job by step, drawn on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from rich.text import Text

from fine_tuning_store.cli import output
from fine_tuning_store.losses import Points

_COLORS: Final = ("cyan", "magenta", "yellow")
_HEIGHT: Final = 15


def write_curve(losses: Mapping[str, Points]) -> None:
    """Write the first and the last value of each metric and, on a terminal, the curves."""
    terminal = output.console()
    colors = dict(zip(losses, _COLORS, strict=False))
    for name, points in losses.items():
        (first, start), (last, end) = points[0], points[-1]
        line = f"{name}: {start:.4g} at step {first:g}, {end:.4g} at step {last:g}, {len(points)} points"
        terminal.print(Text(line, colors[name]), soft_wrap=True)
    if terminal.is_terminal and any(len(points) > 1 for points in losses.values()):
        terminal.print(Text.from_ansi(_drawn(losses, colors, min(terminal.width, 120))))


def _drawn(losses: Mapping[str, Points], colors: Mapping[str, str], width: int) -> str:
    import plotext  # type: ignore[import-untyped]

    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(width, _HEIGHT)
    for name, points in losses.items():
        kept = points[:: math.ceil(len(points) / (4 * width))]
        steps, values = zip(*kept, strict=True)
        figure.draw(figure.signal(steps, values, marker=plotext.marker("braille", colors[name])).lines())
    drawn: str = figure.build().string()
    return drawn

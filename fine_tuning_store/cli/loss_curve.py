"""The losses of a job by step: read from its metrics events and checkpoints, and drawn on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.text import Text

from fine_tuning_store.cli import output
from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent

#: Values by step, in the order of the steps.
Points = list[tuple[float, float]]

#: The metrics that are drawn: losses, or the rewards of a reinforcement job, which has no losses. Each has a colour of its own.
LOSSES: Final = ("train_loss", "valid_loss", "full_valid_loss")
REWARDS: Final = ("train_reward_mean", "valid_reward_mean", "full_valid_reward_mean")
_COLORS: Final = ("cyan", "magenta", "yellow")
_HEIGHT: Final = 15


def points_of(events: Iterable[FineTuningJobEvent], checkpoints: Iterable[FineTuningJobCheckpoint]) -> dict[str, Points]:
    """Return the points of each metric that has any. A later event of the same step, as of a later attempt, goes first."""
    values: dict[str, dict[float, Any]] = {}
    metrics: list[tuple[Any, Mapping[str, Any]]] = [
        (event.data.get("step"), event.data) for event in events if isinstance(event.data, Mapping)
    ]
    metrics += [(checkpoint.step_number, checkpoint.metrics) for checkpoint in checkpoints]
    for step, members in metrics:
        for name in (*LOSSES, *REWARDS):
            value = members.get(name)
            if _is_number(step) and _is_number(value):
                values.setdefault(name, {})[step] = value
    names = LOSSES if any(name in values for name in LOSSES) else REWARDS
    return {name: sorted(values[name].items()) for name in names if name in values}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)


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

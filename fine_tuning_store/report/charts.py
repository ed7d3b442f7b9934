"""Charts as SVG, drawn by Vega-Lite. Their texts have the color of the page, so that they are readable on a dark one; marks have labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import vl_convert

Rows = Sequence[Mapping[str, Any]]
Spec = dict[str, Any]

#: Readable on white and on black.
_COLORS: Final = ("#2a9d6f", "#d1495b", "#7c8aa5", "#3d7ea6", "#b8860b", "#8f5fbf", "#c2693d", "#4f9aa8")
_OUTCOMES: Final = ("succeeded", "failed", "cancelled", "open")
#: Of longer lines the single points are not marked: each one has a label and takes half a kilobyte.
MAX_POINTS: Final = 200
_WIDTH, _HEIGHT, _BAR_HEIGHT = 560, 220, 22
#: How wide a bar is, in seconds: a little less than the interval that it stands for.
_BAR_SECONDS: Final = {"hour": 3_400, "day": 80_000, "week": 560_000, "month": 2_300_000}
#: Around the chart, in pixels: the font of a browser may be wider than the one that the texts were measured with.
_PADDING: Final = {"left": 30, "right": 60, "top": 5, "bottom": 5}

_LAST_TIME: Final = 8_640_000_000_000_000
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_CONFIG: Final[Spec] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "axis": {
        **dict.fromkeys(("labelColor", "titleColor"), "currentColor"),
        **dict.fromkeys(("domainColor", "tickColor"), "#888"),
        **dict.fromkeys(("labelFontSize", "titleFontSize"), 12),
        "gridColor": "#8884",
        "labelLimit": 180,
    },
    "legend": {"labelColor": "currentColor", "labelFontSize": 12, "orient": "top", "title": None},
    "range": {"category": list(_COLORS)},
    "text": {"color": "currentColor"},
    "view": {"stroke": None},
}


def outcomes_over_time(rows: Rows, bucket: str) -> str:
    """Draw stacked bars. A row has the `time` in Unix seconds, the `outcome` and the number of `jobs`."""
    encoding = {
        "x": _time_axis(bucket),
        "x2": {"field": "end"},
        "y": {"field": "jobs", "type": "quantitative", "title": "jobs", "stack": "zero", "axis": {"tickMinStep": 1, "format": "~s"}},
        "color": {**_series("outcome"), "scale": {"domain": list(_OUTCOMES), "range": list(_COLORS[: len(_OUTCOMES)])}},
    }
    return _svg(
        [{**row, "end": row["time"] + _BAR_SECONDS[bucket]} for row in rows],
        {"mark": {"type": "bar", "orient": "vertical"}, "encoding": encoding},
    )


def bars(rows: Rows, name: str, value: str, *, color: int = 3, percent: bool = False) -> str:
    """Draw a bar for each row, in their order, with its value at its end. With `percent` the values are from 0 to 1."""
    x: Spec = {"field": value, "type": "quantitative", "title": value, "axis": {"format": "%" if percent else "~s"}}
    x |= {"scale": {"domain": [0, 1]}} if percent else {}
    y = {"field": name, "type": "nominal", "title": None, "sort": None}
    text = {"field": value, "type": "quantitative", "format": ".1%" if percent else ",d"}
    layers = [
        {"mark": {"type": "bar", "color": _COLORS[color]}},
        {"mark": {"type": "text", "align": "left", "dx": 4, "aria": False}, "encoding": {"text": text}},
    ]
    return _svg(rows, {"layer": layers, "encoding": {"x": x, "y": y}, "width": _WIDTH - 150, "height": {"step": _BAR_HEIGHT}})


def durations_over_time(rows: Rows, bucket: str) -> str:
    """Draw a line for each percentile. A row has the `time` in Unix seconds, the `percentile` and the `minutes`."""
    y = {"field": "minutes", "type": "quantitative", "title": "minutes"}
    return _svg(
        rows,
        {
            "mark": {"type": "line", "point": len(rows) < MAX_POINTS},
            "encoding": {"x": _time_axis(bucket), "y": y, "color": _series("percentile")},
        },
    )


def losses(rows: Rows) -> str:
    """Draw a line for each `series`. A row has the `step` and the `value`."""
    x = {"field": "step", "type": "quantitative", "title": "step"}
    y = {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}}
    return _svg(rows, {"mark": {"type": "line", "point": len(rows) < MAX_POINTS}, "encoding": {"x": x, "y": y, "color": _series("series")}})


def drawable(value: Any) -> Any:
    """Return a value that can be drawn. Characters that XML does not have would make the renderer abort the process."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value) if isinstance(value, str) else value


def _milliseconds(seconds: int) -> int:
    """Return a time for a chart, in the range of times that JavaScript has."""
    return max(min(seconds * 1000, _LAST_TIME), -_LAST_TIME)


def _time_axis(bucket: str) -> Spec:
    return {"field": "time", "type": "temporal", "scale": {"type": "utc"}, "title": f"{bucket} (UTC)"}


def _series(name: str) -> Spec:
    return {"field": name, "type": "nominal", "sort": None}


def _svg(rows: Rows, spec: Spec) -> str:
    times = ("time", "end")
    values = [{name: (_milliseconds if name in times else drawable)(value) for name, value in row.items()} for row in rows]
    spec = {"width": _WIDTH, "height": _HEIGHT, "padding": _PADDING, "data": {"values": values}, **spec}
    svg: str = vl_convert.vegalite_to_svg(spec, config=_CONFIG)
    return svg

"""Times and durations: how options give them, and how they are shown. Everything is in UTC."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Final

import typer

from fine_tuning_store import job_table

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_RULE: Final = "use 7d, 12h, 30m (that long ago), 2026-01-31, 2026-01-31T08:00+01:00 (UTC without a zone), or Unix seconds"


def parse_time(option: str, text: str | None) -> int | None:
    """Return the Unix seconds of the value of an option. Ends the command if it is no time."""
    if text is None:
        return None
    ago = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip(), re.ASCII)
    if ago:
        return max(0, int(time.time()) - int(ago[1]) * _UNITS[ago[2]])
    if re.fullmatch(r"\d{9,12}", text.strip(), re.ASCII):  # fewer digits are a year or a date
        return int(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or text.strip().isdigit():
        raise typer.BadParameter(f"{text!r} is not a time: {_RULE}.", param_hint=f"'{option}'")
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def shown_time(seconds: float | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return Unix seconds as a readable time, or as a number if Python has no such time."""
    return "" if seconds is None else job_table.shown_time(seconds, form)


def iso_time(seconds: float | None) -> str:
    """Return Unix seconds in ISO 8601, for CSV."""
    return "" if seconds is None else job_table.iso_time(seconds)


def shown_duration(seconds: float | None) -> str:
    """Return a duration in its two largest units, such as `2h 5m`."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 0:
        return f"-{shown_duration(-whole)}"
    if whole < 60:
        return f"{whole}s"
    for unit, part in (("m", "s"), ("h", "m"), ("d", "h")):
        limit = {"m": 3600, "h": 86_400}.get(unit)
        if limit is None or whole < limit:
            count, rest = divmod(whole, _UNITS[unit])
            return f"{count}{unit} {rest // _UNITS[part]}{part}" if rest >= _UNITS[part] else f"{count}{unit}"
    raise AssertionError


def shown_age(since: int | None, now: float) -> str:
    """Return how long ago a time was, in its largest unit, such as `3d`."""
    return "" if since is None else shown_duration(now - since).partition(" ")[0]

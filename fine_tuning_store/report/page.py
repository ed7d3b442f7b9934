"""The page of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fine_tuning_store.domain.statistics import JobQueueState
from fine_tuning_store.job_table import shown_time
from fine_tuning_store.report.sections import Section

_FORM: Final = "%Y-%m-%d %H:%M UTC"

_environment = Environment(
    loader=PackageLoader("fine_tuning_store.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def render(sections: Sequence[Section], queue: JobQueueState, filters: Mapping[str, Any]) -> str:
    """Return the HTML page."""
    return _environment.get_template("page.html.jinja").render(
        sections=sections,
        queue=queue.as_dict(),
        filters={name: _shown(name, value) for name, value in filters.items() if value not in (None, {}, ())},
        at=_time(datetime.now(UTC)),
        since=lambda seconds: "" if seconds is None else shown_time(seconds, _FORM),
        svg=Markup,  # drawn by charts.py, which escapes the texts of the data
    )


def _time(moment: datetime) -> str:
    return moment.strftime(_FORM)


def _shown(name: str, value: object) -> str:
    if isinstance(value, datetime):
        return _time(value.astimezone(UTC))
    if name.endswith(("_since", "_until")) and isinstance(value, int):
        return shown_time(value, _FORM)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple, set, frozenset)) else str(value)

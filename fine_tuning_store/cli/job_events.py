"""The events of a job: the newest ones, and those that are appended from then on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from rich.text import Text

from fine_tuning_store.cli import output
from fine_tuning_store.cli.stores import OpenStore
from fine_tuning_store.cli.times import shown_time
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.page import Page
from fine_tuning_store.store import FineTuningStore, UnitOfWork
from fine_tuning_store.wire.records import event_to_wire

#: How long a job may have ended before nothing more is expected: services append their last events after the end.
_GRACE_SECONDS: Final = 10
_STYLES: Final = {"warn": "yellow", "warning": "yellow", "error": "red"}


class Newest(NamedTuple):
    """The newest events of a job, oldest first, and the position of the last one, 0 if the job has none."""

    events: Page[FineTuningJobEvent]
    position: int


def newest_of(store: FineTuningStore | UnitOfWork, id: str, limit: int) -> Newest:
    """Return the newest events of a job. `has_more` is True if there are older ones."""
    page = store.events.list(id, limit=max(limit, 1))
    position = (page.data[0].position or 0) if page.data else 0
    return Newest(Page(page.data[:limit][::-1], has_more=page.has_more or len(page.data) > limit), position)


def as_json(page: Page[FineTuningJobEvent]) -> dict[str, Any]:
    """Return the events as the API's list object, each with its position."""
    return {"object": "list", "data": [event_to_json(event) for event in page], "has_more": page.has_more}


def event_to_json(event: FineTuningJobEvent) -> dict[str, Any]:
    """Return the JSON object of the API, with the position of the event in its job."""
    return {**event_to_wire(event), "position": event.position}


def write(events: Iterable[FineTuningJobEvent], *, as_json: bool) -> None:
    """Write one line per event: its time, its level and its message, or its JSON object."""
    terminal = output.console()
    for event in events:
        if as_json:
            output.write_json(event_to_json(event))
        else:
            terminal.print(line_of(event), soft_wrap=True)


def line_of(event: FineTuningJobEvent) -> Text:
    """Return an event as a line."""
    style = _STYLES.get(event.level, "")
    time_and_level = f"{shown_time(event.created_at)}  {output.plain(event.level):5}  "
    return Text.assemble((time_and_level, style or "dim"), (output.plain(event.message), style))


def follow(store: OpenStore, id: str, position: int, interval: float, *, as_json: bool) -> None:
    """Write the events after a position, and those that are appended from now on, until the job has ended."""
    while True:
        ended = store.call(lambda store: _has_ended(store, id))
        has_more = True
        while has_more:
            page = store.call(lambda store, position=position: store.events.tail(id, position, limit=1000))  # type: ignore[misc]
            write(page.data, as_json=as_json)
            position = (page.data[-1].position or 0) if page.data else position
            has_more = page.has_more
        if ended:
            return
        time.sleep(interval)


def _has_ended(store: FineTuningStore, id: str) -> bool:
    job = store.jobs.get(id)
    return job.status.is_ended and (job.finished_at or 0) + _GRACE_SECONDS < time.time()

"""The events of a job: the newest ones, and those that are appended from then on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from rich.text import Text

from fine_tuning_store.cli import output
from fine_tuning_store.cli.stores import OpenStore
from fine_tuning_store.cli.times import shown_time
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.page import Page
from fine_tuning_store.store import FineTuningStore
from fine_tuning_store.wire.records import event_to_wire

#: How long a job may have ended before nothing more is expected: services append their last events after the end.
_GRACE_SECONDS: Final = 10
_STYLES: Final = {"warn": "yellow", "warning": "yellow", "error": "red"}


def read(store: OpenStore, id: str, limit: int) -> Page[FineTuningJobEvent]:
    """Return the newest events of a job, oldest first. `has_more` is True if there are older ones."""
    return store.call(lambda store: newest_of(store, id, limit))


def newest_of(store: Any, id: str, limit: int) -> Page[FineTuningJobEvent]:
    """Return the same from a store or a unit of work."""
    page = store.events.list(id, limit=max(limit, 1))
    return Page(page.data[:limit][::-1], has_more=page.has_more or len(page.data) > limit)


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


def follow(store: OpenStore, id: str, seen: Page[FineTuningJobEvent], interval: float, *, as_json: bool) -> None:
    """Write the events that are appended from now on, until the job has ended."""
    position = _position(seen) if seen.data else store.call(lambda store: _position(store.events.list(id, limit=1)))
    while True:
        ended = store.call(lambda store: _has_ended(store, id))
        has_more = True
        while has_more:
            page = store.call(lambda store, position=position: store.events.tail(id, position, limit=1000))  # type: ignore[misc]
            write(page.data, as_json=as_json)
            position, has_more = max(position, _position(page)), page.has_more
        if ended:
            return
        time.sleep(interval)


def _position(page: Page[FineTuningJobEvent]) -> int:
    """Return the position of the last event of a page, 0 if it has none."""
    return (page.data[-1].position or 0) if page.data else 0


def _has_ended(store: FineTuningStore, id: str) -> bool:
    job = store.jobs.get(id)
    return job.status.is_ended and (job.finished_at or 0) + _GRACE_SECONDS < time.time()

"""Events: the log of a job that its user reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuningJobEvent:
    """An event of a job. `position` counts from 1 without gaps, in the order in which the events of a job were committed.

    `position` and `job_id` are None on an event that was read from a payload and is not stored yet. `created_at` is in Unix seconds,
    `level` usually `info`, `warn` or `error`, `type` usually `message` or `metrics`, `data` any JSON value. `extra` holds members that
    this release does not know.
    """

    id: str
    created_at: int
    message: str
    level: str = "info"
    type: str | None = "message"
    data: Any = field(default=None, hash=False)
    job_id: str | None = None
    position: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def object(self) -> str:
        """The API's name of this kind of object, always `fine_tuning.job.event`."""
        return "fine_tuning.job.event"


class _RequiredMembers(TypedDict):
    message: str


class NewEvent(_RequiredMembers, total=False):
    """What `append_many` takes for each event: the arguments of `append`. Only `message` is required."""

    level: str
    type: str | None
    data: Any

"""What happens to a job, as its user is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuningJobEvent:
    """One event of a job. `position` counts from 1 without gaps, in the order in which a job's events were committed.

    It is None on an event that was read from a payload and not stored yet. Levels (`info`, `warn`, `error`) and types (`message`,
    `metrics`) are kept as they came; `data` is any JSON value; `extra` holds members that this release does not know.
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

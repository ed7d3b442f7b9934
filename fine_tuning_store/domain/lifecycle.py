"""The life of a job: its statuses and the one table of allowed transitions.

The guarded UPDATEs, the CHECK constraints, the errors and the diagram in the docs are all derived from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class JobStatus(StrEnum):
    """The seven statuses of a fine-tuning job. A member equals its string."""

    VALIDATING_FILES = "validating_files"  #: created; its files are being checked
    QUEUED = "queued"  #: waits for a worker
    RUNNING = "running"  #: is being trained by a worker
    PAUSED = "paused"  #: stopped by its user, who may resume it
    SUCCEEDED = "succeeded"  #: ended with a model
    FAILED = "failed"  #: ended with an error
    CANCELLED = "cancelled"  #: ended by its user

    @property
    def is_ended(self) -> bool:
        """True if no transition leaves this status."""
        return self in ENDED


ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
OPEN = tuple(status for status in JobStatus if status not in ENDED)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of status: its verb takes a job from one of `sources` to `target`."""

    verb: str
    sources: tuple[JobStatus, ...]
    target: JobStatus


TRANSITIONS = MappingProxyType(
    {
        transition.verb: transition
        for transition in (
            Transition("enqueue", (JobStatus.VALIDATING_FILES,), JobStatus.QUEUED),
            Transition("start", (JobStatus.VALIDATING_FILES, JobStatus.QUEUED), JobStatus.RUNNING),
            Transition("requeue", (JobStatus.RUNNING,), JobStatus.QUEUED),
            Transition("pause", (JobStatus.QUEUED, JobStatus.RUNNING), JobStatus.PAUSED),
            Transition("resume", (JobStatus.PAUSED,), JobStatus.QUEUED),
            Transition("succeed", (JobStatus.RUNNING,), JobStatus.SUCCEEDED),
            Transition("fail", OPEN, JobStatus.FAILED),
            Transition("cancel", OPEN, JobStatus.CANCELLED),
        )
    }
)


def as_mermaid() -> str:
    """Return the transitions as a Mermaid state diagram; a test compares it with the one in `docs/lifecycle.md`."""
    lines = ["stateDiagram-v2", f"    [*] --> {JobStatus.VALIDATING_FILES}: create"]
    for transition in TRANSITIONS.values():
        lines += [f"    {source} --> {transition.target}: {transition.verb}" for source in transition.sources]
    lines += [f"    {status} --> [*]" for status in ENDED]
    return "\n".join(lines)

"""Transitions: the log of a job that its operators read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from fine_tuning_store.domain.lifecycle import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTransition:
    """A change of a job's status, as it was logged. `position` counts from 1 without gaps.

    `transition` is the name of the method, such as `start`, `at` is in Unix seconds, and `attempt` counts the starts of the job, this one
    included. `actor` and `reason` are those that the method was given.

    The creation is not in the log, nor is a transition by a release that does not know the log: `from_status` then differs from
    `to_status` of the transition before.
    """

    id: str
    job_id: str
    position: int
    transition: str
    from_status: JobStatus
    to_status: JobStatus
    at: int
    actor: str | None = None
    reason: str | None = None
    attempt: int


class TransitionNotes(TypedDict, total=False):
    """What every transition may be given besides its own arguments.

    Attributes:
        message: A text for the job's user, which becomes an event of the job.
        actor: Who or what changed the status, for the log: 1 to 255 characters, such as the id of a user or a worker.
        reason: Why, for the log: a text for the service's operators.
    """

    message: str | None
    actor: str | None
    reason: str | None

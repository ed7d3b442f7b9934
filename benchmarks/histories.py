"""Histories of synthetic jobs: the transitions of each, and the columns that follow from them as the store would set them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from fine_tuning_store import JobStatus
from fine_tuning_store.domain.lifecycle import TRANSITIONS

#: The shares of the statuses among ended and open jobs.
ENDED_SHARES = {JobStatus.SUCCEEDED: 0.78, JobStatus.FAILED: 0.14, JobStatus.CANCELLED: 0.08}
OPEN_SHARES = {JobStatus.QUEUED: 0.6, JobStatus.RUNNING: 0.25, JobStatus.PAUSED: 0.1, JobStatus.VALIDATING_FILES: 0.05}

LAST_VERB = {JobStatus.SUCCEEDED: "succeed", JobStatus.FAILED: "fail", JobStatus.CANCELLED: "cancel", JobStatus.PAUSED: "pause"}
MEDIAN_RUNNING_SECONDS = 3000
MEAN_SECONDS = {JobStatus.VALIDATING_FILES: 30, JobStatus.QUEUED: 600, JobStatus.PAUSED: 20_000}


@dataclass(slots=True)
class Step:
    """A transition of a job."""

    verb: str
    source: JobStatus
    target: JobStatus
    at: int
    attempt: int


@dataclass(slots=True)
class History:
    """The transitions of a job and the columns of `fine_tuning_jobs` that follow from them. As created, it has none."""

    created_at: int
    status: JobStatus = JobStatus.VALIDATING_FILES
    steps: list[Step] = field(default_factory=list)
    finished_at: int | None = None
    attempt: int = 0
    queued_at: int | None = None
    started_at: int | None = None
    updated_at: int | None = None
    queued_seconds: int = 0
    running_seconds: int = 0

    def apply(self, verb: str, at: int) -> None:
        """Apply a transition at a time."""
        source, target = self.status, TRANSITIONS[verb].target
        if source is JobStatus.QUEUED and self.queued_at is not None:
            self.queued_seconds += at - self.queued_at
        if source is JobStatus.RUNNING and self.started_at is not None:
            self.running_seconds += at - self.started_at
        if target is JobStatus.QUEUED:
            self.queued_at = at
        elif target is JobStatus.RUNNING:
            self.started_at = at
            self.attempt += 1
        elif target.is_ended:
            self.finished_at = at
        self.status, self.updated_at = target, at
        self.steps.append(Step(verb, source, target, at, self.attempt))


def history(random: Random, created_at: int, *, is_open: bool) -> History:
    """Return the history of a job that ends, or one that is still open, in a random status."""
    shares = OPEN_SHARES if is_open else ENDED_SHARES
    (status,) = random.choices(list(shares), list(shares.values()))
    made = History(created_at)
    at: float = created_at
    for verb in _verbs(random, status):
        if made.status is JobStatus.RUNNING:
            at += random.lognormvariate(0, 0.8) * MEDIAN_RUNNING_SECONDS
        else:
            at += random.expovariate(1 / MEAN_SECONDS[made.status])
        made.apply(verb, int(at))
    return made


def _verbs(random: Random, status: JobStatus) -> Sequence[str]:
    """Return verbs that lead to a status: mostly the shortest way, sometimes by way of another attempt or a pause."""
    detour = random.random()
    if status is JobStatus.VALIDATING_FILES:
        return ()
    if status is JobStatus.QUEUED:
        return ("enqueue",) if detour < 0.9 else ("enqueue", "start", "requeue")
    if status is JobStatus.FAILED and detour < 0.15:  # by the check of its files
        return ("fail",)
    if status in (JobStatus.CANCELLED, JobStatus.PAUSED) and detour < 0.3:  # while it waits
        return ("enqueue", LAST_VERB[status])
    verbs = ["enqueue", "start"]
    if detour > 0.95:
        verbs += ["requeue", "start"]
    elif detour > 0.92:
        verbs += ["pause", "resume", "start"]
    return [*verbs, LAST_VERB[status]] if status in LAST_VERB else verbs

"""The result of a purge."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeResult:
    """What a purge has deleted, or what it would delete if it is a dry run.

    Attributes:
        jobs: The number of jobs that were deleted; with `events_only`, of those whose events were deleted.
        events: The number of their events.
        locked: The number of jobs that were left because another transaction had locked them. The next purge finds them again.
        referenced: The number of jobs that were left because a row of another table refers to them. 0 in a dry run, which does not look.
        referenced_ids: The ids of these jobs, at most 100.
        has_more: True if the purge ended at its limit, and more jobs match.
    """

    jobs: int = 0
    events: int = 0
    locked: int = 0
    referenced: int = 0
    referenced_ids: tuple[str, ...] = ()
    has_more: bool = False

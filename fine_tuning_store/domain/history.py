"""Histories: a job with everything that belongs to it, as it is copied from one database to another."""

from __future__ import annotations

from dataclasses import dataclass

from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.domain.permission import CheckpointPermission
from fine_tuning_store.domain.transition import JobTransition


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """A job, its events and transitions, oldest first, its checkpoints by step, and the permissions to use its models.

    A job has no lease here: it belongs to a worker of one database.
    """

    job: FineTuningJob
    events: tuple[FineTuningJobEvent, ...] = ()
    checkpoints: tuple[FineTuningJobCheckpoint, ...] = ()
    permissions: tuple[CheckpointPermission, ...] = ()
    transitions: tuple[JobTransition, ...] = ()

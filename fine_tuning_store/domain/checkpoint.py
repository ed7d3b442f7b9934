"""Checkpoints: the models that a job leaves behind at its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuningJobCheckpoint:
    """A usable model that a job left behind at a step. `metrics` may hold any members.

    `created_at` is in Unix seconds; `extra` holds members that this release does not know.
    """

    id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: Mapping[str, Any] = field(default_factory=dict, hash=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def object(self) -> str:
        """The API's name of this kind of object, always `fine_tuning.job.checkpoint`."""
        return "fine_tuning.job.checkpoint"

"""Models on the way to the final one, and who may use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuningJobCheckpoint:
    """A usable model that a job left behind at a step. `metrics` are kept as they came, unknown ones too."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPermission:
    """Leave for a project to use a model: that of a checkpoint, or a job's final one."""

    id: str
    created_at: int
    project_id: str
    fine_tuned_model_checkpoint: str | None = None
    organization_id: str | None = None
    job_id: str | None = None

    @property
    def object(self) -> str:
        """The API's name of this kind of object, always `checkpoint.permission`."""
        return "checkpoint.permission"

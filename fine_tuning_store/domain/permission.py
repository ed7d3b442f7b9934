"""Checkpoint permissions: which projects may use a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPermission:
    """The permission of a project to use a model: that of a checkpoint, or the final one of a job.

    `created_at` is in Unix seconds. The last three members are None on a permission that was read from a payload.
    """

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

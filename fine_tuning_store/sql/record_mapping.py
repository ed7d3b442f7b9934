"""Between rows and events, checkpoints and permissions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from fine_tuning_store.domain.checkpoint import CheckpointPermission, FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.sql.mapping import builder, object_from

_event = builder(FineTuningJobEvent)
_checkpoint = builder(FineTuningJobCheckpoint)
_permission = builder(CheckpointPermission)


def event_from_row(row: Sequence[Any]) -> FineTuningJobEvent:
    """An event from a row of EVENT_COLUMNS."""
    id, created_at, message, level, type, data, job_id, position, extra = row
    return _event(id, created_at, message, level, type, None if data is None else json.loads(data), job_id, position, object_from(extra))


def event_row(event: FineTuningJobEvent) -> dict[str, Any]:
    """The row of an event."""
    return {
        "job_id": event.job_id,
        "position": event.position,
        "id": event.id,
        "created_at": event.created_at,
        "level": event.level,
        "type": event.type,
        "message": event.message,
        "data": event.data,
        "extra": event.extra or None,
    }


def checkpoint_from_row(row: Sequence[Any]) -> FineTuningJobCheckpoint:
    """A checkpoint from a row of CHECKPOINT_COLUMNS."""
    id, created_at, model, job_id, step_number, metrics, extra = row
    return _checkpoint(id, created_at, model, job_id, step_number, object_from(metrics), object_from(extra))


def checkpoint_row(checkpoint: FineTuningJobCheckpoint) -> dict[str, Any]:
    """The row of a checkpoint."""
    return {
        "job_id": checkpoint.fine_tuning_job_id,
        "id": checkpoint.id,
        "step_number": checkpoint.step_number,
        "created_at": checkpoint.created_at,
        "model": checkpoint.fine_tuned_model_checkpoint,
        "metrics": checkpoint.metrics or None,
        "extra": checkpoint.extra or None,
    }


def permission_from_row(row: Sequence[Any]) -> CheckpointPermission:
    """A permission from a row of PERMISSION_COLUMNS."""
    return _permission(*row)


def model_digest(model: str) -> str:
    """What stands for a model's name in an index."""
    return sha256(model.encode()).hexdigest()

"""The statements of checkpoints, and the mapping of their rows. Each Select joins the jobs, so that it can be scoped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Integer, bindparam, insert, select

from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.sql.functions import as_text
from fine_tuning_store.sql.models import checkpoints, jobs
from fine_tuning_store.sql.queries.jobs import JOB_ID
from fine_tuning_store.sql.queries.values import constructor, json_or_empty, raising_corrupt_data
from fine_tuning_store.sql.query_tags import tagged

_checkpoint = constructor(FineTuningJobCheckpoint)

_OF_THE_JOB = checkpoints.c.job_id == JOB_ID
_AFTER_STEP: BindParameter[int] = bindparam("after_step")

#: The columns in the order of the fields.
COLUMNS = (
    *(checkpoints.c.id, checkpoints.c.created_at, checkpoints.c.model, checkpoints.c.job_id, checkpoints.c.step_number),
    *(as_text(checkpoints.c.metrics), as_text(checkpoints.c.extra)),
)
_PAGE = (
    select(*COLUMNS)
    .join_from(checkpoints, jobs, jobs.c.id == checkpoints.c.job_id)
    .where(_OF_THE_JOB)
    .order_by(checkpoints.c.step_number.desc(), checkpoints.c.id.desc())
    .limit(bindparam("row_limit", type_=Integer))
)
CHECKPOINTS = tagged("checkpoints", _PAGE)
CHECKPOINTS_AFTER = tagged(
    "checkpoints_after",
    _PAGE.where(
        checkpoints.c.step_number <= _AFTER_STEP, (checkpoints.c.step_number < _AFTER_STEP) | (checkpoints.c.id < bindparam("after_id"))
    ),
)
CHECKPOINT_STEP = tagged(
    "checkpoint_step",
    select(checkpoints.c.step_number.label("after_step"), checkpoints.c.id.label("after_id"))
    .join_from(checkpoints, jobs, jobs.c.id == checkpoints.c.job_id)
    .where(_OF_THE_JOB, checkpoints.c.id == bindparam("after_id")),
)
#: Not joined with the job, which the caller has locked.
CHECKPOINTS_BY_IDS = tagged(
    "checkpoints_by_ids", select(*COLUMNS).where(_OF_THE_JOB, checkpoints.c.id.in_(bindparam("child_ids", expanding=True)))
)
INSERT_CHECKPOINTS = tagged(f"insert_{checkpoints.name}", insert(checkpoints))


@raising_corrupt_data(checkpoints, 0)
def checkpoint_from_row(row: Sequence[Any]) -> FineTuningJobCheckpoint:
    """Return the checkpoint of a row of a page."""
    id, created_at, model, job_id, step_number, metrics, extra = row
    return _checkpoint(id, created_at, model, job_id, step_number, json_or_empty(metrics), json_or_empty(extra))


def checkpoint_row(checkpoint: FineTuningJobCheckpoint) -> dict[str, Any]:
    """Return the row of a checkpoint."""
    return {
        "job_id": checkpoint.fine_tuning_job_id,
        "id": checkpoint.id,
        "step_number": checkpoint.step_number,
        "created_at": checkpoint.created_at,
        "model": checkpoint.fine_tuned_model_checkpoint,
        "metrics": checkpoint.metrics or None,
        "extra": checkpoint.extra or None,
    }

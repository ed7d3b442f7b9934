"""The repository of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fine_tuning_store.domain import ids, job_validation
from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.history_validation import validate_checkpoint_for_storage
from fine_tuning_store.domain.page import Page
from fine_tuning_store.errors import CursorNotFoundError, InvalidValueError
from fine_tuning_store.repositories.base import Repository, reads, writes
from fine_tuning_store.repositories.job_writes import insert_unless_taken, require_job
from fine_tuning_store.sql import record_mapping, record_statements
from fine_tuning_store.sql.tables import checkpoints
from fine_tuning_store.transactions import Transaction


class FineTuningJobCheckpointRepository(Repository):
    """The models that jobs leave behind at their steps. Every method raises JobNotFoundError for a job that is not there."""

    def create(
        self, job_id: str, *, step_number: int, fine_tuned_model_checkpoint: str, metrics: Mapping[str, Any] | None = None
    ) -> FineTuningJobCheckpoint:
        """Store a new checkpoint with an id and a time of its own. `metrics` is a JSON object."""
        id, created_at = self._scope.clock.new_id(ids.CHECKPOINT)
        return self.add(
            FineTuningJobCheckpoint(
                id=id,
                created_at=created_at,
                fine_tuned_model_checkpoint=fine_tuned_model_checkpoint,
                fine_tuning_job_id=job_id,
                step_number=step_number,
                metrics={} if metrics is None else metrics,
            )
        )

    @writes
    def add(self, unit: Transaction, checkpoint: FineTuningJobCheckpoint) -> FineTuningJobCheckpoint:
        """Store a checkpoint as it came. Raises InvalidValueError, which names `id`, if its job has one of that id."""
        kept = validate_checkpoint_for_storage(checkpoint)
        require_job(unit, kept.fine_tuning_job_id, kept_there=True)
        if not insert_unless_taken(unit, checkpoints, record_mapping.checkpoint_row(kept)):
            raise InvalidValueError("id", kept.id, "must be new to its job")
        return kept

    @reads
    def list(self, unit: Transaction, job_id: str, *, after: str | None = None, limit: int = 10) -> Page[FineTuningJobCheckpoint]:
        """A page of a job's checkpoints, the newest step first, behind the checkpoint `after`. `limit` is 1 to 1000.

        Raises CursorNotFoundError if the job has no checkpoint `after`.
        """
        job_validation.page_size("limit", limit)
        statement, key = record_statements.CHECKPOINTS, {}
        if after is not None:
            given = {"of_job": job_validation.job_id(job_id, "job_id"), "checkpoint_id": job_validation.job_id(after, "after")}
            row = unit.run(record_statements.CHECKPOINT_STEP, **given).first()
            if row is None:
                require_job(unit, job_id)
                raise CursorNotFoundError(after)
            statement, key = record_statements.CHECKPOINTS_AFTER, {"after_step": row.step_number, "after_id": after}
        found = unit.run(statement, of_job=job_validation.job_id(job_id, "job_id"), row_limit=limit + 1, **key).all()
        if not found:
            require_job(unit, job_id)
        return Page(tuple(record_mapping.checkpoint_from_row(row) for row in found[:limit]), has_more=len(found) > limit)

"""The repository of checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fine_tuning_store.domain import ids
from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.history_validation import duplicate, validate_checkpoint, validate_checkpoints
from fine_tuning_store.domain.job_validation import check_id, check_page_size
from fine_tuning_store.domain.page import Page
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.repositories.base import Repository
from fine_tuning_store.repositories.job_reads import fetch_child_cursor, fetch_child_page, fetch_children, require_job
from fine_tuning_store.repositories.job_writes import insert_unless_taken
from fine_tuning_store.sql.batches import batches
from fine_tuning_store.sql.models import checkpoints
from fine_tuning_store.sql.queries import checkpoints as queries
from fine_tuning_store.transactions import Transaction


class FineTuningJobCheckpointRepository(Repository):
    """The models that jobs leave behind at their steps. Every method raises JobNotFoundError for an unknown job."""

    def create(
        self, job_id: str, *, step_number: int, fine_tuned_model_checkpoint: str, metrics: Mapping[str, Any] | None = None
    ) -> FineTuningJobCheckpoint:
        """Store a checkpoint with a new id and the present time.

        Args:
            job_id: The id of the job.
            step_number: The step of the training that the checkpoint was made at.
            fine_tuned_model_checkpoint: The name of the model, 1 to 512 characters.
            metrics: A JSON object.

        Returns:
            The checkpoint as stored.

        Raises:
            JobNotFoundError: There is no such job.
            InvalidValueError: A value cannot be stored.
        """
        id, created_at = self._source.clock.new_id(ids.CHECKPOINT)
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

    def add(self, checkpoint: FineTuningJobCheckpoint) -> FineTuningJobCheckpoint:
        """Store a checkpoint from elsewhere with its own id and time, and return it as stored.

        Raises:
            JobNotFoundError: There is no such job.
            InvalidValueError: A value cannot be stored, or the job has a checkpoint of the same id.
        """
        validated = validate_checkpoint(checkpoint)

        def write(transaction: Transaction) -> FineTuningJobCheckpoint:
            require_job(transaction, validated.fine_tuning_job_id, locked=True)
            if not insert_unless_taken(transaction, checkpoints, queries.checkpoint_row(validated)):
                raise InvalidValueError("id", validated.id, "must be new to its job")
            transaction.written.add(checkpoints, validated.fine_tuning_job_id, validated.id)
            return validated

        return self._source.write(write)

    def import_many(self, job_id: str, checkpoints: Iterable[FineTuningJobCheckpoint]) -> tuple[FineTuningJobCheckpoint, ...]:
        """Store checkpoints from elsewhere with their own ids and times.

        A checkpoint that the job already has is left as it is, so that an import can be repeated.

        Args:
            job_id: The id of the job.
            checkpoints: At most 10,000 checkpoints of the job.

        Returns:
            The checkpoints as stored.

        Raises:
            JobNotFoundError: There is no such job.
            InvalidValueError: A value cannot be stored, a checkpoint is of another job, or the job has a different one of the same id. No
                checkpoint is stored then.
        """
        job_id = check_id(job_id, "job_id")
        validated = validate_checkpoints(job_id, checkpoints)
        return self._source.write(lambda transaction: _import(transaction, job_id, validated))

    def list(self, job_id: str, *, after: str | None = None, limit: int = 10) -> Page[FineTuningJobCheckpoint]:
        """Return a page of a job's checkpoints, newest step first.

        Args:
            job_id: The id of the job.
            after: The id of the checkpoint that the page begins after, usually the `last_id` of the page before.
            limit: The size of the page, 1 to 1000.

        Raises:
            JobNotFoundError: There is no such job.
            CursorNotFoundError: The job has no checkpoint with the id `after`.
        """
        limit = check_page_size("limit", limit)
        job_id = check_id(job_id, "job_id")
        if after is not None:
            after = check_id(after, "after")

        def read(transaction: Transaction) -> Page[FineTuningJobCheckpoint]:
            if after is None:
                return fetch_child_page(transaction, queries.CHECKPOINTS, queries.checkpoint_from_row, job_id, limit)
            key = fetch_child_cursor(transaction, queries.CHECKPOINT_STEP, job_id, after)
            return fetch_child_page(transaction, queries.CHECKPOINTS_AFTER, queries.checkpoint_from_row, job_id, limit, **key)

        return self._source.read(read)


def _import(transaction: Transaction, job_id: str, given: tuple[FineTuningJobCheckpoint, ...]) -> tuple[FineTuningJobCheckpoint, ...]:
    require_job(transaction, job_id, locked=True)  # an import of the same ids at the same time waits here
    given_ids = [checkpoint.id for checkpoint in given]
    stored = fetch_children(transaction, queries.CHECKPOINTS_BY_IDS, queries.checkpoint_from_row, job_id, given_ids)
    for index, checkpoint in enumerate(given):
        if stored.get(checkpoint.id, checkpoint) != checkpoint:
            raise duplicate("checkpoints", index, checkpoint.id)
    new = [checkpoint for checkpoint in given if checkpoint.id not in stored]
    for batch in batches(checkpoints, [queries.checkpoint_row(checkpoint) for checkpoint in new]):
        transaction.execute(queries.INSERT_CHECKPOINTS, batch)
    for checkpoint in new:
        transaction.written.add(checkpoints, job_id, checkpoint.id)
    return given

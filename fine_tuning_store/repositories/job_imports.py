"""Jobs from elsewhere: they are added as they are, and a newer version of one may replace it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.domain.job_validation import check_organization, validate_for_storage
from fine_tuning_store.errors import JobAlreadyExistsError, OutcomeUnknownError
from fine_tuning_store.repositories.base import Repository
from fine_tuning_store.repositories.job_replacement import replace_jobs
from fine_tuning_store.repositories.job_writes import add_jobs
from fine_tuning_store.transactions import Transaction


class JobImports(Repository):
    """The methods of FineTuningJobRepository that store jobs from elsewhere."""

    def add(self, job: FineTuningJob) -> FineTuningJob:
        """Store a job from elsewhere with its own id, times and status, and return it as stored.

        It keeps what only a store knows of it, such as `attempt`, `queued_seconds` and `updated_at`, except its lease.

        Raises:
            JobAlreadyExistsError: The id is taken, in this organization or another one.
            InvalidValueError: A value cannot be stored, or the job belongs to another organization than the store.
        """
        (stored,) = self.add_many([job])
        return stored

    def add_many(self, jobs: Iterable[FineTuningJob]) -> tuple[FineTuningJob, ...]:
        """Store many jobs in one transaction: all of them, or none if one is refused. Raises as `add` does."""
        validated = self._all_validated(jobs)
        if validated:
            self._source.write(lambda transaction: add_jobs(transaction, validated, are_imported=True), flush=False)
        return validated

    def replace(self, job: FineTuningJob) -> FineTuningJob:
        """Store a job from elsewhere, or replace the stored version of it as a whole, and return it as stored.

        The row of the job, its error, hyperparameters, result files and metadata are replaced. Its events, checkpoints, checkpoint
        permissions and transitions stay as they are, and the log of transitions gets no row. `updated_at` becomes the present time; the
        other members are those of the given job, except that a lease is never stored.

        Only a mirrored job can be replaced: one that `add`, `add_many`, `replace` or `replace_many` stored, and whose status no transition
        has changed since.

        Raises:
            IllegalTransitionError: The stored job was created here, or its status was changed here: it was started, claimed or ended.
            JobAlreadyExistsError: The id belongs to a job of another organization.
            InvalidValueError: A value cannot be stored, or the job belongs to another organization than the store.
        """
        (stored,) = self.replace_many([job])
        return stored

    def replace_many(self, jobs: Iterable[FineTuningJob]) -> tuple[FineTuningJob, ...]:
        """Store or replace many jobs in one transaction: all of them, or none if one is refused.

        Raises as `replace` does, and JobAlreadyExistsError for an id that is given twice.
        """
        validated = self._all_validated(jobs)
        if not validated:
            return ()

        def write(transaction: Transaction) -> tuple[FineTuningJob, ...]:
            now = transaction.clock.now()
            current = tuple(replace(job, updated_at=max(now, job.created_at)) for job in validated)
            replace_jobs(transaction, current)
            return current

        try:
            return self._source.write(write, flush=False)
        except OutcomeUnknownError:  # to replace them once more has the same result
            return self._source.write(write, flush=False)

    def _all_validated(self, jobs: Iterable[FineTuningJob]) -> tuple[FineTuningJob, ...]:
        validated = tuple(self._validated(job) for job in jobs)
        seen: set[str] = set()
        for job in validated:
            if job.id in seen:
                raise JobAlreadyExistsError(job.id)
            seen.add(job.id)
        return validated

    def _validated(self, job: FineTuningJob) -> FineTuningJob:
        validated = validate_for_storage(job)
        return replace(validated, organization_id=check_organization(self._organization(validated.organization_id)))

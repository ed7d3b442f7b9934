"""The repository of fine-tuning jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Literal, Unpack

from fine_tuning_store.domain import ids, job_validation
from fine_tuning_store.domain.hyperparameters import validate_hyperparameters_for_storage
from fine_tuning_store.domain.job import FineTuningJob, Hyperparameters, JobError, Method
from fine_tuning_store.domain.lifecycle import ENDED, OPEN
from fine_tuning_store.domain.page import Page
from fine_tuning_store.domain.validation import ID_LENGTH, UNSET, Unset, json_value, name, optional_integer, optional_text
from fine_tuning_store.errors import IllegalTransitionError, InvalidValueError, JobAlreadyExistsError, JobNotFoundError
from fine_tuning_store.repositories.base import Repository, reads, writes
from fine_tuning_store.repositories.job_filters import JobFilters, Order, shape_of
from fine_tuning_store.repositories.job_writes import (
    cursor,
    delete_ended_job,
    event_of,
    find,
    insert_jobs,
    move,
    moved,
    new_values,
    page_of_jobs,
    replace_children,
    resolved_values,
    told,
)
from fine_tuning_store.sql import mapping, statements, tables
from fine_tuning_store.sql.statements import JobQuery
from fine_tuning_store.transactions import Transaction


class FineTuningJobRepository(Repository):
    """Create, read, move, change and delete fine-tuning jobs.

    Over a store each call is its own transaction. Over a unit, a Session or a Connection it is part of that transaction, never
    commits or rolls back, and leaves the transaction usable after each of this library's errors.
    """

    # Creating

    def create(
        self,
        *,
        model: str,
        training_file: str,
        organization_id: str | None = None,
        validation_file: str | None = None,
        hyperparameters: Hyperparameters | None = None,
        method: Method | None = None,
        suffix: str | None = None,
        seed: int | None = None,
        integrations: Sequence[Mapping[str, Any]] | None = None,
        metadata: Mapping[str, str] | None = None,
        eval_id: str | None = None,
    ) -> FineTuningJob:
        """Store a new job in status validating_files, with an id, a time and (unless given) a seed of its own.

        Missing hyperparameters of the method become `"auto"`. Raises InvalidValueError for anything outside the contract's ranges.
        """
        id, created_at = self._scope.clock.new_id(ids.JOB)
        job = job_validation.validate_for_create(
            id=id,
            created_at=created_at,
            organization_id=job_validation.organization(self._organization(organization_id)),
            model=model,
            training_file=training_file,
            validation_file=validation_file,
            hyperparameters=hyperparameters,
            method=method,
            suffix=suffix,
            seed=seed,
            integrations=integrations,
            metadata=metadata,
            eval_id=eval_id,
        )
        self._scope.add(lambda unit: insert_jobs(unit, [job]))
        return job

    def add(self, job: FineTuningJob) -> FineTuningJob:
        """Store a job as it came, with its own id, times and status, and answer it as stored.

        Raises JobAlreadyExistsError if the id is taken (here or in another organization) and InvalidValueError for what the
        tables cannot hold, or for a job of another organization than the store's.
        """
        kept = self._kept(job)
        self._scope.add(lambda unit: insert_jobs(unit, [kept]))
        return kept

    def add_many(self, jobs: Iterable[FineTuningJob]) -> tuple[FineTuningJob, ...]:
        """Store many jobs in one transaction: all of them, or none if one is refused. Raises as `add` does."""
        kept = tuple(self._kept(job) for job in jobs)
        seen: set[str] = set()
        for job in kept:
            if job.id in seen:
                raise JobAlreadyExistsError(job.id)
            seen.add(job.id)
        if kept:
            self._scope.add(lambda unit: insert_jobs(unit, kept))
        return kept

    # Reading

    @reads
    def get(self, unit: Transaction, id: str) -> FineTuningJob:
        """The job of that id. Raises JobNotFoundError."""
        return find(unit, job_validation.job_id(id))

    @reads
    def get_many(self, unit: Transaction, ids: Iterable[str]) -> tuple[FineTuningJob, ...]:
        """The jobs of up to 1000 ids, in the order of the ids. Raises JobNotFoundError for the first one that is not there."""
        if isinstance(ids, str):
            raise InvalidValueError("ids", ids, "must be several ids")
        wanted = [job_validation.job_id(id, f"ids[{position}]") for position, id in enumerate(ids)]
        if len(wanted) > job_validation.MAX_PAGE_SIZE:
            raise InvalidValueError("ids", len(wanted), f"must be at most {job_validation.MAX_PAGE_SIZE}")
        found = {row[0]: row for row in unit.run(statements.jobs_of_ids(), job_ids=wanted)} if wanted else {}
        for id in wanted:
            if id not in found:
                raise JobNotFoundError(id)
        return tuple(mapping.job_from_row(found[id]) for id in wanted)

    @reads
    def list(
        self, unit: Transaction, *, after: str | None = None, limit: int = 20, order: Order = "desc", **filters: Unpack[JobFilters]
    ) -> Page[FineTuningJob]:
        """A page of jobs, newest first, beginning behind the job `after`. `limit` is 1 to 1000; `filters` are those of JobFilters.

        Raises CursorNotFoundError if `after` names no job here, InvalidValueError for a wrong limit, order or filter.
        """
        job_validation.page_size("limit", limit)
        organization_id = self._organization(filters.get("organization_id"))
        shape, parameters = shape_of(filters, order, organization_id)
        if after is not None:
            shape = shape._replace(after=True)
            parameters |= cursor(unit, job_validation.job_id(after, "after"), organization_id)
        found = page_of_jobs(unit, shape, {**parameters, "row_limit": limit + 1})
        return Page(found[:limit], has_more=len(found) > limit)

    def iterate(self, *, page_size: int = 100, order: Order = "desc", **filters: Unpack[JobFilters]) -> Iterator[FineTuningJob]:
        """Every job of a list, fetched page by page while it is consumed, in constant memory.

        A job that is deleted on the way does not end the walk; one that is created on the way appears in ascending order only.
        """
        return chain.from_iterable(self._walk(page_size, order, filters))

    def _walk(self, page_size: int, order: Order, filters: JobFilters) -> Iterator[tuple[FineTuningJob, ...]]:
        job_validation.page_size("page_size", page_size)
        return self._pages(*shape_of(filters, order, self._organization(filters.get("organization_id"))), page_size)

    def _pages(self, shape: JobQuery, parameters: dict[str, Any], page_size: int) -> Iterator[tuple[FineTuningJob, ...]]:
        while True:
            page = self._scope.read(partial(page_of_jobs, shape=shape, parameters={**parameters, "row_limit": page_size}))
            yield page
            if len(page) < page_size:
                return
            shape = shape._replace(after=True)
            parameters |= {"after_created_at": page[-1].created_at, "after_id": page[-1].id}

    # Moving. Each answers the job as it then is, and raises JobNotFoundError or IllegalTransitionError. `message` becomes an event of the
    # job in the same transaction.

    @writes
    def enqueue(self, unit: Transaction, id: str, *, message: str | None = None) -> FineTuningJob:
        """Its files are valid: validating_files to queued."""
        return moved(unit, id, "enqueue", message)

    @writes
    def start(
        self, unit: Transaction, id: str, *, hyperparameters: Hyperparameters | None = None, message: str | None = None
    ) -> FineTuningJob:
        """A worker trains it: validating_files or queued to running. `hyperparameters` replace the members that they give.

        Raises InvalidValueError for one that the job's method does not have.
        """
        if hyperparameters is None:
            return moved(unit, id, "start", message)
        event = event_of(unit, message)
        values = resolved_values(find(unit, job_validation.job_id(id)), validate_hyperparameters_for_storage(hyperparameters))
        move(unit, id, "start")
        if values:
            unit.run(statements.update_hyperparameters(frozenset(values)), of_job=id, **new_values(values))
        return told(unit, id, event)

    @writes
    def requeue(self, unit: Transaction, id: str, *, message: str | None = None) -> FineTuningJob:
        """Its worker lets it go: running to queued."""
        return moved(unit, id, "requeue", message)

    @writes
    def pause(self, unit: Transaction, id: str, *, message: str | None = None) -> FineTuningJob:
        """Its user stops it for a while: queued or running to paused."""
        return moved(unit, id, "pause", message)

    @writes
    def resume(self, unit: Transaction, id: str, *, message: str | None = None) -> FineTuningJob:
        """Its user lets it go on: paused to queued."""
        return moved(unit, id, "resume", message)

    @writes
    def succeed(
        self,
        unit: Transaction,
        id: str,
        *,
        fine_tuned_model: str,
        trained_tokens: int | None = None,
        result_files: Iterable[str] = (),
        message: str | None = None,
    ) -> FineTuningJob:
        """It ended with a model: running to succeeded, with the time of the end, and tokens and files where they are given."""
        values: dict[str, Any] = {"fine_tuned_model": name("fine_tuned_model", fine_tuned_model)}
        if trained_tokens is not None:
            values["trained_tokens"] = optional_integer("trained_tokens", trained_tokens, 0)
        files = job_validation.file_ids(result_files)
        event = event_of(unit, message)
        move(unit, id, "succeed", **values)
        if files:
            replace_children(unit, id, tables.result_files, mapping.result_file_rows(id, files))
        return told(unit, id, event)

    @writes
    def fail(self, unit: Transaction, id: str, error: JobError, *, message: str | None = None) -> FineTuningJob:
        """It ended with an error: every open status to failed, with the time of the end."""
        checked = job_validation.job_error(error)
        event = event_of(unit, message)
        move(unit, id, "fail")
        replace_children(unit, id, tables.errors, [mapping.error_row(id, checked)])
        return told(unit, id, event)

    @writes
    def cancel(self, unit: Transaction, id: str, *, message: str | None = None) -> FineTuningJob:
        """Its user ends it: every open status to cancelled, with the time of the end. A cancelled job is answered as it is."""
        return moved(unit, id, "cancel", message)

    # Changing and deleting

    @writes
    def update(
        self,
        unit: Transaction,
        id: str,
        *,
        trained_tokens: int | Literal[Unset.UNSET] | None = UNSET,
        estimated_finish: int | Literal[Unset.UNSET] | None = UNSET,
        usage_metrics: Any = UNSET,
        eval_id: str | Literal[Unset.UNSET] | None = UNSET,
        metadata: Mapping[str, str] | Literal[Unset.UNSET] | None = UNSET,
    ) -> FineTuningJob:
        """Change what is given and answer the job: None clears, metadata is replaced whole.

        An ended job takes metadata only: anything else raises IllegalTransitionError. Raises JobNotFoundError and InvalidValueError.
        """
        values: dict[str, Any] = {}
        if trained_tokens is not UNSET:
            values["trained_tokens"] = optional_integer("trained_tokens", trained_tokens, 0)
        if estimated_finish is not UNSET:
            values["estimated_finish"] = optional_integer("estimated_finish", estimated_finish, 0)
        if usage_metrics is not UNSET:
            values["usage_metrics"] = json_value("usage_metrics", usage_metrics)
        if eval_id is not UNSET:
            values["eval_id"] = optional_text("eval_id", eval_id, ID_LENGTH, 1)
        pairs = None if metadata is UNSET else job_validation.metadata_pairs(metadata)
        job_validation.job_id(id)
        if values and not unit.run(statements.update_open_job(frozenset(values)), of_job=id, **new_values(values)).rowcount:
            raise IllegalTransitionError(id, "update", find(unit, id, locked=True).status, OPEN)
        job = find(unit, id, locked=True)
        if metadata is UNSET:
            return job
        job = replace(job, metadata=pairs)
        replace_children(unit, id, tables.metadata, mapping.metadata_rows(job))
        return job

    @writes
    def delete(self, unit: Transaction, id: str) -> None:
        """Remove an ended job and everything that belongs to it.

        Raises IllegalTransitionError while the job is open, JobReferencedError if a foreign key of another table forbids it, and
        JobNotFoundError, also for a second delete.
        """
        job = find(unit, job_validation.job_id(id), locked=True)
        if not job.status.is_ended:
            raise IllegalTransitionError(id, "delete", job.status, ENDED)
        delete_ended_job(unit, id)

    # Tenancy

    def _kept(self, job: FineTuningJob) -> FineTuningJob:
        kept = job_validation.validate_job_for_storage(job)
        return replace(kept, organization_id=job_validation.organization(self._organization(kept.organization_id)))

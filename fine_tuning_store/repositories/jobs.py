"""The repository of fine-tuning jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Unpack

from fine_tuning_store.domain import ids as new_ids
from fine_tuning_store.domain.history_validation import check_many
from fine_tuning_store.domain.idempotency import KEY_SECONDS, MAX_KEY_SECONDS, fingerprint_of
from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.domain.job_validation import (
    MAX_PAGE_SIZE,
    JobChanges,
    NewJob,
    check_id,
    check_organization,
    check_page_size,
    validate_changes,
    validate_for_create,
)
from fine_tuning_store.domain.lifecycle import OPEN
from fine_tuning_store.domain.page import Page
from fine_tuning_store.domain.validation import check_integer
from fine_tuning_store.errors import IllegalTransitionError, InvalidValueError
from fine_tuning_store.repositories.base import with_keywords_of
from fine_tuning_store.repositories.idempotency import create_once, delete_expired
from fine_tuning_store.repositories.job_filters import JobFilters, Order, job_query
from fine_tuning_store.repositories.job_imports import JobImports
from fine_tuning_store.repositories.job_pages import cursor_of, fetch_cursor, fetch_page
from fine_tuning_store.repositories.job_reads import fetch, fetch_many, require_visible, select_matching
from fine_tuning_store.repositories.job_transitions import JobTransitions
from fine_tuning_store.repositories.job_writes import add_jobs, delete_job, insert_at_once, insert_jobs, replace_children
from fine_tuning_store.sql.models import job_metadata
from fine_tuning_store.sql.queries import job_rows, statistics
from fine_tuning_store.sql.queries import jobs as queries
from fine_tuning_store.sql.queries.job_conditions import JobQuery, OrderBy
from fine_tuning_store.transactions import Transaction


class FineTuningJobRepository(JobImports, JobTransitions):
    """Create, read, change and delete fine-tuning jobs.

    In a store each call is a transaction of its own. In a unit of work, a Session or a Connection it is part of that transaction, never
    commits or rolls back, and leaves the transaction usable after each error of this library.

    Every method that takes the id of a job raises JobNotFoundError if there is none. The methods that change the status, from `enqueue` to
    `cancel`, are in `job_transitions.py`, and those that store jobs from elsewhere in `job_imports.py`.
    """

    # Create

    @with_keywords_of(NewJob)
    def create(
        self,
        *,
        organization_id: str | None = None,
        id: str | None = None,
        idempotency_key: str | None = None,
        idempotency_seconds: int = KEY_SECONDS,
        **request: Unpack[NewJob],
    ) -> FineTuningJob:
        """Store a new job in the status validating_files, with a new id and the present time.

        Args:
            organization_id: The organization of the job; required unless the store is restricted to one.
            id: An id of your own, 1 to 255 characters.
            idempotency_key: A key of the client, 1 to 255 characters. A repeated request with the same key returns the job of the first
                one, as it is now, and creates none.
            idempotency_seconds: For how many seconds the key is kept, a day unless given, a year at most.
            **request: The members of NewJob: `model` and `training_file`, and optionally the others. Missing hyperparameters of the
                method become `"auto"`, a missing seed a random one.

        Returns:
            The job as stored.

        Raises:
            InvalidValueError: A value is outside of the ranges of the OpenAI API reference.
            JobAlreadyExistsError: `id` is taken, in this organization or another one.
            IdempotencyConflictError: The key was used with other arguments, or its job was deleted.
        """
        new_id, created_at = self._source.clock.new_id(new_ids.JOB)
        job = validate_for_create(new_id if id is None else check_id(id), created_at, self._organization(organization_id), request)
        check_organization(job.organization_id)
        if idempotency_key is not None:
            key = check_id(idempotency_key, "idempotency_key")
            seconds = check_integer("idempotency_seconds", idempotency_seconds, 1, MAX_KEY_SECONDS)
            fingerprint = fingerprint_of(job, request.get("seed"), id)
            return self._source.write(lambda transaction: create_once(transaction, job, key, fingerprint, seconds), flush=False)
        insert = insert_jobs if id is None else add_jobs

        def write(transaction: Transaction) -> FineTuningJob:
            insert(transaction, [job])
            return job

        return self._source.write(write, flush=False, at_once=partial(insert_at_once, job) if id is None else None)

    def delete_expired_idempotency_keys(self, *, limit: int = 1000) -> int:
        """Delete idempotency keys that have expired, at most `limit` (1 to 1000), and return how many were.

        An expired key has no effect, but takes space. Call it from time to time until it returns less than the limit.
        """
        limit = check_page_size("limit", limit)
        return self._source.write(lambda transaction: delete_expired(transaction, limit))

    # Read

    def get(self, id: str) -> FineTuningJob:
        """Return the job with this id. Raises JobNotFoundError."""
        id = check_id(id)
        return self._source.read(lambda transaction: fetch(transaction, id))

    def get_many(self, ids: Iterable[str]) -> tuple[FineTuningJob, ...]:
        """Return the jobs with these ids, at most 1000, in the order of the ids. Raises JobNotFoundError for the first unknown id."""
        job_ids = [check_id(id, f"ids[{position}]") for position, id in enumerate(check_many("ids", ids))]
        if len(job_ids) > MAX_PAGE_SIZE:
            raise InvalidValueError("ids", len(job_ids), f"must be at most {MAX_PAGE_SIZE}")
        return self._source.read(lambda transaction: fetch_many(transaction, job_ids))

    @with_keywords_of(JobFilters)
    def list(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Order = "desc",
        order_by: OrderBy = "created_at",
        **filters: Unpack[JobFilters],
    ) -> Page[FineTuningJob]:
        """Return a page of jobs in the order of their creation, or of their ends.

        Args:
            after: The id of the job that the page begins after, usually the `last_id` of the page before.
            limit: The size of the page, 1 to 1000.
            order: `"desc"` for newest first, or `"asc"`.
            order_by: `"created_at"`, or `"finished_at"` for the jobs that have a `finished_at`.
            **filters: The members of JobFilters. A job must match all of them.

        Raises:
            CursorNotFoundError: There is no job with the id `after` in the organization, or it has no `finished_at` to be ordered by.
            InvalidValueError: A limit, an order or a filter is wrong.
        """
        limit = check_page_size("limit", limit)
        organization_id = self._organization(filters.get("organization_id"))
        query, parameters = job_query(filters, order, organization_id, order_by)
        if after is not None:
            after = check_id(after, "after")

        def read(transaction: Transaction) -> tuple[FineTuningJob, ...]:
            if after is None:
                return fetch_page(transaction, query, parameters, limit + 1)
            key = fetch_cursor(transaction, after, organization_id, query.order_by)
            return fetch_page(transaction, query._replace(after=True), parameters | key, limit + 1)

        found = self._source.read(read)
        return Page(found[:limit], has_more=len(found) > limit)

    @with_keywords_of(JobFilters)
    def iterate(
        self, *, page_size: int = 100, order: Order = "desc", order_by: OrderBy = "created_at", **filters: Unpack[JobFilters]
    ) -> Iterator[FineTuningJob]:
        """Iterate over all jobs of a list, page by page, in constant memory.

        A job that is deleted meanwhile does not end the iteration. One that is created meanwhile is found in ascending order only.

        Args:
            page_size: The number of jobs that are read at once, 1 to 1000.
            order: `"desc"` for newest first, or `"asc"`.
            order_by: `"created_at"`, or `"finished_at"` for the jobs that have a `finished_at`.
            **filters: The members of JobFilters. A job must match all of them.

        Raises:
            InvalidValueError: A page size, an order or a filter is wrong.
        """
        return chain.from_iterable(self._iterate_pages(page_size, order, order_by, filters))

    def _iterate_pages(self, page_size: int, order: Order, order_by: OrderBy, filters: JobFilters) -> Iterator[tuple[FineTuningJob, ...]]:
        page_size = check_page_size("page_size", page_size)
        query, parameters = job_query(filters, order, self._organization(filters.get("organization_id")), order_by)
        return self._pages(query, parameters, page_size)

    def _pages(self, query: JobQuery, parameters: dict[str, Any], page_size: int) -> Iterator[tuple[FineTuningJob, ...]]:
        while True:
            page = self._source.read(partial(fetch_page, query=query, parameters=parameters, rows=page_size))
            yield page
            if len(page) < page_size:
                return
            query = query._replace(after=True)
            parameters = parameters | cursor_of(page[-1], query.order_by)

    @with_keywords_of(JobFilters)
    def count(self, limit: int | None = None, **filters: Unpack[JobFilters]) -> int:
        """Return the number of jobs that match.

        Args:
            limit: The number after which counting ends, at least 1: a result that equals it means so many or more. Without a limit all
                matching jobs are counted, which takes the longer the more there are.
            **filters: The members of JobFilters. A job must match all of them.

        Raises:
            InvalidValueError: The limit or a filter is wrong.
        """
        query, parameters = job_query(filters, "desc", self._organization(filters.get("organization_id")))
        if limit is not None:
            parameters["row_limit"] = check_integer("limit", limit, 1)
        build = partial(statistics.count, is_limited=limit is not None)
        rows = self._source.read(lambda transaction: select_matching(transaction, build, query, **parameters))
        number: int = rows[0][0]
        return number

    # Change and delete

    @with_keywords_of(JobChanges, default=...)
    def update(self, id: str, **changes: Unpack[JobChanges]) -> FineTuningJob:
        """Change members of a job and return it.

        Args:
            id: The id of the job.
            **changes: The members of JobChanges. None clears one; `metadata` replaces all pairs.

        Raises:
            IllegalTransitionError: The job has ended, and something else than its metadata was to be changed.
            InvalidValueError: A value cannot be stored.
        """
        id = check_id(id)
        values = validate_changes(changes)
        has_metadata = "metadata" in values
        metadata = values.pop("metadata", None)

        def write(transaction: Transaction) -> FineTuningJob:
            if changes:
                require_visible(transaction, id)
                statement = queries.update_open_job(frozenset(values)) if values else queries.TOUCH_JOB
                if not transaction.execute(statement, job_id=id, now=transaction.clock.now(), **queries.new_values(values)).rowcount:
                    raise IllegalTransitionError(id, "update", fetch(transaction, id, locked=True).status, OPEN)
            job = fetch(transaction, id, locked=True)
            if not has_metadata:
                return job
            job = replace(job, metadata=metadata)
            replace_children(transaction, id, job_metadata, job_rows.metadata_rows(job))
            return job

        return self._source.write(write)

    def delete(self, id: str) -> None:
        """Delete an ended job and everything that belongs to it.

        Raises:
            JobNotFoundError: There is no such job, also because it was deleted already.
            IllegalTransitionError: The job has not ended.
            JobReferencedError: A foreign key of another table forbids it.
        """
        id = check_id(id)
        self._source.write(lambda transaction: delete_job(transaction, id))

"""The repository of the log of transitions."""

from __future__ import annotations

from fine_tuning_store.domain.job_validation import check_id, check_page_size
from fine_tuning_store.domain.page import Page
from fine_tuning_store.domain.transition import JobTransition
from fine_tuning_store.repositories.base import Repository
from fine_tuning_store.repositories.job_reads import fetch_child_cursor, fetch_child_page
from fine_tuning_store.sql.queries import transitions as queries
from fine_tuning_store.transactions import Transaction


class JobTransitionRepository(Repository):
    """The log of transitions: each change of a job's status, written in its transaction by the methods of the jobs."""

    def list(self, job_id: str, *, after: str | None = None, limit: int = 20) -> Page[JobTransition]:
        """Return a page of a job's transitions, oldest first.

        Args:
            job_id: The id of the job.
            after: The id of the transition that the page begins after, usually the `last_id` of the page before.
            limit: The size of the page, 1 to 1000.

        Raises:
            JobNotFoundError: There is no such job.
            CursorNotFoundError: The job has no transition with the id `after`.
        """
        limit = check_page_size("limit", limit)
        job_id = check_id(job_id, "job_id")
        if after is not None:
            after = check_id(after, "after")

        def read(transaction: Transaction) -> Page[JobTransition]:
            if after is None:
                return fetch_child_page(transaction, queries.TRANSITIONS_OF_JOB, queries.transition_from_row, job_id, limit)
            key = fetch_child_cursor(transaction, queries.TRANSITION_POSITION, job_id, after)
            return fetch_child_page(transaction, queries.TRANSITIONS_AFTER, queries.transition_from_row, job_id, limit, **key)

        return self._source.read(read)

"""The repository of the log of transitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fine_tuning_store.domain.history_validation import duplicate, validate_transitions
from fine_tuning_store.domain.job_validation import MAX_PAGE_SIZE, check_id, check_page_size
from fine_tuning_store.domain.page import Page
from fine_tuning_store.domain.transition import JobTransition
from fine_tuning_store.errors import IllegalTransitionError, InvalidValueError, JobNotFoundError
from fine_tuning_store.repositories.base import Repository
from fine_tuning_store.repositories.job_reads import fetch_child_cursor, fetch_child_page, require_visible
from fine_tuning_store.sql.batches import batches
from fine_tuning_store.sql.models import job_transitions as log
from fine_tuning_store.sql.queries import transitions as queries
from fine_tuning_store.transactions import Transaction


class JobTransitionRepository(Repository):
    """The log of transitions: each change of a job's status, written in its transaction by the methods of the jobs."""

    def import_many(self, job_id: str, transitions: Iterable[JobTransition]) -> tuple[JobTransition, ...]:
        """Store the log of a job from elsewhere, so that it continues here.

        Transitions that are stored already are left as they are, so that an import can be repeated, and continued by later calls.

        Args:
            job_id: The id of a job that was added or replaced from elsewhere.
            transitions: At most 10,000 transitions of the job, oldest first. Their positions have no gaps: the first one is 1, or at most
                the one after the last that is stored.

        Returns:
            The transitions as stored.

        Raises:
            JobNotFoundError: There is no such job.
            IllegalTransitionError: The job was created here, or its status was changed here, and a transition is not stored yet.
            InvalidValueError: A value cannot be stored, a transition is of another job, its position leaves a gap, or a different one has
                its position or its id. No transition is stored then.
        """
        job_id = check_id(job_id, "job_id")
        validated = validate_transitions(job_id, transitions)
        return self._source.write(lambda transaction: _import(transaction, job_id, validated))

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


def _import(transaction: Transaction, job_id: str, given: tuple[JobTransition, ...]) -> tuple[JobTransition, ...]:
    require_visible(transaction, job_id)
    job = transaction.execute(queries.LOCK_LOG, job_id=job_id).first()
    if job is None:
        raise JobNotFoundError(job_id)
    known = [transition for transition in given if transition.position <= job.transition_count]
    _require_stored(transaction, job_id, known)
    new = given[len(known) :]
    if not new:
        return given
    if not job.is_mirrored:
        raise IllegalTransitionError(job_id, "transitions.import_many", job.status, ())
    if new[0].position != job.transition_count + 1:
        raise InvalidValueError(f"transitions[{len(known)}].position", new[0].position, f"must be at most {job.transition_count + 1}")
    for start in range(0, len(new), MAX_PAGE_SIZE):
        ids = {transition.id: index for index, transition in enumerate(new[start : start + MAX_PAGE_SIZE], len(known) + start)}
        taken = transaction.execute_unscoped(queries.TAKEN_TRANSITION, job_id=job_id, transition_ids=list(ids)).scalar()
        if taken is not None:
            raise duplicate("transitions", ids[taken], taken)
    transaction.execute(queries.COUNT_TRANSITIONS, job_id=job_id, new_count=new[-1].position)
    for batch in batches(log, [queries.transition_row(transition) for transition in new]):
        transaction.execute(queries.INSERT_TRANSITIONS, batch)
    for transition in new:
        transaction.written.add(log, job_id, transition.id)
    return given


def _require_stored(transaction: Transaction, job_id: str, known: Sequence[JobTransition]) -> None:
    """Raise InvalidValueError unless the job has exactly these transitions at their positions."""
    for start in range(0, len(known), MAX_PAGE_SIZE):
        part = known[start : start + MAX_PAGE_SIZE]
        rows = transaction.execute_unscoped(queries.TRANSITIONS_BETWEEN, job_id=job_id, first=part[0].position, last=part[-1].position)
        stored = {transition.position: transition for transition in map(queries.transition_from_row, rows)}
        for index, transition in enumerate(part, start):
            if stored.get(transition.position) != transition:
                raise InvalidValueError(
                    f"transitions[{index}].position", transition.position, "is that of a different transition, which is stored already"
                )

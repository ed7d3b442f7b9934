"""The repository of histories: jobs with everything that belongs to them, read and stored many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar, Unpack

from sqlalchemy import Insert, Select, Table

from fine_tuning_store.domain.history import JobHistory
from fine_tuning_store.domain.history_validation import MAX_RECORDS
from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.domain.job_validation import check_organization
from fine_tuning_store.engine_transactions import EngineTransactions
from fine_tuning_store.errors import OutcomeUnknownError
from fine_tuning_store.repositories.base import Repository
from fine_tuning_store.repositories.checkpoints import FineTuningJobCheckpointRepository
from fine_tuning_store.repositories.events import FineTuningJobEventRepository
from fine_tuning_store.repositories.job_filters import JobFilters, job_query
from fine_tuning_store.repositories.job_pages import fetch_page
from fine_tuning_store.repositories.job_writes import add_rows
from fine_tuning_store.repositories.jobs import FineTuningJobRepository
from fine_tuning_store.repositories.permissions import CheckpointPermissionRepository
from fine_tuning_store.repositories.transitions import JobTransitionRepository
from fine_tuning_store.sql.batches import batches
from fine_tuning_store.sql.models import checkpoint_permissions, checkpoints, events, job_transitions
from fine_tuning_store.sql.queries import checkpoints as of_checkpoints
from fine_tuning_store.sql.queries import events as of_events
from fine_tuning_store.sql.queries import histories as queries
from fine_tuning_store.sql.queries import job_rows
from fine_tuning_store.sql.queries import jobs as of_jobs
from fine_tuning_store.sql.queries import permissions as of_permissions
from fine_tuning_store.sql.queries import transitions as of_transitions
from fine_tuning_store.transactions import Transaction

T = TypeVar("T")

#: The jobs that are read, or stored, at once: what belongs to them is in memory.
PAGE_SIZE: Final = 100


class JobHistoryRepository(Repository):
    """Copy jobs out of a database and into another one, many at a time."""

    _source: EngineTransactions

    def pages(self, after: tuple[int, str] | None = None, **filters: Unpack[JobFilters]) -> Iterator[tuple[JobHistory, ...]]:
        """Iterate over the histories of all jobs that match, the oldest job first, in pages.

        A page is read as of one moment.

        Args:
            after: The `created_at` and the id of the job to begin after.
            **filters: The members of JobFilters.
        """
        query, parameters = job_query(filters, "asc", self._organization(filters.get("organization_id")))
        if after is not None:
            query, parameters = query._replace(after=True), parameters | {"after_time": after[0], "after_id": after[1]}
        while True:
            read = partial(_page, query=query, parameters=parameters)
            page = self._source.read_snapshot(read)
            if page:
                yield page
            if len(page) < PAGE_SIZE:
                return
            last = page[-1].job
            query, parameters = query._replace(after=True), parameters | {"after_time": last.created_at, "after_id": last.id}

    def stored(self, ids: Sequence[str]) -> dict[str, JobHistory]:
        """Return the histories of those of these jobs that are stored and visible."""
        found: dict[str, JobHistory] = {}
        for start in range(0, len(ids), PAGE_SIZE):  # for many more ids PostgreSQL would read the whole table
            page = self._source.read(partial(_stored, ids=list(ids[start : start + PAGE_SIZE])))
            found |= {history.job.id: history for history in page}
        return found

    def add_many(self, histories: Sequence[JobHistory]) -> None:
        """Store the histories of jobs that are new, in one transaction: all of them, or none.

        Raises JobAlreadyExistsError for a job that is stored, and InvalidValueError. The histories were validated as they were read.
        """
        owned = [_owned(history, self._organization(history.job.organization_id)) for history in histories]
        if owned:
            self._source.write(lambda transaction: _add(transaction, owned), flush=False)

    def merge(self, history: JobHistory) -> None:
        """Store a history, or replace the stored job and add what else is new, in one transaction. It can be repeated.

        Raises as `jobs.replace` and the `import_many` of events, checkpoints, permissions and transitions do.
        """
        owned = _owned(history, self._organization(history.job.organization_id))
        job = owned.job

        def write(transaction: Transaction) -> None:
            FineTuningJobRepository(transaction).replace(job)
            for some_events in _parts(owned.events):
                FineTuningJobEventRepository(transaction).import_many(job.id, some_events)
            for some_checkpoints in _parts(owned.checkpoints):
                FineTuningJobCheckpointRepository(transaction).import_many(job.id, some_checkpoints)
            for some_permissions in _parts(owned.permissions):
                CheckpointPermissionRepository(transaction).import_many(job.id, some_permissions)
            for some_transitions in _parts(owned.transitions):
                JobTransitionRepository(transaction).import_many(job.id, some_transitions)

        try:
            self._source.write(write, flush=False)
        except OutcomeUnknownError:  # to merge it once more has the same result
            self._source.write(write, flush=False)


def _parts(records: tuple[T, ...]) -> Iterator[tuple[T, ...]]:
    """Yield records in parts of the size that `import_many` takes."""
    for start in range(0, len(records), MAX_RECORDS):
        yield records[start : start + MAX_RECORDS]


def _owned(history: JobHistory, organization_id: str | None) -> JobHistory:
    """Return the history of a job with an organization. What belongs to the job names it, whatever job it named before."""
    job = replace(history.job, organization_id=check_organization(organization_id))
    permissions = tuple(replace(permission, organization_id=job.organization_id, job_id=job.id) for permission in history.permissions)
    checkpoints = tuple(replace(checkpoint, fine_tuning_job_id=job.id) for checkpoint in history.checkpoints)
    transitions = tuple(replace(transition, job_id=job.id) for transition in history.transitions)
    return replace(history, job=job, checkpoints=checkpoints, permissions=permissions, transitions=transitions)


# Read


def _page(transaction: Transaction, query: Any, parameters: dict[str, Any]) -> tuple[JobHistory, ...]:
    return _with_children(transaction, fetch_page(transaction, query, parameters, PAGE_SIZE))


def _stored(transaction: Transaction, ids: list[str]) -> tuple[JobHistory, ...]:
    return _with_children(transaction, [job_rows.job_from_row(row) for row in transaction.execute(of_jobs.JOBS_BY_IDS, job_ids=ids)])


def _with_children(transaction: Transaction, jobs: Sequence[FineTuningJob]) -> tuple[JobHistory, ...]:
    ids = [job.id for job in jobs]
    if not ids:
        return ()
    found_events = _by_job(transaction, queries.EVENTS, ids, of_events.event_from_row, "job_id")
    found_checkpoints = _by_job(transaction, queries.CHECKPOINTS, ids, of_checkpoints.checkpoint_from_row, "fine_tuning_job_id")
    found_permissions = _by_job(transaction, queries.PERMISSIONS, ids, of_permissions.permission_from_row, "job_id")
    found_transitions = _by_job(transaction, queries.TRANSITIONS, ids, of_transitions.transition_from_row, "job_id")
    return tuple(
        JobHistory(
            job=replace(job, worker_id=None, lease_expires_at=None) if job.worker_id is not None else job,
            events=tuple(found_events.get(job.id, ())),
            checkpoints=tuple(found_checkpoints.get(job.id, ())),
            permissions=tuple(found_permissions.get(job.id, ())),
            transitions=tuple(found_transitions.get(job.id, ())),
        )
        for job in jobs
    )


def _by_job(
    transaction: Transaction, statement: Select[Any], ids: list[str], from_row: Callable[[Sequence[Any]], T], job_id: str
) -> dict[str, list[T]]:
    found: dict[str, list[T]] = defaultdict(list)
    for row in transaction.execute_unscoped(statement, job_ids=ids):  # the caller has read the jobs, so it may see what is theirs
        record = from_row(row)
        found[getattr(record, job_id)].append(record)
    return found


# Write


def _add(transaction: Transaction, histories: Sequence[JobHistory]) -> None:
    rows = []
    for history in histories:
        row = job_rows.rows_of_job(history.job, is_imported=True)
        row.job["event_count"] = len(history.events)
        row.job["transition_count"] = len(history.transitions)
        rows.append(row)
    add_rows(transaction, rows)
    new_events = [
        of_events.event_row(replace(event, job_id=history.job.id, position=position))
        for history in histories
        for position, event in enumerate(history.events, 1)
    ]
    new: tuple[tuple[Table, Insert, list[dict[str, Any]]], ...] = (
        (events, of_events.INSERT_EVENTS, new_events),
        (checkpoints, of_checkpoints.INSERT_CHECKPOINTS, _rows(histories, "checkpoints", of_checkpoints.checkpoint_row)),
        (checkpoint_permissions, queries.INSERT_PERMISSIONS, _rows(histories, "permissions", of_permissions.permission_row)),
        (job_transitions, of_transitions.INSERT_TRANSITIONS, _rows(histories, "transitions", of_transitions.transition_row)),
    )
    for table, statement, inserted in new:
        for batch in batches(table, inserted):
            transaction.execute(statement, batch)


def _rows(histories: Sequence[JobHistory], name: str, row_of: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
    return [row_of(record) for history in histories for record in getattr(history, name)]

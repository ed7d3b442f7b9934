"""What the methods of the job repository are made of: functions of a unit that find, move and write jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert, ReturningInsert

from fine_tuning_store.domain import job_validation
from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS, FineTuningJob, Hyperparameters
from fine_tuning_store.domain.lifecycle import ENDED, TRANSITIONS, JobStatus
from fine_tuning_store.errors import (
    CursorNotFoundError,
    IllegalTransitionError,
    InvalidValueError,
    JobAlreadyExistsError,
    JobNotFoundError,
    JobReferencedError,
)
from fine_tuning_store.sql import mapping, statements
from fine_tuning_store.sql.dialects import Database
from fine_tuning_store.sql.query_tags import named
from fine_tuning_store.sql.tables import errors, hyperparameters, jobs, metadata, result_files
from fine_tuning_store.transactions import Transaction

if TYPE_CHECKING:
    from fine_tuning_store.domain.event import FineTuningJobEvent

#: Rows of one INSERT. A batch is a single statement on every database, so it is written whole or not at all.
BATCH: Final = 100


def find(unit: Transaction, id: str, *, locked: bool = False) -> FineTuningJob:
    """The job of that id, on demand as it is now and kept so until the transaction ends. Raises JobNotFoundError."""
    if locked:
        require_job(unit, id, kept_there=True)  # first: PostgreSQL reads again only the row that it waited for, not what hangs on it
    row = unit.run(statements.job_locked() if locked else statements.job(), of_job=id).first()
    if row is None:
        raise JobNotFoundError(id)
    return mapping.job_from_row(row)


def cursor(unit: Transaction, id: str, organization_id: str | None) -> dict[str, Any]:
    """The key of the job `after`, as parameters of a page. Raises CursorNotFoundError."""
    if organization_id is None:
        row = unit.run(statements.cursor(of_organization=False), of_job=id).one_or_none()
    else:
        row = unit.run(statements.cursor(of_organization=True), of_job=id, organization_id=organization_id).one_or_none()
    if row is None:
        raise CursorNotFoundError(id)
    return {"after_created_at": row.created_at, "after_id": row.id}


def new_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values under the names that an UPDATE of ours binds them by."""
    return {f"new_{name}": value for name, value in values.items()}


def move(unit: Transaction, id: str, verb: str, **values: Any) -> FineTuningJob | None:
    """Move the job by one guarded UPDATE. Answers None, or the job if it was already cancelled and is to be."""
    job_validation.job_id(id)
    legal = TRANSITIONS[verb]
    statement = statements.move(verb, frozenset(values))
    parameters = {"of_job": id, **new_values(values)}
    if legal.target in ENDED:
        parameters["now"] = unit.clock.now()
    if unit.run(statement, **parameters).rowcount:
        return None
    job = find(unit, id, locked=True)  # unknown, illegal, or legal by now: another move came between
    if job.status in legal.sources:
        unit.run(statement, **parameters)
        return None
    if job.status is legal.target is JobStatus.CANCELLED:
        return job
    raise IllegalTransitionError(id, verb, job.status, legal.sources)


def moved(unit: Transaction, id: str, verb: str, message: str | None) -> FineTuningJob:
    """Move the job, tell its user, and answer the job as it then is."""
    event = event_of(unit, message)
    return move(unit, id, verb) or told(unit, id, event)


def event_of(unit: Transaction, message: str | None) -> FineTuningJobEvent | None:
    """The event of a move's message, checked before anything is written."""
    if message is None:
        return None
    from fine_tuning_store.repositories.event_writes import new_event  # on first use: most calls need no events

    return new_event(unit, message)


def told(unit: Transaction, id: str, event: FineTuningJobEvent | None) -> FineTuningJob:
    """The job after a move, whose event is written if there is one."""
    if event is not None:
        from fine_tuning_store.repositories.event_writes import append_events

        append_events(unit, id, [event])
    return find(unit, id)


def resolved_values(job: FineTuningJob, given: Hyperparameters) -> dict[str, Any]:
    """The columns that take the hyperparameters given at a start, which a member of the same name in `extra` makes room for."""
    values = {name: value for name, value in mapping.hyperparameter_values(given).items() if value is not None}
    allowed = METHOD_HYPERPARAMETERS.get(job.method.type) if job.method else None
    for name, value in values.items():
        if allowed is not None and name not in allowed:
            raise InvalidValueError(f"hyperparameters.{name}", value, "is not a hyperparameter of the job's method")
    extra = {name: value for name, value in job.hyperparameters.extra.items() if name not in values} | dict(given.extra)
    if extra != job.hyperparameters.extra:
        values["extra"] = extra or None
    return values


def replace_children(unit: Transaction, id: str, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Put new rows of a child table in place of those the job has. The job's own row is locked by the caller."""
    child = statements.child(table)
    unit.run(child.delete, of_job=id)
    if rows:
        unit.run(child.insert, rows)


def insert_jobs(unit: Transaction, added: Sequence[FineTuningJob]) -> None:
    """Write jobs and their children. If an id is taken, what was written before is taken back, also in a host's transaction."""
    in_order = sorted(added, key=lambda job: job.id)  # imports that share ids then wait for each other instead of deadlocking
    rows = [mapping.rows_of_job(job) for job in in_order]
    written: list[str] = []
    for start in range(0, len(rows), BATCH):
        batch = [row.job for row in rows[start : start + BATCH]]
        taken = _insert_batch(unit, batch, written)
        if taken is not None:
            for begin in range(0, len(written), BATCH):
                unit.run(statements.delete_jobs(), job_ids=written[begin : begin + BATCH])
            raise JobAlreadyExistsError(taken)
    pairs = [pair for row in rows for pair in row.metadata]
    if unit.database.writes_in_ctes and len(rows) == 1 and 0 < len(pairs) <= job_validation.METADATA_PAIRS:
        unit.run(statements.insert_settings(len(pairs)), {**rows[0].hyperparameters, **mapping.numbered_pairs(pairs)})
        pairs = []
    else:
        unit.run(statements.child(hyperparameters).insert, [row.hyperparameters for row in rows])
    for table, children in (
        (errors, [row.error for row in rows if row.error]),
        (result_files, [file for row in rows for file in row.result_files]),
        (metadata, pairs),
    ):
        if children:
            unit.run(statements.child(table).insert, children)


def _insert_batch(unit: Transaction, batch: Sequence[dict[str, Any]], written: list[str]) -> str | None:
    """Write job rows and note their ids in `written`; answer an id that was taken, or None."""
    if len(batch) == 1:
        return None if insert_unless_taken(unit, jobs, batch[0]) else batch[0]["id"]
    job_ids = [row["id"] for row in batch]
    try:
        new = set(unit.run(_insert_many(unit.database, jobs), batch).scalars())
    except DBAPIError as error:
        if not unit.database.is_duplicate(error):
            raise
        taken: str = unit.run_for_all(statements.taken(), job_ids=job_ids).scalar_one()
        return taken
    written += new
    return next((id for id in job_ids if id not in new), None)


def insert_unless_taken(unit: Transaction, table: Table, row: Mapping[str, Any]) -> bool:
    """Write one row and answer whether its keys were free. The transaction goes on either way."""
    try:
        return bool(unit.run(_insert_one(unit.database, table), row).rowcount)
    except DBAPIError as error:
        if unit.database.is_duplicate(error):
            return False
        raise


@cache
def _insert_one(database: Database, table: Table) -> Insert:
    """Its rowcount tells whether the keys were free, which takes half the time of RETURNING."""
    statement = named(f"insert_{table.name}", database.insert_unless_taken(table))
    return statement.execution_options(preserve_rowcount=True)


@cache
def _insert_many(database: Database, table: Table) -> ReturningInsert[tuple[str]]:
    statement = named(f"insert_{table.name}", database.insert_unless_taken(table))
    return statement.returning(table.c.id).execution_options(insertmanyvalues_page_size=BATCH)


def delete_ended_job(unit: Transaction, id: str) -> None:
    """Remove an ended job and its children, or nothing. Raises JobNotFoundError or JobReferencedError; the transaction goes on."""
    guarded = unit.connection.begin_nested() if unit.database.errors_end_transactions else nullcontext()
    try:
        with guarded:
            deleted = unit.run(statements.delete_ended_job(), of_job=id).rowcount
    except DBAPIError as error:
        if unit.database.is_referenced(error):
            raise JobReferencedError(id) from error
        raise
    if not deleted:
        raise JobNotFoundError(id)
    if not unit.database.enforces_foreign_keys:
        for table in statements.CHILDREN:  # of every organization: the job that held them to one is gone
            unit.run_for_all(statements.child(table).delete, of_job=id)


def require_job(unit: Transaction, id: str, *, kept_there: bool = False) -> None:
    """Raise JobNotFoundError unless the job is there; on demand, see that it stays until the transaction ends."""
    statement = statements.job_kept_there() if kept_there else statements.job_exists()
    if unit.run(statement, of_job=id).first() is None:
        raise JobNotFoundError(id)


def page_of_jobs(unit: Transaction, shape: statements.JobQuery, parameters: Mapping[str, Any]) -> tuple[FineTuningJob, ...]:
    """The jobs of a page."""
    return tuple(mapping.job_from_row(row) for row in unit.run(statements.page(shape), **parameters))

"""Whether a COMMIT took effect whose answer was lost: it is looked up by what the transaction wrote."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Table, select
from sqlalchemy.exc import DBAPIError

from fine_tuning_store.sql.dialects import Database
from fine_tuning_store.sql.models import jobs
from fine_tuning_store.sql.queries.jobs import JOB_EXISTS_LOCKED
from fine_tuning_store.sql.query_tags import tagged

#: Most ids that an error names.
MAX_IDS: Final = 100


@dataclass(slots=True)
class Written:
    """What a transaction wrote: the first row that has an id made by this process, and the ids for an error."""

    table: Table | None = None
    job_id: str = ""
    id: str = ""
    ids: list[str] = field(default_factory=list)
    anything: bool = False
    """False if the transaction has only read so far."""

    def add(self, table: Table, job_id: str, id: str) -> None:
        """Remember a row of a job, or a job."""
        self.anything = True
        if self.table is None:
            self.table, self.job_id, self.id = table, job_id, id
        if len(self.ids) < MAX_IDS:
            self.ids.append(id)


def is_stored(connection: Connection, database: Database, written: Written, options: Any) -> bool:
    """Return whether the database has what a transaction wrote. The caller rolls back.

    The server may still be at work on the transaction. It is waited for as another one would have to: by the lock of the job's row, or of
    the id of a new job.
    """
    table = written.table
    assert table is not None
    if table is jobs:
        return not _is_free(connection, database, written.id, options)
    connection.execute(JOB_EXISTS_LOCKED, {"job_id": written.job_id}, execution_options=options)
    statement = tagged("outcome", select(table.c.id).where(table.c.job_id == written.job_id, table.c.id == written.id).with_for_update())
    return connection.execute(statement, execution_options=options).first() is not None


def _is_free(connection: Connection, database: Database, id: str, options: Any) -> bool:
    """Return whether a job with this id could be inserted."""
    row = {"id": id, "organization_id": "-", "created_at": 0, "status": "validating_files", "model": "-", "training_file": "-"}
    statement = tagged("outcome", database.insert_unless_taken(jobs)).execution_options(preserve_rowcount=True)
    try:
        return bool(connection.execute(statement, row, execution_options=options).rowcount)
    except DBAPIError as error:
        if database.is_duplicate(error):
            return False
        raise

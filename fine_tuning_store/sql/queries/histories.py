"""The statements of histories: what belongs to several jobs, and the INSERT of rows of jobs that are new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Select, Table, bindparam, insert, select

from fine_tuning_store.sql.models import checkpoint_permissions, checkpoints, events, job_transitions
from fine_tuning_store.sql.queries import checkpoints as of_checkpoints
from fine_tuning_store.sql.queries import events as of_events
from fine_tuning_store.sql.queries import permissions as of_permissions
from fine_tuning_store.sql.queries import transitions as of_transitions
from fine_tuning_store.sql.query_tags import tagged

_JOB_IDS: Final[BindParameter[Sequence[str]]] = bindparam("job_ids", expanding=True)


def _of_jobs(table: Table, columns: Sequence[Any], *order: str) -> Select[Any]:
    """Return the SELECT of the rows of some jobs in a child table, job by job. The caller may see the jobs."""
    ordered = (table.c[name] for name in ("job_id", *order))
    return tagged(f"histories_{table.name}", select(*columns).where(table.c.job_id.in_(_JOB_IDS)).order_by(*ordered))


EVENTS: Final = _of_jobs(events, of_events.COLUMNS, "position")
CHECKPOINTS: Final = _of_jobs(checkpoints, of_checkpoints.COLUMNS, "step_number", "id")
PERMISSIONS: Final = _of_jobs(checkpoint_permissions, of_permissions.COLUMNS, "created_at", "id")
TRANSITIONS: Final = _of_jobs(job_transitions, of_transitions.COLUMNS, "position")

INSERT_PERMISSIONS: Final = tagged(f"insert_{checkpoint_permissions.name}", insert(checkpoint_permissions))

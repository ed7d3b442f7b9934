"""The statements that replace mirrored jobs."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import BindParameter, Select, Update, bindparam, select, update

from fine_tuning_store.sql.models import jobs
from fine_tuning_store.sql.queries.jobs import IS_IMPORTED, IS_THE_JOB, new_value_binds
from fine_tuning_store.sql.query_tags import tagged

_JOB_IDS: Final[BindParameter[str]] = bindparam("job_ids", expanding=True)


def by_primary_key(statement: Select[Any]) -> Select[Any]:
    """Return a SELECT of jobs by their ids that locks no others: where they are many, MariaDB would rather read, and lock, all rows."""
    hint = "FORCE INDEX (PRIMARY)"
    return statement.with_hint(jobs, hint, "mysql").with_hint(jobs, hint, "mariadb")


#: The organizations of jobs of any organization. It waits for none of them.
OWNERS: Final = tagged("owners", select(jobs.c.id, jobs.c.organization_id).where(jobs.c.id.in_(_JOB_IDS)).order_by(jobs.c.id))
#: The same as of now, whatever the transaction saw before.
OWNERS_LOCKED: Final = tagged("owners_locked", by_primary_key(OWNERS).with_for_update())
#: Locks, of some jobs, those that may be replaced, in the order of their ids.
LOCK_MIRRORED: Final = tagged(
    "lock_mirrored",
    by_primary_key(select(jobs.c.id).where(jobs.c.id.in_(_JOB_IDS), IS_IMPORTED)).order_by(jobs.c.id).with_for_update(),
)


@cache
def replace_job(columns: frozenset[str]) -> Update:
    """Return the UPDATE of these columns of a mirrored job. Those that it leaves out are counters of what belongs to the job."""
    return tagged("replace_job", update(jobs).where(IS_THE_JOB, IS_IMPORTED).values(new_value_binds(columns)))

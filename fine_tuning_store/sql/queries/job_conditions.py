"""The filters of jobs as conditions in SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, exists, false, true

from fine_tuning_store.sql.models import job_metadata, jobs
from fine_tuning_store.sql.queries.jobs import JobQuery, status_in


def conditions(query: JobQuery, *, joined_pairs: int = 0) -> list[ColumnElement[bool]]:
    """Return the conditions of the filters on `fine_tuning_jobs`. The values are bound under the names that JobQuery documents.

    Args:
        query: The filters. The order and the cursor of a page are left out.
        joined_pairs: The number of metadata pairs, counted from the first, that the statement joins itself.
    """
    found: list[ColumnElement[bool]] = [jobs.c[name] == bindparam(name) for name in sorted(query.equal)]
    if query.statuses:
        found.append(status_in(query.statuses))
    for position in range(joined_pairs, query.pairs):
        pair = job_metadata.alias(f"pair_{position}")
        found.append(exists().where(pair.c.job_id == jobs.c.id, is_pair(pair, position)))
    if query.has_metadata is not None:
        any_pair = exists().where(job_metadata.c.job_id == jobs.c.id)
        found.append(any_pair if query.has_metadata else ~any_pair)
    if query.since:
        found.append(jobs.c.created_at >= bindparam("created_since"))
    if query.until:
        found.append(jobs.c.created_at < bindparam("created_until"))
    return found


def restricted(statement: Select[Any], query: JobQuery) -> Select[Any]:
    """Return a SELECT of jobs, restricted by the filters.

    It joins the row of the first metadata pair, a job has at most one, so that the database may start from either table.
    """
    if query.pairs:
        first = job_metadata.alias("pair_0")
        statement = statement.join(first, and_(first.c.job_id == jobs.c.id, is_pair(first, 0)))
        if "organization_id" in query.equal:
            statement = statement.where(first.c.organization_id == bindparam("organization_id"))
    return statement.where(*conditions(query, joined_pairs=1))


def is_pair(pairs: Any, position: int) -> ColumnElement[bool]:
    """Return the condition that a row of metadata is the pair at a position.

    PostgreSQL takes the conditions on digest, key and value for independent, expects hardly any row, and would look up the jobs one by
    one. Of a CASE it expects every second row.
    """
    is_it = and_(pairs.c.key == bindparam(f"key_{position}"), pairs.c.value == bindparam(f"value_{position}"))
    return and_(pairs.c.digest == bindparam(f"digest_{position}"), case((is_it, true()), else_=false()))

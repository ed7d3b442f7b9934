"""The filters of jobs: what a call asks for, and the conditions in SQL that it becomes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Select, and_, bindparam, case, exists, false, true

from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.sql.models import job_errors, job_hyperparameters, job_metadata, job_result_files, jobs
from fine_tuning_store.sql.queries.jobs import status_in

OrderBy = Literal["created_at", "finished_at"]


class JobQuery(NamedTuple):
    """The filters and the order of a list of jobs. Their values are bound under the names of the filters."""

    equal: frozenset[str] = frozenset()
    """Columns of `fine_tuning_jobs` that equal a value."""
    statuses: tuple[JobStatus, ...] = ()
    pairs: int = 0
    """The number of metadata pairs, bound as key_0, value_0, digest_0, key_1 ..."""
    has_metadata: bool | None = None
    result_file: bool = False
    error_code: bool = False
    times: frozenset[str] = frozenset()
    """Limits of times, such as `created_since`."""
    at_least: frozenset[str] = frozenset()
    """Hyperparameters with a lower limit, bound as at_least_n_epochs ..."""
    at_most: frozenset[str] = frozenset()
    """Hyperparameters with an upper limit, bound as at_most_n_epochs ..."""
    order_by: OrderBy = "created_at"
    descending: bool = True
    after: bool = False
    """True if the page begins after the row (after_time, after_id)."""


def conditions(query: JobQuery, *, joined_pairs: int = 0) -> list[ColumnElement[bool]]:
    """Return the conditions of the filters on `fine_tuning_jobs`, without the order and the cursor of a page.

    Args:
        query: The filters.
        joined_pairs: The number of metadata pairs, counted from the first, that the statement joins itself.
    """
    found: list[ColumnElement[bool]] = [jobs.c[name] == bindparam(name) for name in sorted(query.equal)]
    if query.statuses:
        found.append(status_in(query.statuses))
    for position in range(joined_pairs, query.pairs):
        pair = job_metadata.alias(f"pair_{position}")
        found.append(_exists(pair, pair.c.key == bindparam(f"key_{position}"), pair.c.value == bindparam(f"value_{position}")))
    if query.has_metadata is not None:
        any_pair = _exists(job_metadata)
        found.append(any_pair if query.has_metadata else ~any_pair)
    if query.result_file:
        found.append(_exists(job_result_files, job_result_files.c.file_id == bindparam("result_file")))
    if query.error_code:
        found.append(_exists(job_errors, job_errors.c.code == bindparam("error_code")))
    found += [time_limit(jobs.c[f"{name.partition('_')[0]}_at"], name) for name in sorted(query.times)]
    if query.at_least or query.at_most:
        found.append(_exists(job_hyperparameters, *_hyperparameter_limits(query)))
    return found


def _exists(table: Any, *criteria: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a job has a row in a child table, also where the statement joins that table."""
    return exists().where(table.c.job_id == jobs.c.id, *criteria).correlate(jobs)


def time_limit(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Return the condition of a limit of times: `..._since` is inclusive, `..._until` exclusive."""
    return column >= bindparam(name) if name.endswith("_since") else column < bindparam(name)


def _hyperparameter_limits(query: JobQuery) -> list[ColumnElement[bool]]:
    """Return the limits of hyperparameters. -1 stands for `"auto"`, which is neither large nor small."""
    columns = job_hyperparameters.c
    found = [columns[name] >= bindparam(f"at_least_{name}") for name in sorted(query.at_least)]
    for name in sorted(query.at_most):
        found += [columns[name] <= bindparam(f"at_most_{name}"), columns[name] > 0]
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
    one. Of a CASE it expects every second row. The digest is a number in the text, so that it knows how common the pair is, also when it
    plans the statement for good.
    """
    is_it = and_(pairs.c.key == bindparam(f"key_{position}"), pairs.c.value == bindparam(f"value_{position}"))
    digest = bindparam(f"digest_{position}", type_=BigInteger, literal_execute=True)
    return and_(pairs.c.digest == digest, case((is_it, true()), else_=false()))

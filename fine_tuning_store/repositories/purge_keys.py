"""How a purge finds the jobs that ended before a time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.sql.queries import retention as queries
from fine_tuning_store.transactions import Transaction, TransactionSource


def pages_of_ids(
    source: TransactionSource, before: int, statuses: tuple[JobStatus, ...], organization_id: str | None, rows: int
) -> Iterator[list[str]]:
    """Yield the ids of the jobs that ended before a time, those that finished first at first, page by page."""
    for has_end in (True, False):
        leads = statuses if organization_id is None else (None,)
        limits: dict[str, Any] = {"row_limit": rows, **({"before": before} if has_end else {})}
        if organization_id is not None:
            limits["organization_id"] = organization_id
        keys = heapq.merge(*(_keys(source, status, limits, has_end=has_end) for status in leads), key=_sort_key)
        ids = (key.id for key in keys if key.status in statuses and (has_end or key.created_at < before))
        while page := list(islice(ids, rows)):
            yield page


def _sort_key(key: Any) -> tuple[int, str]:
    return key.finished_at or 0, key.id


def _keys(source: TransactionSource, status: JobStatus | None, limits: dict[str, Any], *, has_end: bool) -> Iterator[Any]:
    """Yield the keys of the jobs of a status, or of an organization, in the order of an index. It reads them in statements of a few."""
    after: dict[str, Any] = {}
    while True:
        statement = queries.keys(status, has_end=has_end, after=bool(after))
        page = source.read(partial(_fetch_keys, statement=statement, parameters=limits | after))
        yield from page
        if len(page) < limits["row_limit"]:
            return
        after = {"after_id": page[-1].id} | ({"after_time": page[-1].finished_at} if has_end else {})


def _fetch_keys(transaction: Transaction, statement: Any, parameters: dict[str, Any]) -> Any:
    return transaction.execute_unscoped(statement, **parameters).all()

"""Names of statements, which pg_stat_activity, slow logs and traces show: a comment after the first keyword."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy.sql.selectable import HasPrefixes

S = TypeVar("S", bound=HasPrefixes)


def tagged(name: str, statement: S) -> S:
    """Return the statement with a name: `SELECT /* fine_tuning_store.job */ ...`."""
    return statement.prefix_with(f"/* fine_tuning_store.{name} */")

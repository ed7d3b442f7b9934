"""Statements bear names, which pg_stat_activity, slow logs and traces show: a comment behind the verb. It is compiled once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.sql.selectable import HasPrefixes

P = ParamSpec("P")
S = TypeVar("S", bound=HasPrefixes)


def named(name: str, statement: S) -> S:
    """The statement under a name: `SELECT /* fine_tuning_store.job */ ...`."""
    return statement.prefix_with(f"/* fine_tuning_store.{name} */")


def tagged_by_name(build: Callable[P, S]) -> Callable[P, S]:
    """Give what a function builds the name of the function."""

    @wraps(build)
    def build_named(*args: P.args, **kwargs: P.kwargs) -> S:
        return named(build.__name__, build(*args, **kwargs))

    return build_named

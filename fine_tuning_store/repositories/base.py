"""What every repository is: methods of a unit, which the repository's scope provides."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from fine_tuning_store.domain import job_validation
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.sql.schema_option import checked_schema, options_of
from fine_tuning_store.sql.tables import jobs
from fine_tuning_store.transactions import EngineTransactions, SessionTransactions, Transaction, TransactionSource

T = TypeVar("T")
P = ParamSpec("P")


class Repository:
    """A repository over a scope, or inside the transaction of a host's Session or Connection.

    In a host's transaction it never commits and never rolls back; `organization_id` holds it to one organization, `schema` to the
    tables in a schema of PostgreSQL.
    """

    def __init__(self, source: Source, *, organization_id: str | None = None, schema: str | None = None) -> None:
        if organization_id is not None:
            job_validation.organization(organization_id)
        if isinstance(source, Connection):
            self._scope: TransactionSource = Transaction(
                source, organization_id, options=options_of(checked_schema(schema, source.dialect))
            )
        elif isinstance(source, (Session, scoped_session)):
            known = None if schema is None else checked_schema(schema, source.get_bind(clause=jobs).dialect)
            self._scope = SessionTransactions(source, organization_id, options=options_of(known))
        elif isinstance(source, (Transaction, SessionTransactions, EngineTransactions)) and organization_id is schema is None:
            self._scope = source
        else:
            raise TypeError(
                f"{type(self).__name__} takes a Session or a Connection of SQLAlchemy, not {type(source).__name__}; "
                f"for an Engine use FineTuningStore(engine), for anything async Async{type(self).__name__}"
            )

    def _organization(self, given: str | None) -> str | None:
        """The organization that a call is about: the scope's, or the one given, or None for all."""
        own = self._scope.organization_id
        if given is not None:
            job_validation.organization(given)
            if own not in (None, given):
                raise InvalidValueError("organization_id", given, f"must be {own!r}, the only organization of this store")
        return own if given is None else given


R = TypeVar("R", bound=Repository)
Source = TransactionSource | Session | scoped_session[Any] | Connection


def reads(method: Callable[Concatenate[R, Transaction, P], T]) -> Callable[Concatenate[R, P], T]:
    """Make a method of a unit into one that asks the repository's scope for a reading unit."""

    def call(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        args, kwargs = _repeatable(args, kwargs)  # type: ignore[assignment]
        return self._scope.read(lambda unit: method(self, unit, *args, **kwargs))

    return _described_as(method, call)


def writes(method: Callable[Concatenate[R, Transaction, P], T]) -> Callable[Concatenate[R, P], T]:
    """Make a method of a unit into one that asks the repository's scope for a writing unit."""

    def call(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        args, kwargs = _repeatable(args, kwargs)  # type: ignore[assignment]
        return self._scope.write(lambda unit: method(self, unit, *args, **kwargs))

    return _described_as(method, call)


def _repeatable(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, iterators among them read out: a unit that is run again must find them as the first run did."""
    return (
        tuple([tuple(value) if hasattr(value, "__next__") else value for value in args]),
        {name: tuple(value) if hasattr(value, "__next__") else value for name, value in kwargs.items()},
    )


def _described_as(method: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    functools.update_wrapper(call, method)
    signature = inspect.signature(method)
    kept = [parameter for name, parameter in signature.parameters.items() if name != "unit"]
    call.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return call

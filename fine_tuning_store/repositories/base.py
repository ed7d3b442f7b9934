"""What the repositories have in common: their source of transactions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from fine_tuning_store.domain.job_validation import check_organization
from fine_tuning_store.engine_transactions import EngineTransactions
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.sessions import SessionTransactions, dialect_of
from fine_tuning_store.sql.dialects import database_for
from fine_tuning_store.sql.schema_option import checked_schema, options_of
from fine_tuning_store.transactions import Transaction, TransactionSource

F = TypeVar("F", bound=Callable[..., Any])


def with_keywords_of(arguments: Any, default: object = None) -> Callable[[F], F]:
    """Show the keys of a TypedDict as keyword arguments, in the signature of a method that ends with `**` and an Unpack of it.

    Args:
        arguments: The TypedDict.
        default: What is shown as the default of the keys that are not required.
    """

    def decorate(method: F) -> F:
        signature = inspect.signature(method)
        *own, _ = signature.parameters.values()
        names = sorted(arguments.__annotations__, key=lambda name: name not in arguments.__required_keys__)  # the required ones first
        keywords = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if name in arguments.__required_keys__ else default,
                annotation=arguments.__annotations__[name].__forward_arg__,
            )
            for name in names
        ]
        method.__signature__ = signature.replace(parameters=[*own, *keywords])  # type: ignore[attr-defined]
        return method

    return decorate


class Repository:
    """A repository of a store or a unit of work, or inside the transaction of a host's Session or Connection.

    In a host's transaction it never commits and never rolls back.

    Args:
        source: A Session or a Connection of SQLAlchemy.
        organization_id: Restricts the repository to one organization.
        schema: The schema of a PostgreSQL database that holds the tables, if it is not the one that the connection finds by itself.

    Raises:
        TypeError: `source` is something else.
        InvalidValueError: `organization_id` or `schema` is not a name.
        UnsupportedDatabaseError: The database is not supported, or has no schemas.
    """

    def __init__(
        self,
        source: TransactionSource | Session | scoped_session[Any] | Connection,
        *,
        organization_id: str | None = None,
        schema: str | None = None,
    ) -> None:
        if organization_id is not None:
            organization_id = check_organization(organization_id)
        if isinstance(source, Connection):
            options = options_of(checked_schema(schema, source.dialect))
            self._source: TransactionSource = Transaction(source, database_for(source.dialect), organization_id, options=options)
        elif isinstance(source, (Session, scoped_session)):
            checked = None if schema is None else checked_schema(schema, dialect_of(source))
            self._source = SessionTransactions(source, organization_id, options=options_of(checked))
        elif isinstance(source, (Transaction, SessionTransactions, EngineTransactions)) and organization_id is schema is None:
            self._source = source
        else:
            raise TypeError(
                f"{type(self).__name__} takes a Session or a Connection of SQLAlchemy, not {type(source).__name__}; "
                f"for an Engine use FineTuningStore(engine), for anything async Async{type(self).__name__}"
            )

    def _organization(self, given: str | None) -> str | None:
        """Return the organization of a call: that of the source, or the given one, or None for all."""
        own = self._source.organization_id
        if given is not None:
            given = check_organization(given)
            if own not in (None, given):
                raise InvalidValueError("organization_id", given, f"must be {own!r}, the only organization of this store")
        return own if given is None else given

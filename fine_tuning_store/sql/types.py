"""Column types that behave alike on every database. The variants for each database are declared here and nowhere else."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from sqlalchemy import BigInteger, ColumnElement, Dialect, Double, ForeignKey, String, Text, TypeDecorator, type_coerce
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeEngine, UserDefinedType

from fine_tuning_store.domain.validation import MAX_ID_LENGTH, MAX_NAME_LENGTH, MAX_ORGANIZATION_LENGTH, MAX_WORD_LENGTH
from fine_tuning_store.sql.functions import as_text

#: MariaDB's default collations ignore case and trailing blanks.
_MARIADB_TEXT: Final = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}


def identifier(length: int) -> String:
    """Return the type of a text of up to `length` characters that is compared and sorted byte by byte, without padding."""
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, **_MARIADB_TEXT), "mysql", "mariadb")
    )


def long_text() -> Text:
    """Return the type of a text of any length."""
    return Text().with_variant(mysql.LONGTEXT(**_MARIADB_TEXT), "mysql", "mariadb")


def json_text(value: Any) -> str:
    """Return the text of a JSON value, as it is stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class _JsonText(UserDefinedType[str]):
    """PostgreSQL's `json`, which keeps a text as it was written.

    It is not SQLAlchemy's JSON type: no serializer of a host's engine may take part.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the SQL of the type."""
        return "JSON"


class Json(TypeDecorator[Any]):
    """A JSON value, stored as a text that is read back as an equal value."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = long_text().with_variant(_JsonText(), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the text of a value."""
        return None if value is None else json_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the value of a text."""
        return None if value is None else json.loads(value)

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Select the text, so that no driver decodes it, and decode it here."""
        return type_coerce(as_text(column), self)


# The types of the columns in sql/models.py, as annotations.

Id = Annotated[str, mapped_column(identifier(MAX_ID_LENGTH))]
JobId = Annotated[str, mapped_column(identifier(MAX_ID_LENGTH), ForeignKey("fine_tuning_jobs.id", ondelete="CASCADE"))]
OrganizationId = Annotated[str, mapped_column(identifier(MAX_ORGANIZATION_LENGTH))]
Name = Annotated[str, mapped_column(identifier(MAX_NAME_LENGTH))]  # of a model or a file
Word = Annotated[str, mapped_column(identifier(MAX_WORD_LENGTH))]
LongText = Annotated[str, mapped_column(long_text())]
Integer = Annotated[int, mapped_column(BigInteger)]  # Unix seconds, numbers of tokens, seeds
Number = Annotated[float, mapped_column(Double)]
JsonValue = Annotated[Any, mapped_column(Json)]

"""What a database holds of our tables, beside what it should hold, as lines that can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import CheckConstraint, Connection, ForeignKeyConstraint, inspect

from fine_tuning_store.sql.tables import METADATA


def expected() -> frozenset[str]:
    """The columns, keys, checks and indexes that this code expects."""
    lines: set[str] = set()
    for table in METADATA.sorted_tables:
        lines.add(f"table {table.name}")
        lines |= {_column(table.name, column.name, nullable=bool(column.nullable)) for column in table.columns}
        lines.add(f"primary key {table.name} ({', '.join(column.name for column in table.primary_key)})")
        for constraint in table.constraints:
            if isinstance(constraint, CheckConstraint):
                lines.add(f"check {table.name}.{constraint.name}")
            elif isinstance(constraint, ForeignKeyConstraint):
                lines.add(f"foreign key {table.name} ({', '.join(constraint.column_keys)}) to {constraint.referred_table.name}")
        for index in table.indexes:
            lines.add(_index(table.name, index.name, [column.name for column in index.columns], unique=index.unique))
    return frozenset(lines)


def live(connection: Connection, schema: str | None = None) -> frozenset[str]:
    """The same of what is there, in a schema of the database or in the one that it looks into by itself."""
    inspector = inspect(connection)
    lines: set[str] = set()
    for name in set(METADATA.tables) & set(inspector.get_table_names(schema)):
        lines.add(f"table {name}")
        lines |= {_column(name, column["name"], nullable=column["nullable"]) for column in inspector.get_columns(name, schema)}
        lines.add(f"primary key {name} ({', '.join(inspector.get_pk_constraint(name, schema)['constrained_columns'])})")
        lines |= {f"check {name}.{check['name']}" for check in inspector.get_check_constraints(name, schema)}
        for key in inspector.get_foreign_keys(name, schema):
            lines.add(f"foreign key {name} ({', '.join(key['constrained_columns'])}) to {key['referred_table']}")
        for index in inspector.get_indexes(name, schema):
            lines.add(_index(name, index["name"], index["column_names"], unique=bool(index["unique"])))
    return frozenset(lines)


def _index(table: str, name: object, columns: Sequence[str | None], *, unique: bool) -> str:
    return f"{'unique ' if unique else ''}index {table}.{name} ({', '.join(map(str, columns))})"


def _column(table: str, name: str, *, nullable: bool) -> str:
    return f"column {table}.{name}{'' if nullable else ' not null'}"

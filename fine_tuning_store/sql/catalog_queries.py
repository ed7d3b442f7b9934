"""What SQLAlchemy's reflection leaves out of a catalog. Each query is told the tables' `names`."""

from __future__ import annotations

from typing import Final

#: The types as they are: reflection leaves out a collation that is the table's own too.
MARIADB_TYPES: Final = """
    SELECT table_name, column_name, column_type, character_set_name, collation_name FROM information_schema.columns
    WHERE table_schema = database() AND table_name IN :names
"""

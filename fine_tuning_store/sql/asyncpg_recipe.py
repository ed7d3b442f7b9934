"""How asyncpg is used behind a pooler of transactions.

It prepares every statement. The server changes from transaction to transaction, so that a statement may be kept by nobody, and no name
may be met twice.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy.pool import NullPool

#: Arguments of create_engine.
POOLED: dict[str, Any] = {
    "connect_args": {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"fine_tuning_store_{uuid4()}",
    },
    "poolclass": NullPool,
}

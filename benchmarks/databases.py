"""Temporary databases for the benchmarks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text

SERVER = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"


@contextmanager
def new_database(kind: str, server: str) -> Iterator[str]:
    """Create an empty database, a SQLite file or a database on a PostgreSQL server, yield its URL, and drop it at the end."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/benchmark.db"
        return
    url = make_url(server).set(drivername="postgresql+psycopg")
    name = f"fine_tuning_store_benchmark_{os.getpid()}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()

"""Temporary databases for the benchmarks."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text

DATABASES = ("sqlite", "postgresql", "mariadb")
SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
    "mariadb": "mariadb+pymysql://root@127.0.0.1:3306/test",
}
_numbers = itertools.count()


@contextmanager
def new_database(kind: str, server: str | None = None) -> Iterator[str]:
    """Create an empty database, yield its URL, and drop it at the end.

    Args:
        kind: One of DATABASES.
        server: The URL of a database on the server on which it is created, by default a local one. SQLite's is a temporary file.
    """
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/benchmark.db"
        return
    url = make_url(server or SERVERS[kind])
    if kind == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    name = f"fine_tuning_store_benchmark_{os.getpid()}_{next(_numbers)}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(text(f"DROP DATABASE {name}{' WITH (FORCE)' if kind == 'postgresql' else ''}"))
    admin.dispose()

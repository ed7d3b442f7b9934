"""Changes of tables that may be large, without blocking their readers and writers (docs/decisions/0007).

Only revisions use this file. They load it by its path, so that it is found wherever they are run from:
`operations = load_python_file(Path(__file__).parents[1], "operations.py")`. It imports nothing of the package. A function that a landed
revision calls is never changed; an improvement gets a new name.

SQLite has one writer, and rebuilds a table for a new CHECK (`rebuild_table`); the functions for CHECKs refuse it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

#: Finds what an interrupted CREATE INDEX CONCURRENTLY leaves behind: an index that is maintained, but used by no query.
INVALID = sa.text("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(quote_ident(:name)) AND NOT indisvalid")


def wait_briefly() -> None:
    """Limit how long the following statements of the transaction wait for the lock of a table on PostgreSQL.

    All later statements on the table queue behind one that waits. The limit is a little more than the second after which PostgreSQL
    cancels an autovacuum that blocks a statement.
    """
    if _on_postgresql():
        op.execute("SET LOCAL lock_timeout = '1100ms'")


def refuse_foreign_keys() -> None:
    """Raise RuntimeError if foreign keys are on in SQLite. `rebuild_table` calls it.

    SQLite rebuilds a table by dropping the old one, and with foreign keys on it deletes every child row.
    """
    context = op.get_context()
    if context.dialect.name == "sqlite" and not context.as_sql and op.get_bind().exec_driver_sql("PRAGMA foreign_keys").scalar():
        raise RuntimeError(
            "this migration rebuilds tables, and with foreign keys on SQLite would delete the rows that refer to them; it has changed "
            "nothing: run it inside fine_tuning_store.schema.foreign_keys_off(connection), entered before the transaction begins"
        )


@contextmanager
def rebuild_table(name: str) -> Iterator[BatchOperations]:
    """Yield the operations of op.batch_alter_table, by which SQLite rebuilds the table when the block ends. Views go on working.

    It is the first step of `upgrade` or `downgrade`, so that it can refuse foreign keys before anything has changed. Other databases
    change the table itself.
    """
    refuse_foreign_keys()
    with _views_unchecked(), op.batch_alter_table(name) as table:
        yield table


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column that is nullable or has a constant default, which no database copies the table for. Does nothing if it exists."""
    wait_briefly()
    op.add_column(table, column, if_not_exists=None if _on_sqlite() else True)


def drop_column(table: str, name: str) -> None:
    """Drop a column. Does nothing if it does not exist."""
    wait_briefly()
    op.drop_column(table, name, if_exists=None if _on_sqlite() else True)


def create_index(name: str, table: str, columns: Sequence[str], *, unique: bool = False, lengths: Mapping[str, int] | None = None) -> None:
    """Create an index while its table is in use. It must be the only step of its revision. Does nothing if the index exists.

    On PostgreSQL it commits what came before, waits for the transactions that are open, and replaces the invalid index of an earlier
    run that was interrupted or found duplicates. `lengths` are the lengths of MariaDB's prefixes, in characters.
    """
    lengths = dict(lengths or {})
    if not _on_postgresql():
        op.create_index(name, table, columns, unique=unique, if_not_exists=True, mysql_length=lengths, mariadb_length=lengths)
        return
    leftover = op.get_context().as_sql or op.get_bind().scalar(INVALID, {"name": name})  # a script cannot query the database
    with _in_no_transaction():
        if leftover:
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, unique=unique, if_not_exists=True, postgresql_concurrently=True)


def drop_index(name: str, table: str) -> None:
    """Drop an index while its table is in use. It must be the only step of its revision. Does nothing if the index does not exist."""
    if not _on_postgresql():
        op.drop_index(name, table, if_exists=True)
        return
    with _in_no_transaction():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def add_check_not_valid(name: str, table: str, condition: str) -> None:
    """Add a CHECK for new rows, on PostgreSQL and MariaDB. Existing rows are checked by `validate_check` in the next revision.

    MariaDB checks all rows at once, and copies the table: writers wait until it is done.
    """
    if _on_postgresql():
        wait_briefly()
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
    else:
        _refuse_sqlite()
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT IF NOT EXISTS {name} CHECK ({condition})")


def validate_check(name: str, table: str) -> None:
    """Check the existing rows too, while the table is in use. MariaDB has done so already."""
    if _on_postgresql():
        wait_briefly()
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
    else:
        _refuse_sqlite()


def _on_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"


def _on_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _refuse_sqlite() -> None:
    if _on_sqlite():
        raise NotImplementedError("SQLite rebuilds a table for a CHECK: use rebuild_table")


@contextmanager
def _views_unchecked() -> Iterator[None]:
    """Let SQLite rename a table although views and triggers, the application's included, mention one that does not exist.

    A rebuild drops the old table before it gives the new one its name, which SQLite otherwise refuses while a view mentions it.
    """
    if not _on_sqlite() or op.get_context().as_sql:
        yield
        return
    connection = op.get_bind()
    before = connection.exec_driver_sql("PRAGMA legacy_alter_table").scalar()
    connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql(f"PRAGMA legacy_alter_table = {before}")


@contextmanager
def _in_no_transaction() -> Iterator[None]:
    """Run statements in autocommit mode, as CONCURRENTLY demands, without lock_timeout: they wait for old transactions, and block no one.

    A lock_timeout that was set for the transaction has ended by then, so the session's is read and restored.
    """
    context = op.get_context()
    online = not context.as_sql
    with context.autocommit_block():
        before = op.get_bind().scalar(sa.text("SELECT current_setting('lock_timeout')")) if online else None
        if before != "0":
            op.execute("SET lock_timeout = 0")
        try:
            yield
        finally:
            if before != "0":
                op.execute("RESET lock_timeout" if before is None else f"SET lock_timeout = '{before}'")

"""Changes of tables that may be large, without stopping those who read and write them (docs/decisions/0007).

For revisions alone. One loads this file by its place, so that it is found wherever the revisions are run from:
`operations = load_python_file(Path(__file__).parents[1], "operations.py")`. It imports nothing of the store. What a landed revision
calls stays as it is; a better way gets a new name.

PostgreSQL and MariaDB only where it says so: SQLite has one writer and rebuilds a table for a new CHECK (op.batch_alter_table).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

#: What a cut-off CREATE INDEX CONCURRENTLY leaves behind: an index that is kept up to date and answers nothing.
INVALID = sa.text("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(quote_ident(:name)) AND NOT indisvalid")


def wait_briefly() -> None:
    """Begin with this whatever locks a table on PostgreSQL: who waits for such a lock stops everybody behind. Ends with the transaction.

    It is a little more than the second after which PostgreSQL sends an autovacuum away that is in the way.
    """
    if _on_postgresql():
        op.execute("SET LOCAL lock_timeout = '1100ms'")


def create_index(name: str, table: str, columns: Sequence[str], *, unique: bool = False, lengths: Mapping[str, int] | None = None) -> None:
    """Index a table while it is used; the only step of its revision. `lengths` are those of MariaDB's prefixes, in characters.

    Finds its work done if it is. On PostgreSQL it commits what came before, waits for the transactions that are open, and replaces
    what an earlier run that was cut off, or that met duplicates, has left.
    """
    lengths = dict(lengths or {})
    if not _on_postgresql():
        op.create_index(name, table, columns, unique=unique, if_not_exists=True, mysql_length=lengths, mariadb_length=lengths)
        return
    leftover = op.get_context().as_sql or op.get_bind().scalar(INVALID, {"name": name})  # who writes SQL cannot look
    with _in_no_transaction():
        if leftover:
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, unique=unique, if_not_exists=True, postgresql_concurrently=True)


def drop_index(name: str, table: str) -> None:
    """Drop an index while its table is used; the only step of its revision. Finds its work done if it is."""
    if not _on_postgresql():
        op.drop_index(name, table, if_exists=True)
        return
    with _in_no_transaction():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def add_check_not_valid(name: str, table: str, condition: str) -> None:
    """Hold new rows to a condition, on PostgreSQL and MariaDB; those that are there wait for `validate_check` in the next revision.

    MariaDB holds all rows to it at once, and copies the table for it: nobody writes meanwhile.
    """
    if _on_postgresql():
        wait_briefly()
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
    else:
        _refuse_sqlite()
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT IF NOT EXISTS {name} CHECK ({condition})")


def validate_check(name: str, table: str) -> None:
    """Hold the rows that are there to the condition too, while they are used. MariaDB has done so already."""
    if _on_postgresql():
        wait_briefly()
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
    else:
        _refuse_sqlite()


def _on_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"


def _refuse_sqlite() -> None:
    if op.get_context().dialect.name == "sqlite":
        raise NotImplementedError("SQLite rebuilds a table for a CHECK: use op.batch_alter_table behind refuse_foreign_keys()")


@contextmanager
def _in_no_transaction() -> Iterator[None]:
    """As CONCURRENTLY demands. It waits for old transactions and stops nobody meanwhile, without a limit.

    What lock_timeout was set to for the transaction alone has ended by then, so the session is asked.
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

"""${message}: say why, for whom, and what a reader of this file in five years has to know.

A letter from the past: literal, reversible, importing nothing of ours, never edited once it has landed. What is done to tables that
hold jobs already goes through migrations/operations.py, whose beginning says how it is loaded.
"""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def refuse_foreign_keys() -> None:
    """Delete this unless the revision uses op.batch_alter_table; else begin upgrade and downgrade with it.

    SQLite rebuilds a table by dropping the old one, and with foreign keys on every child row goes with it.
    """
    context = op.get_context()
    if context.dialect.name == "sqlite" and not context.as_sql and op.get_bind().exec_driver_sql("PRAGMA foreign_keys").scalar():
        raise RuntimeError(
            "this migration rebuilds tables, and with foreign keys on SQLite would delete the rows that refer to them; it has changed "
            "nothing: run it inside fine_tuning_store.schema.foreign_keys_off(connection), entered before the transaction begins"
        )


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}

"""A revision that rebuilds the table of jobs on SQLite, as one to come may have to. Only tests run it."""

import sqlalchemy as sa
from alembic import op

revision = "rebuilding_0001"
down_revision = None
branch_labels = ("rebuilding",)
depends_on = "fine_tuning_store_0001"


def refuse_foreign_keys() -> None:
    """SQLite rebuilds a table by dropping the old one, and with foreign keys on every child row goes with it."""
    context = op.get_context()
    if context.dialect.name == "sqlite" and not context.as_sql and op.get_bind().exec_driver_sql("PRAGMA foreign_keys").scalar():
        raise RuntimeError(
            "this migration rebuilds tables, and with foreign keys on SQLite would delete the rows that refer to them; it has changed "
            "nothing: run it inside fine_tuning_store.schema.foreign_keys_off(connection), entered before the transaction begins"
        )


def upgrade() -> None:
    refuse_foreign_keys()
    with op.batch_alter_table("fine_tuning_jobs") as jobs:
        jobs.alter_column("suffix", type_=sa.String(600))


def downgrade() -> None:
    refuse_foreign_keys()
    with op.batch_alter_table("fine_tuning_jobs") as jobs:
        jobs.alter_column("suffix", type_=sa.String(512))

"""A CHECK on a table that may be large, of which only new rows are held to it as yet. Only tests run it."""

from pathlib import Path

from alembic import op
from alembic.util import load_python_file

operations = load_python_file(Path(__file__).parents[1], "operations.py")

revision = "fine_tuning_store_0004"
down_revision = "fine_tuning_store_0003"
branch_labels = None
depends_on = None

NAME, TABLE, CONDITION = "ck_fine_tuning_jobs_seed", "fine_tuning_jobs", "seed >= 0"


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
    if op.get_context().dialect.name == "sqlite":
        with op.batch_alter_table(TABLE) as jobs:
            jobs.create_check_constraint(op.f(NAME), CONDITION)
    else:
        operations.add_check_not_valid(NAME, TABLE, CONDITION)


def downgrade() -> None:
    refuse_foreign_keys()
    operations.wait_briefly()
    with op.batch_alter_table(TABLE) as jobs:
        jobs.drop_constraint(op.f(NAME), type_="check")

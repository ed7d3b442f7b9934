"""The CHECK before this one, on the rows that were there already. Only tests run it."""

from pathlib import Path

from alembic import op
from alembic.util import load_python_file

operations = load_python_file(Path(__file__).parents[1], "operations.py")

revision = "fine_tuning_store_0005"
down_revision = "fine_tuning_store_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        operations.validate_check("ck_fine_tuning_jobs_seed", "fine_tuning_jobs")


def downgrade() -> None:
    pass

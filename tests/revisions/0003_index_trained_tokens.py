"""An index on a table that may be large, as a revision to come may need one. Only tests run it."""

from pathlib import Path

from alembic import op
from alembic.util import load_python_file

operations = load_python_file(Path(__file__).parents[1], "operations.py")

revision = "fine_tuning_store_0003"
down_revision = "fine_tuning_store_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    operations.create_index("ix_fine_tuning_jobs_trained_tokens", "fine_tuning_jobs", ["trained_tokens", "created_at", "id"])
    op.execute("UPDATE fine_tuning_store_compatibility SET schema_number = 3")


def downgrade() -> None:
    op.execute("UPDATE fine_tuning_store_compatibility SET schema_number = 2")
    operations.drop_index("ix_fine_tuning_jobs_trained_tokens", "fine_tuning_jobs")

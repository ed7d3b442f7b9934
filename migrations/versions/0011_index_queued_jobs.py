"""Index the jobs of a status in the order in which queued ones are claimed."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import load_python_file

revision = "fine_tuning_store_0011"
down_revision = "fine_tuning_store_0010"
branch_labels = None
depends_on = None

# What older tables lack.
added = [("index", "fine_tuning_jobs", "ix_fine_tuning_jobs_queued")]

operations = load_python_file(Path(__file__).parents[1], "operations.py")
COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))


def upgrade() -> None:
    operations.create_index("ix_fine_tuning_jobs_queued", "fine_tuning_jobs", ["status", "available_at", "id"])
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < 11).values(schema_number=11))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=10))
    operations.drop_index("ix_fine_tuning_jobs_queued", "fine_tuning_jobs")

"""Index the jobs by organization in the order of their ends, for lists that are ordered by `finished_at`."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import load_python_file

revision = "fine_tuning_store_0008"
down_revision = "fine_tuning_store_0007"
branch_labels = None
depends_on = None

# What older tables lack.
added = [("index", "fine_tuning_jobs", "ix_fine_tuning_jobs_organization_finished_at")]

operations = load_python_file(Path(__file__).parents[1], "operations.py")
COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))


def upgrade() -> None:
    operations.create_index("ix_fine_tuning_jobs_organization_finished_at", "fine_tuning_jobs", ["organization_id", "finished_at", "id"])
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < 8).values(schema_number=8))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=7))
    operations.drop_index("ix_fine_tuning_jobs_organization_finished_at", "fine_tuning_jobs")

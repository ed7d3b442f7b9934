"""Create the table of charges."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: The type of a job's id. MariaDB requires the same collation on both sides of a foreign key.
JOB_ID = sa.String(255).with_variant(mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "charges",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("job_id", JOB_ID, nullable=False),
        sa.Column("cents", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["fine_tuning_jobs.id"], name="fk_charges_job_id", ondelete="CASCADE"),
    )
    op.create_index("ix_charges_job_id", "charges", ["job_id"])


def downgrade() -> None:
    op.drop_table("charges")

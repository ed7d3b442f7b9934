"""Add to each job when it was queued, started and changed, its attempts, and the seconds that it waited and ran.

`transition_count` numbers the rows of the log of transitions, and `logged_status` is the status after the newest of them. Where it differs
from the status, code of schema 3 or older, which may go on using the tables, has changed the status in between. The totals of seconds are
NULL then, as they are on jobs from before this revision and on imports: a part of them is unknown.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import load_python_file
from sqlalchemy.dialects import mysql

revision = "fine_tuning_store_0004"
down_revision = "fine_tuning_store_0003"
branch_labels = None
depends_on = None

# What older tables lack.
added = [
    ("column", "fine_tuning_jobs", "transition_count"),
    ("column", "fine_tuning_jobs", "attempt"),
    ("column", "fine_tuning_jobs", "logged_status"),
    ("column", "fine_tuning_jobs", "queued_at"),
    ("column", "fine_tuning_jobs", "started_at"),
    ("column", "fine_tuning_jobs", "updated_at"),
    ("column", "fine_tuning_jobs", "queued_seconds"),
    ("column", "fine_tuning_jobs", "running_seconds"),
]

operations = load_python_file(Path(__file__).parents[1], "operations.py")
COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))
STATUS = (
    sa.String(32)
    .with_variant(sa.String(32, collation="C"), "postgresql")
    .with_variant(mysql.VARCHAR(32, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")
)


def upgrade() -> None:
    operations.add_column("fine_tuning_jobs", sa.Column("transition_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    operations.add_column("fine_tuning_jobs", sa.Column("attempt", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    operations.add_column("fine_tuning_jobs", sa.Column("logged_status", STATUS))
    for name in ("queued_at", "started_at", "updated_at", "queued_seconds", "running_seconds"):
        operations.add_column("fine_tuning_jobs", sa.Column(name, sa.BigInteger()))
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < 4).values(schema_number=4))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=3))
    for _, table, name in reversed(added):
        operations.drop_column(table, name)

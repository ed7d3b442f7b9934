"""Add to each job its lease: the worker that runs it, until when, how many leases it lost, and from when on it may be claimed.

`available_at` is 0 on the jobs that are queued now, and on those that code of schema 9 and older queues: they are claimed first. That code,
which may go on using the tables, leaves a lease as it is when it changes a job's status. A lease holds while the status is running and the
attempt is the one that it was made for, so that it ends all the same with the next start; until every process knows leases, a job that
such code has requeued and started again may still have the worker of an earlier attempt.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import load_python_file
from sqlalchemy.dialects import mysql

revision = "fine_tuning_store_0010"
down_revision = "fine_tuning_store_0009"
branch_labels = None
depends_on = None

# What older tables lack.
added = [
    ("column", "fine_tuning_jobs", "worker_id"),
    ("column", "fine_tuning_jobs", "lease_expires_at"),
    ("column", "fine_tuning_jobs", "lost_leases"),
    ("column", "fine_tuning_jobs", "available_at"),
]

operations = load_python_file(Path(__file__).parents[1], "operations.py")
COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))
ID = (
    sa.String(255)
    .with_variant(sa.String(255, collation="C"), "postgresql")
    .with_variant(mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")
)
AVAILABLE_AT = "Unix seconds from which a queued job may be claimed; least first"


def upgrade() -> None:
    for column in (
        sa.Column("worker_id", ID, comment="worker that has a lease on the job"),
        sa.Column("lease_expires_at", sa.BigInteger(), comment="Unix seconds of the database's clock"),
        sa.Column("lost_leases", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="number of leases that expired"),
        sa.Column("available_at", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment=AVAILABLE_AT),
    ):
        operations.add_column("fine_tuning_jobs", column)
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < 10).values(schema_number=10))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=9))
    for _, table, name in reversed(added):
        operations.drop_column(table, name)

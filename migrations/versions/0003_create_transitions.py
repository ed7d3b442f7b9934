"""Create the log of transitions: who changed the status of a job, when and why.

A row is written in the transaction of its transition. Code of schema 2 writes none, and may go on using the tables.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import load_python_file
from sqlalchemy.dialects import mysql

revision = "fine_tuning_store_0003"
down_revision = "fine_tuning_store_0002"
branch_labels = None
depends_on = None

# What older tables lack.
added = [("table", "fine_tuning_job_transitions")]

operations = load_python_file(Path(__file__).parents[1], "operations.py")
COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))


def identifier(length: int) -> sa.String:
    text = sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
    return text.with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")


def upgrade() -> None:
    operations.wait_briefly()
    op.create_table(
        "fine_tuning_job_transitions",
        sa.Column("job_id", identifier(255), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", identifier(255), nullable=False),
        sa.Column("transition", identifier(64), nullable=False),
        sa.Column("from_status", identifier(32), nullable=False),
        sa.Column("to_status", identifier(32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", identifier(255)),
        sa.Column("reason", sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "position", name=op.f("pk_fine_tuning_job_transitions")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["fine_tuning_jobs.id"], name=op.f("fk_fine_tuning_job_transitions_job_id"), ondelete="CASCADE"
        ),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_nopad_bin",
    )
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < 3).values(schema_number=3))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=2))
    operations.wait_briefly()
    op.drop_table("fine_tuning_job_transitions", if_exists=True)

"""Keep what happens to a job, the checkpoints it leaves behind, and who may use them.

A job's row counts its events: who appends locks the row by raising the count, so positions have no gaps and rise in the order of
commits. Code of schema 1 never writes events and may go on using the tables: the count has a default. Every statement may find its
work done already, as in the first migration.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "fine_tuning_store_0002"
down_revision = "fine_tuning_store_0001"
branch_labels = None
depends_on = None

MARIADB_TABLE = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_nopad_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def identifier(length: int) -> sa.String:
    text = sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
    return text.with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")


LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")
JSON = LONG_TEXT.with_variant(postgresql.JSON(), "postgresql")


COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))


def of_a_job(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["job_id"], ["fine_tuning_jobs.id"], name=op.f(f"fk_{table}_job_id"), ondelete="CASCADE")


def upgrade() -> None:
    if op.get_context().dialect.name in ("mysql", "mariadb"):
        op.execute("ALTER TABLE fine_tuning_jobs ADD COLUMN IF NOT EXISTS event_count BIGINT DEFAULT 0 NOT NULL")
    else:
        op.add_column("fine_tuning_jobs", sa.Column("event_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_table(
        "fine_tuning_job_events",
        sa.Column("job_id", identifier(255), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", identifier(255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("level", identifier(64), nullable=False),
        sa.Column("type", identifier(64)),
        sa.Column("message", LONG_TEXT, nullable=False),
        sa.Column("data", JSON),
        sa.Column("extra", JSON),
        sa.PrimaryKeyConstraint("job_id", "position", name=op.f("pk_fine_tuning_job_events")),
        of_a_job("fine_tuning_job_events"),
        if_not_exists=True,
        **MARIADB_TABLE,
    )
    op.create_table(
        "fine_tuning_job_checkpoints",
        sa.Column("job_id", identifier(255), nullable=False),
        sa.Column("id", identifier(255), nullable=False),
        sa.Column("step_number", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("model", identifier(512), nullable=False),
        sa.Column("metrics", JSON),
        sa.Column("extra", JSON),
        sa.PrimaryKeyConstraint("job_id", "id", name=op.f("pk_fine_tuning_job_checkpoints")),
        of_a_job("fine_tuning_job_checkpoints"),
        if_not_exists=True,
        **MARIADB_TABLE,
    )
    op.create_table(
        "fine_tuning_checkpoint_permissions",
        sa.Column("id", identifier(255), nullable=False),
        sa.Column("job_id", identifier(255), nullable=False),
        sa.Column("organization_id", identifier(128), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("project_id", identifier(255), nullable=False),
        sa.Column("model", identifier(512), nullable=False),
        sa.Column("digest", identifier(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fine_tuning_checkpoint_permissions")),
        of_a_job("fine_tuning_checkpoint_permissions"),
        if_not_exists=True,
        **MARIADB_TABLE,
    )
    for name, table, columns in (
        ("uq_fine_tuning_job_events_id", "fine_tuning_job_events", ["job_id", "id"]),
        (
            "uq_fine_tuning_checkpoint_permissions_project",
            "fine_tuning_checkpoint_permissions",
            ["organization_id", "digest", "project_id"],
        ),
        ("ix_fine_tuning_job_checkpoints_step", "fine_tuning_job_checkpoints", ["job_id", "step_number", "id"]),
        ("ix_fine_tuning_job_checkpoints_model", "fine_tuning_job_checkpoints", ["model"]),
        ("ix_fine_tuning_checkpoint_permissions_model", "fine_tuning_checkpoint_permissions", ["digest", "created_at", "id"]),
        ("ix_fine_tuning_checkpoint_permissions_job", "fine_tuning_checkpoint_permissions", ["job_id"]),
    ):
        length = {"model": 255} if columns == ["model"] else {}
        unique = name.startswith("uq_")
        op.create_index(op.f(name), table, columns, unique=unique, if_not_exists=True, mysql_length=length, mariadb_length=length)
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < 2).values(schema_number=2))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=1))
    op.drop_table("fine_tuning_checkpoint_permissions", if_exists=True)
    op.drop_table("fine_tuning_job_checkpoints", if_exists=True)
    op.drop_table("fine_tuning_job_events", if_exists=True)
    if op.get_context().dialect.name in ("mysql", "mariadb"):
        op.execute("ALTER TABLE fine_tuning_jobs DROP COLUMN IF EXISTS event_count")
    else:
        op.drop_column("fine_tuning_jobs", "event_count")

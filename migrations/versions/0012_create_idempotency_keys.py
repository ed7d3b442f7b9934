"""Create the table of idempotency keys: which job the first create request with a key made, so that a repeated one makes no other."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import load_python_file
from sqlalchemy.dialects import mysql

revision = "fine_tuning_store_0012"
down_revision = "fine_tuning_store_0011"
branch_labels = None
depends_on = None

# What older tables lack.
added = [("table", "fine_tuning_idempotency_keys")]

operations = load_python_file(Path(__file__).parents[1], "operations.py")
COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))


def identifier(length: int) -> sa.String:
    text = sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
    return text.with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")


def upgrade() -> None:
    operations.wait_briefly()
    op.create_table(
        "fine_tuning_idempotency_keys",
        sa.Column("organization_id", identifier(128), nullable=False),
        sa.Column("key", identifier(255), nullable=False, comment="of the client's request"),
        sa.Column("fingerprint", identifier(64), nullable=False, comment="SHA-256 of what the request asked for"),
        sa.Column("job_id", identifier(255), nullable=False, comment="job that was created, even if it was deleted since"),
        sa.Column("expires_at", sa.BigInteger(), nullable=False, comment="Unix seconds"),
        sa.PrimaryKeyConstraint("organization_id", "key", name=op.f("pk_fine_tuning_idempotency_keys")),
        comment="Keys of create requests, so that a repeated one makes no second job.",
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_nopad_bin",
    )
    op.create_index(
        "ix_fine_tuning_idempotency_keys_expires_at", "fine_tuning_idempotency_keys", ["expires_at"], unique=False, if_not_exists=True
    )
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < 12).values(schema_number=12))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=11))
    operations.wait_briefly()
    op.drop_table("fine_tuning_idempotency_keys", if_exists=True)

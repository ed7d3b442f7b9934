"""Keep the status of an imported job in the word of the server that it came from, such as `resuming`.

The column holds the status that the word was read as, a colon, and the word: `queued:resuming`. The word is written back while the job has
that status. Transitions set the column to NULL, but code of schema 8 and older, which may go on using the tables, does not know it: what
it leaves behind no longer agrees with the status.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import load_python_file
from sqlalchemy.dialects import mysql

revision = "fine_tuning_store_0009"
down_revision = "fine_tuning_store_0008"
branch_labels = None
depends_on = None

# What older tables lack.
added = [("column", "fine_tuning_jobs", "wire_status")]

operations = load_python_file(Path(__file__).parents[1], "operations.py")
COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))
WIRE_STATUS = (
    sa.String(128)
    .with_variant(sa.String(128, collation="C"), "postgresql")
    .with_variant(mysql.VARCHAR(128, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")
)
COMMENT = "status, colon, word of the server that an imported job came from; NULL after a transition"


def upgrade() -> None:
    operations.add_column("fine_tuning_jobs", sa.Column("wire_status", WIRE_STATUS, comment=COMMENT))
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < 9).values(schema_number=9))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=8))
    operations.drop_column("fine_tuning_jobs", "wire_status")

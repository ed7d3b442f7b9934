"""${(message or "a revision")[:1].upper() + (message or "a revision")[1:]}.

Say here why, for whom, and what a reader of this file in five years has to know. Once it has landed, a revision is never edited. It is
reversible, literal, and imports nothing of the package; it changes tables that may hold jobs by migrations/operations.py.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import load_python_file
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

# What older tables lack.
added = ${repr([tuple(part for part in thing if part is not None) for thing in added])}

operations = load_python_file(Path(__file__).parents[1], "operations.py")
COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < ${number}).values(schema_number=${number}))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=${number - 1}))
    ${downgrades if downgrades else "pass"}

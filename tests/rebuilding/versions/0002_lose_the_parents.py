"""A revision with a mistake: it takes jobs away and leaves what belongs to them. Only tests run it."""

from alembic import op

revision = "rebuilding_0002"
down_revision = "rebuilding_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM fine_tuning_jobs")


def downgrade() -> None:
    pass

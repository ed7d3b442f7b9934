"""Create the view `fine_tuning_job_overview` for people who write SQL: UTC timestamps, durations, and what other tables say about a job.

On SQLite a revision rebuilds a table by `operations.rebuild_table`, since a plain rebuild fails while a view refers to the table.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import load_python_file

revision = "fine_tuning_store_0005"
down_revision = "fine_tuning_store_0004"
branch_labels = None
depends_on = None

# What older tables lack.
added: list[tuple[str, ...]] = []

operations = load_python_file(Path(__file__).parents[1], "operations.py")
COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))

# A view of MariaDB has its creator's privileges by default.
CREATE = {"sqlite": "CREATE VIEW IF NOT EXISTS", "postgresql": "CREATE OR REPLACE VIEW"}
CREATE_ON_MARIADB = "CREATE OR REPLACE SQL SECURITY INVOKER VIEW"
# Not FROM_UNIXTIME, which uses the time zone of the session and ends in 2038.
TIMESTAMP = {
    "sqlite": "datetime({0}, 'unixepoch')",
    "postgresql": "CASE WHEN {0} BETWEEN -62135596800 AND 253402300799 THEN to_timestamp({0}) AT TIME ZONE 'UTC' END",
}
TIMESTAMP_ON_MARIADB = "TIMESTAMPADD(SECOND, {0}, TIMESTAMP '1970-01-01 00:00:00')"

VIEW = """
{create} fine_tuning_job_overview AS
SELECT
    jobs.id,
    jobs.organization_id,
    jobs.status,
    jobs.model,
    jobs.fine_tuned_model,
    jobs.method_type,
    jobs.suffix,
    {created_at} AS created_at,
    {queued_at} AS queued_at,
    {started_at} AS started_at,
    {finished_at} AS finished_at,
    {updated_at} AS updated_at,
    jobs.attempt,
    jobs.queued_seconds,
    jobs.running_seconds,
    jobs.finished_at - jobs.created_at AS total_seconds,
    jobs.trained_tokens,
    jobs.training_file,
    jobs.validation_file,
    (SELECT COUNT(*) FROM fine_tuning_job_result_files AS files WHERE files.job_id = jobs.id) AS result_files,
    errors.code AS error_code,
    errors.message AS error_message,
    NULLIF(hyperparameters.n_epochs, -1) AS n_epochs,
    NULLIF(hyperparameters.batch_size, -1) AS batch_size,
    NULLIF(hyperparameters.learning_rate_multiplier, -1) AS learning_rate_multiplier,
    NULLIF(hyperparameters.beta, -1) AS beta,
    NULLIF(hyperparameters.compute_multiplier, -1) AS compute_multiplier,
    NULLIF(hyperparameters.eval_interval, -1) AS eval_interval,
    NULLIF(hyperparameters.eval_samples, -1) AS eval_samples,
    hyperparameters.reasoning_effort
FROM fine_tuning_jobs AS jobs
LEFT JOIN fine_tuning_job_errors AS errors ON errors.job_id = jobs.id
LEFT JOIN fine_tuning_job_hyperparameters AS hyperparameters ON hyperparameters.job_id = jobs.id
"""


def upgrade() -> None:
    dialect = op.get_context().dialect.name
    timestamp = TIMESTAMP.get(dialect, TIMESTAMP_ON_MARIADB)
    times = {name: timestamp.format(f"jobs.{name}") for name in ("created_at", "queued_at", "started_at", "finished_at", "updated_at")}
    operations.wait_briefly()
    op.execute(VIEW.format(create=CREATE.get(dialect, CREATE_ON_MARIADB), **times))
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < 5).values(schema_number=5))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=4))
    operations.wait_briefly()
    op.execute("DROP VIEW IF EXISTS fine_tuning_job_overview")

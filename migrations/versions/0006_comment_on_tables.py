"""Comment on the tables and columns, for people who look at them in a PostgreSQL client.

MariaDB sets the comment of a column only together with its whole definition, so it gets none.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import load_python_file

revision = "fine_tuning_store_0006"
down_revision = "fine_tuning_store_0005"
branch_labels = None
depends_on = None

# What older tables lack.
added: list[tuple[str, ...]] = []

operations = load_python_file(Path(__file__).parents[1], "operations.py")
COMPATIBILITY = sa.Table("fine_tuning_store_compatibility", sa.MetaData(), sa.Column("schema_number", sa.SmallInteger()))

COMMENTS = (
    ("TABLE fine_tuning_jobs", "Fine-tuning jobs. Times are Unix seconds; the view fine_tuning_job_overview shows timestamps."),
    ("COLUMN fine_tuning_jobs.created_at", "Unix seconds"),
    ("COLUMN fine_tuning_jobs.finished_at", "Unix seconds; NULL while the job is open, and on some imported jobs"),
    ("COLUMN fine_tuning_jobs.model", "base model"),
    ("COLUMN fine_tuning_jobs.fine_tuned_model", "resulting model"),
    ("COLUMN fine_tuning_jobs.training_file", "file id"),
    ("COLUMN fine_tuning_jobs.validation_file", "file id"),
    ("COLUMN fine_tuning_jobs.trained_tokens", "number of tokens trained"),
    ("COLUMN fine_tuning_jobs.suffix", "user_provided_suffix of the API"),
    ("COLUMN fine_tuning_jobs.estimated_finish", "Unix seconds"),
    ("COLUMN fine_tuning_jobs.method_type", "supervised, dpo or reinforcement; NULL on jobs from before methods existed"),
    ("COLUMN fine_tuning_jobs.extra", "members of the API without a column"),
    ("COLUMN fine_tuning_jobs.event_count", "number of events, and position of the newest"),
    ("COLUMN fine_tuning_jobs.transition_count", "number of logged transitions, and position of the newest"),
    ("COLUMN fine_tuning_jobs.logged_status", "status as last written by code that logs transitions"),
    ("COLUMN fine_tuning_jobs.attempt", "number of starts"),
    ("COLUMN fine_tuning_jobs.queued_at", "Unix seconds of the last enqueue, resume or requeue"),
    ("COLUMN fine_tuning_jobs.started_at", "Unix seconds of the last start"),
    ("COLUMN fine_tuning_jobs.updated_at", "Unix seconds of the last transition or update"),
    ("COLUMN fine_tuning_jobs.queued_seconds", "total over all attempts; NULL if a part is unknown"),
    ("COLUMN fine_tuning_jobs.running_seconds", "total over all attempts, without pauses; NULL if a part is unknown"),
    ("TABLE fine_tuning_store_compatibility", "Number of the schema, and the oldest code number that may use it."),
    ("TABLE fine_tuning_checkpoint_permissions", "Projects that may use a model."),
    ("COLUMN fine_tuning_checkpoint_permissions.created_at", "Unix seconds"),
    ("COLUMN fine_tuning_checkpoint_permissions.digest", "SHA-256 of the model, for indexes"),
    ("TABLE fine_tuning_job_checkpoints", "Checkpoints of jobs."),
    ("COLUMN fine_tuning_job_checkpoints.created_at", "Unix seconds"),
    ("COLUMN fine_tuning_job_checkpoints.model", "fine_tuned_model_checkpoint of the API"),
    ("TABLE fine_tuning_job_errors", "Errors of failed jobs: at most one row a job."),
    ("TABLE fine_tuning_job_events", "Events of jobs, for the user of a job."),
    ("COLUMN fine_tuning_job_events.position", "counts from 1 in the order of commits"),
    ("COLUMN fine_tuning_job_events.created_at", "Unix seconds"),
    ("TABLE fine_tuning_job_hyperparameters", "Hyperparameters of jobs: one row a job. -1 is auto, NULL is absent."),
    ("TABLE fine_tuning_job_metadata", "Metadata pairs of jobs. Organization and creation time are those of the job."),
    ("COLUMN fine_tuning_job_metadata.digest", "64 bits that stand for the pair in indexes"),
    ("TABLE fine_tuning_job_result_files", "Result files of jobs, in the order of their positions."),
    ("COLUMN fine_tuning_job_result_files.position", "counts from 0"),
    ("TABLE fine_tuning_job_transitions", "Log of status changes. The creation has no row."),
    ("COLUMN fine_tuning_job_transitions.position", "counts from 1"),
    ("COLUMN fine_tuning_job_transitions.transition", "name of the method: enqueue, start, ..."),
    ("COLUMN fine_tuning_job_transitions.at", "Unix seconds"),
    ("COLUMN fine_tuning_job_transitions.actor", "who or what changed the status"),
    ("COLUMN fine_tuning_job_transitions.attempt", "number of starts so far"),
)


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        operations.wait_briefly()
        for thing, comment in COMMENTS:
            op.execute(f"COMMENT ON {thing} IS '{comment}'")
    op.execute(COMPATIBILITY.update().where(COMPATIBILITY.c.schema_number < 6).values(schema_number=6))


def downgrade() -> None:
    op.execute(COMPATIBILITY.update().values(schema_number=5))
    if op.get_context().dialect.name == "postgresql":
        operations.wait_briefly()
        for thing, _ in COMMENTS:
            op.execute(f"COMMENT ON {thing} IS NULL")

"""Create the tables of fine-tuning jobs: the jobs, their errors, hyperparameters, result files and metadata.

`fine_tuning_store_compatibility` comes first: it marks the tables as ours, so that a run that was cut off (MariaDB commits each
statement by itself) is told apart from another application's tables and is finished by the next run. Every statement may for that
reason find its work done already.

Ids, names and words compare byte by byte on every database. MariaDB limits an index to 3072 bytes, 4 a character; of long names it
indexes the first 255 characters, which leaves room for the job's id behind them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "fine_tuning_store_0001"
down_revision = None
branch_labels = ("fine_tuning_store",)
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


JOB_TABLES = {"fine_tuning_jobs", *(f"fine_tuning_job_{name}" for name in ("errors", "hyperparameters", "result_files", "metadata"))}


def refuse_foreign_tables() -> None:
    """Another application's tables of these names must be neither adopted now nor dropped by the downgrade. SQL for a DBA cannot look."""
    if op.get_context().as_sql:
        return
    connection = op.get_bind()
    schema = (connection.get_execution_options().get("schema_translate_map") or {}).get(None)
    present = set(sa.inspect(connection).get_table_names(schema))
    if "fine_tuning_store_compatibility" not in present and present & JOB_TABLES:
        names = ", ".join(sorted(present & JOB_TABLES))
        raise RuntimeError(f"the database already has tables of another application under these names: {names}; nothing was changed")


def child_of_a_job(table: str) -> tuple[sa.Column[str], sa.ForeignKeyConstraint]:
    return (
        sa.Column("job_id", identifier(255), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["fine_tuning_jobs.id"], name=op.f(f"fk_{table}_job_id"), ondelete="CASCADE"),
    )


def listing_index(name: str, table: str, columns: list[str]) -> None:
    """An index that answers a page newest first without a sort."""
    length = {column: 255 for column in columns if column in ("model", "fine_tuned_model", "training_file")}
    op.create_index(op.f(name), table, columns, if_not_exists=True, mysql_length=length, mariadb_length=length)


def upgrade() -> None:
    refuse_foreign_tables()
    compatibility = op.create_table(
        "fine_tuning_store_compatibility",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("schema_number", sa.SmallInteger(), nullable=False),
        sa.Column("oldest_code_number", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fine_tuning_store_compatibility")),
        sa.CheckConstraint("id = 1", name=op.f("ck_fine_tuning_store_compatibility_one_row")),
        if_not_exists=True,
        **MARIADB_TABLE,
    )
    op.create_table(
        "fine_tuning_jobs",
        sa.Column("id", identifier(255), nullable=False),
        sa.Column("organization_id", identifier(128), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("status", identifier(32), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("model", identifier(512), nullable=False),
        sa.Column("fine_tuned_model", identifier(512)),
        sa.Column("training_file", identifier(512), nullable=False),
        sa.Column("validation_file", identifier(512)),
        sa.Column("trained_tokens", sa.BigInteger()),
        sa.Column("seed", sa.BigInteger()),
        sa.Column("suffix", identifier(512)),
        sa.Column("estimated_finish", sa.BigInteger()),
        sa.Column("shared_with_openai", sa.Boolean()),
        sa.Column("eval_id", identifier(255)),
        sa.Column("method_type", identifier(64)),
        sa.Column("method_grader", JSON),
        sa.Column("method_response_format", JSON),
        sa.Column("method_extra", JSON),
        sa.Column("integrations", JSON),
        sa.Column("usage_metrics", JSON),
        sa.Column("extra", JSON),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fine_tuning_jobs")),
        sa.CheckConstraint(
            "status IN ('validating_files', 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_fine_tuning_jobs_status"),
        ),
        sa.CheckConstraint(
            "finished_at IS NULL OR status IN ('succeeded', 'failed', 'cancelled')",
            name=op.f("ck_fine_tuning_jobs_finished_at"),
        ),
        if_not_exists=True,
        **MARIADB_TABLE,
    )
    op.create_table(
        "fine_tuning_job_errors",
        *child_of_a_job("fine_tuning_job_errors"),
        sa.Column("code", LONG_TEXT),
        sa.Column("message", LONG_TEXT),
        sa.Column("param", LONG_TEXT),
        sa.Column("extra", JSON),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_fine_tuning_job_errors")),
        if_not_exists=True,
        **MARIADB_TABLE,
    )
    op.create_table(
        "fine_tuning_job_hyperparameters",
        *child_of_a_job("fine_tuning_job_hyperparameters"),
        sa.Column("n_epochs", sa.BigInteger()),
        sa.Column("batch_size", sa.BigInteger()),
        sa.Column("learning_rate_multiplier", sa.Double()),
        sa.Column("beta", sa.Double()),
        sa.Column("compute_multiplier", sa.Double()),
        sa.Column("eval_interval", sa.BigInteger()),
        sa.Column("eval_samples", sa.BigInteger()),
        sa.Column("reasoning_effort", identifier(64)),
        sa.Column("extra", JSON),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_fine_tuning_job_hyperparameters")),
        sa.CheckConstraint("n_epochs = -1 OR n_epochs > 0", name=op.f("ck_fine_tuning_job_hyperparameters_n_epochs")),
        sa.CheckConstraint("batch_size = -1 OR batch_size > 0", name=op.f("ck_fine_tuning_job_hyperparameters_batch_size")),
        sa.CheckConstraint(
            "learning_rate_multiplier = -1 OR learning_rate_multiplier > 0",
            name=op.f("ck_fine_tuning_job_hyperparameters_learning_rate_multiplier"),
        ),
        sa.CheckConstraint("beta = -1 OR beta > 0", name=op.f("ck_fine_tuning_job_hyperparameters_beta")),
        sa.CheckConstraint(
            "compute_multiplier = -1 OR compute_multiplier > 0", name=op.f("ck_fine_tuning_job_hyperparameters_compute_multiplier")
        ),
        sa.CheckConstraint("eval_interval = -1 OR eval_interval > 0", name=op.f("ck_fine_tuning_job_hyperparameters_eval_interval")),
        sa.CheckConstraint("eval_samples = -1 OR eval_samples > 0", name=op.f("ck_fine_tuning_job_hyperparameters_eval_samples")),
        if_not_exists=True,
        **MARIADB_TABLE,
    )
    op.create_table(
        "fine_tuning_job_result_files",
        *child_of_a_job("fine_tuning_job_result_files"),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("file_id", identifier(512), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "position", name=op.f("pk_fine_tuning_job_result_files")),
        if_not_exists=True,
        **MARIADB_TABLE,
    )
    op.create_table(
        "fine_tuning_job_metadata",
        *child_of_a_job("fine_tuning_job_metadata"),
        sa.Column("key", identifier(64), nullable=False),
        sa.Column("value", identifier(512), nullable=False),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.Column("organization_id", identifier(128), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "key", name=op.f("pk_fine_tuning_job_metadata")),
        if_not_exists=True,
        **MARIADB_TABLE,
    )
    for name, columns in (
        ("created_at", ["created_at", "id"]),
        ("status", ["status", "created_at", "id"]),
        ("model", ["model", "created_at", "id"]),
        ("method_type", ["method_type", "created_at", "id"]),
        ("fine_tuned_model", ["fine_tuned_model", "created_at", "id"]),
        ("training_file", ["training_file", "created_at", "id"]),
        ("organization", ["organization_id", "created_at", "id"]),
        ("organization_status", ["organization_id", "status", "created_at", "id"]),
        ("organization_model", ["organization_id", "model", "created_at", "id"]),
        ("organization_method_type", ["organization_id", "method_type", "created_at", "id"]),
    ):
        listing_index(f"ix_fine_tuning_jobs_{name}", "fine_tuning_jobs", columns)
    for name, columns in (
        ("pair", ["digest", "created_at", "job_id"]),
        ("organization_pair", ["organization_id", "digest", "created_at", "job_id"]),
    ):
        listing_index(f"ix_fine_tuning_job_metadata_{name}", "fine_tuning_job_metadata", columns)
    one = sa.literal_column("1", sa.SmallInteger())
    first = sa.select(one, one, one).where(~sa.exists(sa.select(compatibility.c.id)))  # a later revision's row stays as it is
    op.execute(compatibility.insert().from_select(["id", "schema_number", "oldest_code_number"], first))


def downgrade() -> None:
    for table in ("metadata", "result_files", "hyperparameters", "errors"):
        op.drop_table(f"fine_tuning_job_{table}", if_exists=True)
    op.drop_table("fine_tuning_jobs", if_exists=True)
    op.drop_table("fine_tuning_store_compatibility", if_exists=True)

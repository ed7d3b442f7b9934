"""Constraints of the tables, which restrict every program that writes to them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import FineTuningStore
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.sql.models import job_result_files
from tests.support.factories import stored
from tests.support.tables import each

WRONG = [
    "UPDATE fine_tuning_jobs SET status = 'unknown'",
    "UPDATE fine_tuning_jobs SET status = 'QUEUED'",
    "UPDATE fine_tuning_jobs SET status = 'queued '",
    "UPDATE fine_tuning_jobs SET status = NULL",
    "UPDATE fine_tuning_jobs SET finished_at = 5",
    "UPDATE fine_tuning_jobs SET organization_id = NULL",
    "UPDATE fine_tuning_jobs SET model = NULL",
    "UPDATE fine_tuning_jobs SET training_file = NULL",
    "UPDATE fine_tuning_jobs SET created_at = NULL",
    "UPDATE fine_tuning_job_hyperparameters SET n_epochs = 0",
    "UPDATE fine_tuning_job_hyperparameters SET batch_size = -2",
    "UPDATE fine_tuning_job_hyperparameters SET learning_rate_multiplier = 0",
    "UPDATE fine_tuning_job_hyperparameters SET beta = -0.5",
    "UPDATE fine_tuning_job_hyperparameters SET compute_multiplier = 0.0",
    "UPDATE fine_tuning_job_hyperparameters SET eval_interval = 0",
    "UPDATE fine_tuning_job_hyperparameters SET eval_samples = 0",
    "INSERT INTO fine_tuning_job_result_files (job_id, position, file_id) VALUES ('ftjob-none', 0, 'file-1')",
    "INSERT INTO fine_tuning_job_errors (job_id, code) VALUES ('ftjob-none', 'c')",
    "INSERT INTO fine_tuning_job_hyperparameters (job_id) VALUES ('ftjob-none')",
    "INSERT INTO fine_tuning_store_compatibility (id, schema_number, oldest_code_number) VALUES (2, 1, 1)",
]


@each("statement", WRONG)
def test_a_wrong_row_is_refused_by_the_database(store: FineTuningStore, statement: str) -> None:
    job = stored(store, status="running")

    with pytest.raises(DBAPIError), store.engine.begin() as connection:
        connection.execute(text(statement))

    assert store.jobs.get(job.id) == job


@each("status", list(JobStatus))
def test_every_status_of_the_domain_is_accepted_by_the_database(store: FineTuningStore, status: JobStatus) -> None:
    job = stored(store)

    with store.engine.begin() as connection:
        connection.execute(text("UPDATE fine_tuning_jobs SET status = :status"), {"status": status.value})

    assert store.jobs.get(job.id).status is status


@pytest.mark.parametrize("positions", [range(1500), (1, 3, 2)], ids=["more than the store accepts", "gaps"])
def test_result_files_of_other_programs_are_read_in_their_order(store: FineTuningStore, positions: Sequence[int]) -> None:
    job = stored(store)
    rows = [{"job_id": job.id, "position": position, "file_id": f"file-{position}"} for position in positions]

    with store.engine.begin() as connection:
        connection.execute(insert(job_result_files), rows)

    assert store.jobs.get(job.id).result_files == tuple(f"file-{position}" for position in sorted(positions))


def test_child_rows_are_deleted_with_their_job_even_by_another_program(store: FineTuningStore) -> None:
    stored(store, metadata={"a": "b"}, result_files=("file-1",))

    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM fine_tuning_jobs"))
        for table in ("metadata", "result_files", "hyperparameters"):
            assert connection.scalar(text(f"SELECT count(*) FROM fine_tuning_job_{table}")) == 0

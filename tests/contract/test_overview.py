"""The view of the jobs for people who write SQL."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from fine_tuning_store import FineTuningStore, Hyperparameters, JobError
from tests.support.factories import created, stored


def overview(store: FineTuningStore, id: str) -> dict[str, Any]:
    with store.engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM fine_tuning_job_overview WHERE id = :id"), {"id": id}).mappings().one()
    return {name: str(value) if name.endswith("_at") and value is not None else value for name, value in row.items()}


def test_a_job_is_one_row_with_timestamps_durations_and_what_other_tables_say(store: FineTuningStore) -> None:
    job = stored(
        store,
        status="failed",
        created_at=1_700_000_000,
        queued_at=1_700_000_010,
        started_at=4_102_444_800,
        finished_at=4_102_444_801,
        attempt=2,
        queued_seconds=5,
        running_seconds=1,
        hyperparameters=Hyperparameters(n_epochs="auto", batch_size=8, learning_rate_multiplier=0.5, reasoning_effort="high"),
        error=JobError(code="invalid_file", message="It broke."),
        result_files=("file-1", "file-2"),
    )

    row = overview(store, job.id)

    assert (row["created_at"], row["queued_at"]) == ("2023-11-14 22:13:20", "2023-11-14 22:13:30")
    assert (row["started_at"], row["finished_at"], row["updated_at"]) == ("2100-01-01 00:00:00", "2100-01-01 00:00:01", None)
    assert (row["attempt"], row["queued_seconds"], row["running_seconds"], row["total_seconds"]) == (2, 5, 1, 2_402_444_801)
    assert (row["n_epochs"], row["batch_size"], row["learning_rate_multiplier"], row["beta"]) == (None, 8, 0.5, None)
    assert (row["reasoning_effort"], row["error_code"], row["error_message"]) == ("high", "invalid_file", "It broke.")
    assert row["result_files"] == 2


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_timestamps_do_not_depend_on_the_time_zone_of_the_session(store: FineTuningStore, zone: str) -> None:
    job = stored(store, created_at=1_700_000_000)
    offset = {"America/New_York": "-05:00", "Asia/Kolkata": "+05:30"}[zone]
    set_zone = {"postgresql": f"SET TIME ZONE '{zone}'", "mariadb": f"SET time_zone = '{offset}'", "sqlite": "SELECT 1"}
    with store.engine.connect() as connection:
        connection.execute(text(set_zone[connection.dialect.name.replace("mysql", "mariadb")]))
        shown = connection.scalar(text("SELECT created_at FROM fine_tuning_job_overview WHERE id = :id"), {"id": job.id})
        connection.invalidate()

    assert str(shown) == "2023-11-14 22:13:20"


def test_a_time_that_no_timestamp_can_hold_is_null(store: FineTuningStore) -> None:
    for seconds in (-(2**63), 2**63 - 1):
        assert overview(store, stored(store, created_at=seconds).id)["created_at"] is None
    assert overview(store, created(store).id)["created_at"] is not None

"""Databases of every merged revision, with jobs in them, are upgraded to head and downgraded again."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from fine_tuning_store import FineTuningJob, FineTuningStore, SchemaVersionError, job_from_wire
from tests.support.databases import Database

FIXTURES = Path(__file__).parents[1] / "fixtures"
GOLDEN = sorted({path.name[:4] for path in (FIXTURES / "golden").glob("*.sql")})


def expected() -> list[FineTuningJob]:
    """Return the jobs of a golden database: one for each fixture. Their code did not keep the statuses of other servers."""
    jobs = []
    for path in (FIXTURES / "jobs").glob("*.json"):
        payload = json.loads(path.read_text())["payload"]
        job = job_from_wire(payload, payload.get("organization_id") or "org-golden")
        jobs.append(replace(job, id=path.stem, wire_status=None))
    return sorted(jobs, key=lambda job: job.id)


def load(url: str, dump: Path) -> None:
    engine = create_engine(url, isolation_level=None if url.startswith("sqlite") else "AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in re.split(r";\n", dump.read_text()):
            if statement.strip():
                connection.exec_driver_sql(statement.replace("%", "%%") if engine.dialect.name != "sqlite" else statement)
        if engine.dialect.name == "sqlite":
            connection.commit()
    engine.dispose()


@pytest.mark.parametrize("revision", GOLDEN)
def test_a_golden_database_is_upgraded_and_downgraded_with_its_jobs(database: Database, revision: str) -> None:
    jobs = expected()
    with database.empty() as url:
        load(url, FIXTURES / "golden" / f"{revision}_{database.name}.sql")
        with FineTuningStore.from_url(url) as store:
            assert store.schema.current() == f"fine_tuning_store_{revision}"
            with pytest.raises(SchemaVersionError):
                store.jobs.list()

            store.schema.upgrade()

            assert store.schema.check() == ()
            assert sorted(store.jobs.iterate(), key=lambda job: job.id) == jobs
            for job in jobs:
                assert store.transitions.list(job.id).data == ()
                assert store.events.append(job.id, "carried over").position == (1 if revision == "0001" else 2)

            store.schema.downgrade(f"fine_tuning_store_{revision}", allow_data_loss=True)
            with store.engine.connect() as connection:
                assert connection.scalar(text("SELECT count(*) FROM fine_tuning_jobs")) == len(jobs)
            store.schema.upgrade()

            assert store.schema.check() == ()
            assert sorted(store.jobs.iterate(), key=lambda job: job.id) == jobs

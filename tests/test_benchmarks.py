"""What the benchmarks measure is right: synthetic jobs are jobs, the bare driver does what the store does, and every command runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from benchmarks import indexes, overhead
from benchmarks.__main__ import main
from benchmarks.bare import open_bare
from benchmarks.growth import Side
from benchmarks.jobs import fill, job_id
from benchmarks.lists import lists, sample_job
from benchmarks.measure import bare_calls, calls
from benchmarks.populate import populate
from benchmarks.sizes import sizes
from benchmarks.synthetic import batches
from fine_tuning_store import FineTuningJob, FineTuningStore, JobStatus, JobTransition
from fine_tuning_store.domain.job_validation import validate_for_storage
from fine_tuning_store.models import JobHyperparametersRow, JobMetadataRow, JobRow, JobTransitionRow


def test_synthetic_jobs_are_read_as_they_would_be_stored(altered_url: str) -> None:
    counts = populate(altered_url, 200)
    with FineTuningStore.from_url(altered_url) as store:
        assert store.schema.check() == ()
        jobs = list(store.jobs.iterate())
        assert len(jobs) == counts["fine_tuning_jobs"] == 200
        assert sum(job.error is not None for job in jobs) == counts["fine_tuning_job_errors"]
        assert sum(len(job.metadata or {}) for job in jobs) == counts["fine_tuning_job_metadata"]
        for job in jobs:
            assert validate_for_storage(job) == job
        logs = {job.id: store.transitions.list(job.id).data for job in jobs}
        for job in jobs:
            if logs[job.id]:
                assert_totals(job, logs[job.id])
        assert sum(map(len, logs.values())) == counts["fine_tuning_job_transitions"] > 40
        running = next(job for job in jobs if job.status in (JobStatus.QUEUED, JobStatus.RUNNING))
        assert store.jobs.cancel(running.id).queued_seconds is not None, "logged_status differs from the status"
        assert any(size.bytes > 0 for size in sizes(altered_url))
    with pytest.raises(SystemExit, match="holds jobs already"):
        populate(altered_url, 1)


def assert_totals(job: FineTuningJob, log: tuple[JobTransition, ...]) -> None:
    """The columns of a job follow from its log."""
    seconds = {JobStatus.QUEUED: 0, JobStatus.RUNNING: 0}
    status, since = JobStatus.VALIDATING_FILES, job.created_at
    for position, entry in enumerate(log, 1):
        assert (entry.position, entry.from_status) == (position, status)
        if status in seconds:
            seconds[status] += entry.at - since
        status, since = entry.to_status, entry.at
    last = {entry.to_status: entry.at for entry in log}
    assert (status, since) == (job.status, job.updated_at)
    assert list(seconds.values()) == [job.queued_seconds, job.running_seconds]
    assert (last.get(JobStatus.QUEUED), last.get(JobStatus.RUNNING)) == (job.queued_at, job.started_at)
    assert job.finished_at == (since if status.is_ended else None)
    assert job.attempt == log[-1].attempt == sum(entry.transition == "start" for entry in log)


def test_a_seed_determines_the_rows() -> None:
    assert list(batches(50, 7)) == list(batches(50, 7)) != list(batches(50, 8))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_the_bare_driver_writes_the_rows_of_the_store(url: str) -> None:
    with FineTuningStore.from_url(url) as store, open_bare(url) as bare:
        waiting = fill(store, 1, transitions=2)
        rows = []
        for side in (calls(store, 1, waiting), bare_calls(bare, 1, waiting)):
            created: Any = side["create"]()
            changed = waiting[-1]
            side["transition"]()
            rows.append([rows_of(store, id) for id in (getattr(created, "id", created), changed)])
        assert rows[0] == rows[1]
        assert bare.get(job_id(0))["attempt"] == 0


def rows_of(store: FineTuningStore, id: str) -> list[dict[str, Any]]:
    """The rows of a job, without what differs from job to job."""
    found = []
    with store.engine.connect() as connection:
        for kind in (JobRow, JobHyperparametersRow, JobMetadataRow, JobTransitionRow):
            table = kind.__table__
            key = table.c.id if kind is JobRow else table.c.job_id
            found += [dict(row) for row in connection.execute(select(table).where(key == id)).mappings()]
    for row in found:
        for name in ("id", "job_id", "organization_id", "training_file", "validation_file", "value", "digest"):
            row.pop(name, None)
        for name in ("seed", "created_at", "queued_at", "updated_at", "available_at", "at"):
            if row.get(name) is not None:
                row[name] = "set"
    return sorted(found, key=str)


def test_growth_and_statistics_print_a_line_for_each_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    urls = [f"sqlite:///{tmp_path}/{jobs}.db" for jobs in (150, 300)]
    for url, jobs in zip(urls, (150, 300), strict=True):
        populate(url, jobs, analyze=False)
    main(["growth", "--database", "sqlite", "--url10k", urls[0], "--url1m", urls[1], "--seconds", "0", "--only", "pair"])
    lines = capsys.readouterr().out.splitlines()
    assert any(re.match(r"\| organization, common pair \| created_at desc \| later \| \d+ \|", line) for line in lines), lines
    main(["statistics", "--url", urls[1], "--seconds", "0", "--only", "count"])
    assert "| counts by model and day, a month |" in capsys.readouterr().out
    with FineTuningStore.from_url(urls[1]) as store:
        side = Side(store, 300, sample_job(store))
        assert all(len(side.page(case, 5)) <= 5 for case in lists())
    main(["indexes", "--url", urls[1], "--seconds", "0"])
    measured = re.findall(r"^\| `ix_fine_tuning_(\w+)` \|", capsys.readouterr().out, re.MULTILINE)
    assert measured == sorted(indexes.PAGES)
    with FineTuningStore.from_url(urls[1]) as store:
        assert store.schema.check() == ()


def test_overhead_prints_a_line_for_each_operation(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "WARM_UP", 1)
    main(["overhead", "--database", "sqlite", "--jobs", "20", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11].rstrip() for line in lines[2:]] == ["get", "create", "transition", "claim", "list of 100"]


def test_claims_print_a_line_for_each_queue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["claims", "--url", f"sqlite:///{tmp_path}/claims.db", "--workers", "1", "--seconds", "0.05", "--queue", "30", "60"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 30", "| 60"]


def test_the_page_about_performance_names_every_index() -> None:
    page = (Path(__file__).parents[1] / "docs" / "performance.md").read_text()
    names = {str(index.name).removeprefix("ix_fine_tuning_") for table in JobRow.metadata.tables.values() for index in table.indexes}

    assert {name for name in names if name not in page} == set()

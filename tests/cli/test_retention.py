"""The command that deletes old jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fine_tuning_store import FineTuningStore
from fine_tuning_store.transfer import import_jobs
from tests.cli.helpers import json_of, printed, refusal, url_of
from tests.support.factories import stored

OLD: dict[str, Any] = {"status": "succeeded", "created_at": 1_600_000_000, "finished_at": 1_600_000_100}


@pytest.fixture
def history(store: FineTuningStore) -> FineTuningStore:
    """Three old jobs with events, and one that has not ended."""
    for _ in range(3):
        job = stored(store, **OLD)
        store.events.append(job.id, "message")
    stored(store, created_at=1_600_000_000)
    return store


def test_old_jobs_are_counted_and_deleted_only_if_it_is_asked_for(history: FineTuningStore) -> None:
    purge = ("jobs", "purge", "--finished-before", "365d")

    assert printed(*purge, url=url_of(history)) == "3 jobs with 3 events to be deleted; --delete deletes them\n"
    assert history.jobs.count() == 4
    assert (
        printed(*purge, "--limit", "1", "--delete", url=url_of(history)) == "1 jobs with 1 events deleted\nthere are more, past the limit\n"
    )
    assert json_of(*purge, "--delete", url=url_of(history)) == {
        "jobs": 2,
        "events": 2,
        "locked": 0,
        "referenced": 0,
        "referenced_ids": [],
        "has_more": False,
        "deleted": True,
    }
    assert history.jobs.count() == 1


def test_events_alone_are_deleted(history: FineTuningStore) -> None:
    output = printed("jobs", "purge", "--finished-before", "365d", "--events-only", "--delete", url=url_of(history))

    assert output == "3 events of 3 jobs deleted\n"
    assert history.jobs.count() == 4


def test_what_is_deleted_is_exported_first(history: FineTuningStore, tmp_path: Path) -> None:
    file = tmp_path / "purged.jsonl"
    file.write_text('{"cut off')
    jobs = {job.id: job for job in history.jobs.iterate(status="succeeded")}

    printed("jobs", "purge", "--finished-before", "365d", "--delete", "--export-to", str(file), url=url_of(history))

    cut_off, *lines = file.read_text().splitlines()
    assert cut_off == '{"cut off'
    assert {json.loads(line)["job"]["id"] for line in lines} == jobs.keys()
    report = import_jobs(history, file, rejects=tmp_path / "rejects")
    assert (report.added, report.rejected) == (3, 1)
    assert {job.id: job for job in history.jobs.iterate(status="succeeded")} == jobs
    assert [event.message for id in jobs for event in history.events.tail(id)] == ["message"] * 3


def test_wrong_use_is_refused(sqlite_store: FineTuningStore, tmp_path: Path) -> None:
    url = url_of(sqlite_store)
    assert "finished-before" in refusal("jobs", "purge", url=url, code=2)
    assert "is not a time" in refusal("jobs", "purge", "--finished-before", "yesterday", url=url, code=2)
    assert "statuses" in refusal("jobs", "purge", "--finished-before", "1d", "--status", "running", url=url, code=2)
    needs = refusal("jobs", "purge", "--finished-before", "1d", "--export-to", "f", url=url, code=2)
    assert "needs --delete" in needs
    file = str(tmp_path / "none" / "f.jsonl")
    assert refusal("jobs", "purge", "--finished-before", "1d", "--delete", "--export-to", file, url=url).startswith(file)

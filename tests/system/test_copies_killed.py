"""Exports, imports and copies of a provider that are killed (SIGKILL) and started again: complete in the end, and nothing twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fine_tuning_store import FineTuningStore
from fine_tuning_store.transfer import export_jobs
from tests.support.databases import Database
from tests.support.factories import a_job
from tests.support.service import running
from tests.transfer.test_provider import assert_copied

#: The jobs of each copy, each with events and a checkpoint.
JOBS = int(os.environ.get("FINE_TUNING_STORE_TEST_JOBS", "300"))
KILLS = 3

pytestmark = pytest.mark.timeout(120 + JOBS)


def fill(store: FineTuningStore) -> None:
    jobs = [a_job(status="running", metadata={"number": str(number)}) for number in range(JOBS)]
    store.jobs.add_many(jobs)
    with store.begin() as unit:
        for job in jobs:
            unit.events.append_many(job.id, [{"message": f"Step {step}", "type": "metrics", "data": {"step": step}} for step in range(5)])
            unit.checkpoints.create(job.id, step_number=5, fine_tuned_model_checkpoint=f"ft:{job.id}")
            unit.jobs.succeed(job.id, fine_tuned_model=f"ft:{job.id}:end", message="succeeded")


def run_killed(arguments: list[str], url: str, done: Callable[[], int], **environment: str) -> None:
    """Run a command, kill it at a quarter, a half and three quarters of the jobs, and then let it end."""
    command = [sys.executable, "-m", "fine_tuning_store.cli", *arguments]
    variables = {**os.environ, "FINE_TUNING_STORE_URL": url, **environment}
    for number in range(1, KILLS + 1):
        with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and done() < JOBS * number // (KILLS + 1):
                time.sleep(0.002)
            process.kill()
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60 + JOBS)
    assert ended.returncode == 0, ended


def test_a_killed_export_and_a_killed_import_end_complete(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, part, back = tmp_path / "whole.jsonl", tmp_path / "part.jsonl", tmp_path / "back.jsonl"
    with database.migrated() as url, FineTuningStore.from_url(url) as store, database.migrated() as other_url:
        fill(store)
        export_jobs(store, whole)

        def exported() -> int:
            written = part.with_name("part.jsonl.part")
            return written.read_bytes().count(b"\n") if written.exists() else 0

        run_killed(["jobs", "export", str(part)], url, exported)
        assert part.read_bytes() == whole.read_bytes()

        with FineTuningStore.from_url(other_url) as other:
            run_killed(["jobs", "import", str(part)], other_url, other.jobs.count)
            export_jobs(other, back)
    assert back.read_bytes() == whole.read_bytes()


def test_a_copy_of_a_provider_that_is_killed_ends_equal(database: Database, tmp_path: Path) -> None:
    provider_url = f"sqlite:///{tmp_path}/provider.db"
    with running(provider_url) as [service], FineTuningStore.from_url(provider_url) as provider:
        fill(provider)
        with database.migrated() as url, FineTuningStore.from_url(url) as home:
            run_killed(["jobs", "import", "--from-openai"], url, home.jobs.count, OPENAI_API_KEY="key-1", OPENAI_BASE_URL=service.base_url)

            assert_copied(provider, home)

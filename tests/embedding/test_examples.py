"""Run the examples as a newcomer would: as programs, in an empty folder."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from fine_tuning_store import FineTuningJob, FineTuningStore, Hyperparameters, JobError, JobStatus, job_from_wire

EXAMPLES = Path(__file__).parents[2] / "examples"
LINES = (EXAMPLES / "jobs.jsonl").read_text(encoding="utf-8").splitlines()


def quickstart(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "quickstart.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def quickstart_here(folder: Path, *arguments: str) -> str:
    """Run the quickstart in this process and return its output."""
    output = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(output), mock.patch.object(sys, "argv", ["quickstart.py", *arguments]):
        runpy.run_path(str(EXAMPLES / "quickstart.py"), run_name="__main__")
    return output.getvalue()


def printed(run: subprocess.CompletedProcess[str]) -> str:
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def example_jobs() -> list[FineTuningJob]:
    payloads = map(json.loads, LINES)
    return [job_from_wire(payload, payload.get("organization_id") or "azure") for payload in payloads]


def test_the_quickstart_stores_a_history_in_the_current_folder(tmp_path: Path) -> None:
    output = printed(quickstart(tmp_path))

    assert (tmp_path / "fine_tuning.db").is_file()
    with FineTuningStore.from_url(f"sqlite:///{tmp_path}/fine_tuning.db") as store:
        history = list(store.jobs.iterate())
    assert len(history) == len(LINES) + 2
    introduction, table = output.split("\n\n")
    header, *rows, counts = table.splitlines()
    assert introduction.startswith(f"Imported {len(LINES)} jobs; 0 were there already.\n")
    assert [row.split()[2] for row in rows] == [job.id for job in history]
    assert rows[-1].split() == [
        *("2023-08-29", "14:02", "ftjob-COo38eU2e1SP8MMWLo9IRRqF"),
        *("org-northwind", "gpt-3.5-turbo-0613", "-", "cancelled", "-"),
    ]
    for column, member in (("id", "id"), ("organization", "organization_id"), ("model", "model"), ("status", "status")):
        assert [row[header.index(column) :].split()[0] for row in rows] == [getattr(job, member) for job in history]
    assert counts.startswith(f"{len(history)} jobs: ")
    for status, count in Counter(job.status for job in history).items():
        assert f"{count} {status}" in counts


@pytest.mark.slow
def test_a_second_quickstart_imports_nothing_twice_and_adds_two_more_jobs(empty_url: str, tmp_path: Path) -> None:
    first, second = quickstart_here(tmp_path, empty_url), quickstart_here(tmp_path, empty_url)

    assert f"Imported {len(LINES)} jobs; 0 were there already." in first
    assert f"Imported 0 jobs; {len(LINES)} were there already." in second
    with FineTuningStore.from_url(empty_url) as store:
        history = list(store.jobs.iterate())
        assert store.schema.check() == ()
    assert f"{len(LINES) + 4} jobs: " in second
    assert sorted(history[4:], key=lambda job: job.id) == sorted(example_jobs(), key=lambda job: job.id)
    assert [job.status for job in history[:4]] == ["failed", "succeeded"] * 2
    failed, trained = history[0], history[1]
    assert failed.error == JobError(code="invalid_training_file", message="The training file has no examples.", param="training_file")
    assert trained.hyperparameters == Hyperparameters(n_epochs=3, batch_size=4, learning_rate_multiplier=1.8)
    assert (trained.trained_tokens, trained.result_files, trained.metadata) == (48_300, ("file-metrics",), {"team": "docs"})
    assert trained.finished_at is not None
    assert f"Trained {trained.fine_tuned_model}; {failed.id} is failed." in second
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("oracle://user:secret@host/name", "'oracle' is not supported"),
        ("sqlite+pysqlcipher:///jobs.db", "the driver 'pysqlcipher' is not supported"),
        ("jobs.db", "this is not a database URL"),
    ],
)
def test_the_quickstart_says_what_is_wrong_with_a_url_and_exits_with_2(tmp_path: Path, url: str, complaint: str) -> None:
    run = quickstart(tmp_path, url)

    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(complaint)
    assert len(run.stderr.splitlines()) == 1
    assert "secret" not in run.stderr
    assert not list(tmp_path.iterdir())


def test_the_example_jobs_are_of_every_status_method_and_time() -> None:
    jobs = example_jobs()

    assert {job.status for job in jobs} == set(JobStatus)
    assert {job.method.type for job in jobs if job.method is not None} == {"supervised", "dpo", "reinforcement"}
    assert len({job.id for job in jobs}) == len(LINES)
    assert len({job.organization_id for job in jobs}) > 2
    assert any(job.metadata for job in jobs)
    assert any(job.integrations for job in jobs)
    assert all(job.method.grader for job in jobs if job.method is not None and job.method.type == "reinforcement")
    assert all(job.error for job in jobs if job.status is JobStatus.FAILED)


@pytest.mark.parametrize("program", ["worker.py", "async_worker.py"])
def test_a_worker_returns_its_job_on_sigterm_and_another_one_finishes_it(tmp_path: Path, program: str) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    worker = [sys.executable, "-W", "error", str(EXAMPLES / program), url]
    with FineTuningStore.from_url(url) as store, contextlib.ExitStack() as running:
        store.schema.upgrade()
        job = store.jobs.create(organization_id="org-1", model="gpt-4o-mini", training_file="file-abc")
        store.jobs.enqueue(job.id)

        def started() -> subprocess.Popen[bytes]:
            process = running.enter_context(subprocess.Popen(worker, cwd=tmp_path))
            running.callback(process.kill)
            return process

        def wait_until(condition: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 60
            while not condition():
                assert time.monotonic() < deadline
                time.sleep(0.05)

        first = started()
        wait_until(lambda: len(store.events.tail(job.id)) > 0)
        first.terminate()
        assert first.wait(30) == 0
        assert store.jobs.get(job.id).status is JobStatus.QUEUED

        second = started()
        wait_until(lambda: store.jobs.get(job.id).status is JobStatus.SUCCEEDED)
        second.terminate()
        assert second.wait(30) == 0

        done = store.jobs.get(job.id)
        assert (done.attempt, done.lost_leases, done.hyperparameters.n_epochs) == (2, 0, 3)
        assert [checkpoint.step_number for checkpoint in store.checkpoints.list(job.id)] == [10, 5]
        actors = [(entry.transition, entry.actor) for entry in store.transitions.list(job.id).data[1:]]
        assert [verb for verb, _ in actors] == ["start", "requeue", "start", "succeed"]
        assert len({actor for _, actor in actors}) == 2

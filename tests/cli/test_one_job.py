"""`jobs show`, `events` and `stuck`: one job and its history, and jobs without a worker."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from sqlalchemy import text

from fine_tuning_store import FineTuningStore, JobError, JobStatus
from fine_tuning_store.cli import job_events
from tests.cli.helpers import json_of, printed, refusal, url_of
from tests.support.factories import created, stored
from tests.support.programs import fine_tuning_store


def trained(store: FineTuningStore) -> str:
    """Return the id of a job that was requeued once, has losses, and failed."""
    job = created(store, metadata={"team": "nlp"})
    store.jobs.enqueue(job.id)
    store.jobs.start(job.id, actor="worker-1")
    store.jobs.requeue(job.id, actor="operator", reason="the node\ndrains")
    lease = store.leases.claim("worker-2")
    assert lease is not None
    for step in (10, 20, 30):
        lease.append_event(f"Step {step}/30", type="metrics", data={"step": step, "train_loss": 2 / step, "valid_loss": None})
    lease.append_event("odd", type="metrics", data={"step": "ten", "train_loss": float(1)})
    lease.append_event("odd too", type="metrics", data=["train_loss"])
    lease.add_checkpoint(step_number=20, fine_tuned_model_checkpoint="ft:c:ckpt-step-20", metrics={"step": 20, "full_valid_loss": 0.25})
    lease.fail(JobError(code="out_of_memory", message="It broke."))
    return job.id


def test_a_job_is_shown_with_its_history(store: FineTuningStore, url: str) -> None:
    id = trained(store)
    shown = printed("jobs", "show", id, url=url)

    for line in (f"id: {id}", "status: failed", "error: out_of_memory: It broke.", "attempt: 2", "metadata: team=nlp"):
        assert f"{line}\n" in shown
    timeline = shown.partition("Timeline\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[3] for line in timeline[1:]] == ["create", "enqueue", "start", "requeue", "start", "fail"]
    assert "operator  the node drains" in timeline[4]
    assert "ft:c:ckpt-step-20  full_valid_loss=0.25" in shown
    assert "train_loss: 0.2 at step 10, 0.06667 at step 30, 3 points" in shown
    assert "full_valid_loss: 0.25 at step 20" in shown
    assert "  error  " not in shown.partition("Events")[0]


def test_a_job_is_one_json_object(sqlite_store: FineTuningStore) -> None:
    store, url = sqlite_store, url_of(sqlite_store)
    id = trained(store)
    found = json_of("jobs", "show", id, "--events", "2", url=url)

    assert found["job"]["error"] == {"code": "out_of_memory", "message": "It broke.", "param": None}
    assert found["job"]["store"]["attempt"] == 2
    assert [entry["transition"] for entry in found["transitions"]] == ["enqueue", "start", "requeue", "start", "fail"]
    assert [event["message"] for event in found["events"]] == ["odd", "odd too"]
    assert [checkpoint["step_number"] for checkpoint in found["checkpoints"]] == [20]


def test_an_imported_job_without_a_history_is_shown(sqlite_store: FineTuningStore) -> None:
    stored(sqlite_store, id="a", status=JobStatus.FAILED, created_at=2**60, extra={"x": "\x1b[2J"})
    shown = printed("jobs", "show", "a", url=url_of(sqlite_store))

    assert f"created: {2**60}\n" in shown
    assert 'other members: {"x": "\\u001b[2J"}\n' in shown


def test_a_change_that_is_not_in_the_log_is_named(sqlite_store: FineTuningStore) -> None:
    job = created(sqlite_store)
    sqlite_store.jobs.enqueue(job.id)
    with sqlite_store.engine.begin() as connection:  # as a release does that does not know the log
        connection.execute(text("UPDATE fine_tuning_jobs SET status = 'running'"))
    sqlite_store.jobs.fail(job.id, JobError(code="x"))

    assert "(not logged)  running" in printed("jobs", "show", job.id, url=url_of(sqlite_store))


def test_events_are_printed_oldest_first(store: FineTuningStore, url: str) -> None:
    job = created(store)
    store.events.append_many(job.id, [{"message": f"m{number}", "level": level} for number, level in enumerate(("info", "warn", "error"))])

    assert [line.split()[2:] for line in printed("jobs", "events", job.id, url=url).splitlines()] == [
        ["info", "m0"],
        ["warn", "m1"],
        ["error", "m2"],
    ]
    found = json_of("jobs", "events", job.id, "--limit", "2", url=url)
    assert ([event["position"] for event in found["data"]], found["has_more"]) == ([2, 3], True)
    assert printed("jobs", "events", job.id, "--limit", "0", url=url) == ""


@pytest.mark.parametrize("limit", [20, 0])
def test_events_are_followed_until_the_job_has_ended(sqlite_store: FineTuningStore, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    store, url = sqlite_store, url_of(sqlite_store)
    monkeypatch.setattr(job_events, "_GRACE_SECONDS", -2)
    job = created(store)
    store.jobs.start(job.id)
    store.events.append(job.id, "before")
    waiting = threading.Event()

    def sleep(_: float) -> None:
        waiting.set()
        threading.Event().wait(0.05)

    monkeypatch.setattr(time, "sleep", sleep)
    done: list[Any] = []
    follow = ("jobs", "events", job.id, "--follow", "--interval", "0.1", "--limit", f"{limit}", "--json")
    thread = threading.Thread(target=lambda: done.append(fine_tuning_store(*follow, url=url)))
    thread.start()
    assert waiting.wait(30)
    store.events.append_many(job.id, [{"message": "during"}] * 3)
    store.jobs.cancel(job.id, message="end")
    thread.join(30)

    messages = [json.loads(line)["message"] for line in done[0].stdout.splitlines()]
    assert (done[0].returncode, done[0].stderr) == (0, "")
    assert messages == [*(["before"] if limit else []), "during", "during", "during", "end"]


def test_running_jobs_without_a_live_lease_are_stuck(store: FineTuningStore, url: str) -> None:
    assert fine_tuning_store("jobs", "stuck", url=url).returncode == 0
    jobs = [created(store, organization_id=f"org-{number}") for number in range(3)]
    for job in jobs[:2]:
        store.jobs.enqueue(job.id)
    expired, alive = store.leases.claim_many("worker-1", limit=2)
    store.jobs.start(jobs[2].id)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE fine_tuning_jobs SET lease_expires_at = 1 WHERE id = :id"), {"id": expired.job.id})

    found = json_of("jobs", "stuck", url=url, code=1)["data"]
    assert [job["id"] for job in found] == [expired.job.id, jobs[2].id]
    assert alive.heartbeat() == "running"
    _, *lines = printed("jobs", "stuck", url=url, code=1).splitlines()
    assert lines[0].split()[1:4:2] == ["expired", "ago"]
    assert lines[1].split()[1] == "none"
    assert [job["id"] for job in json_of("jobs", "stuck", "--organization", "org-2", url=url, code=1)["data"]] == [jobs[2].id]
    assert json_of("jobs", "stuck", "--organization", "org-9", url=url)["data"] == []


def test_an_unknown_job_is_one_line(sqlite_store: FineTuningStore) -> None:
    url = url_of(sqlite_store)
    for command in ("show", "events", "cancel", "pause", "resume", "requeue"):
        assert refusal("jobs", command, "nope\x1b[2J", url=url) == "no fine-tuning job has the id 'nope\\x1b[2J'"
    assert "'nope'" in refusal("jobs", "events", "nope", "--follow", url=url)

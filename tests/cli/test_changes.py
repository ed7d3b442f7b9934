"""`jobs create`, `cancel`, `pause`, `resume` and `requeue`."""

from __future__ import annotations

import getpass
import io
import json
import sys
from pathlib import Path

import pytest

from fine_tuning_store import FineTuningStore, Hyperparameters, JobStatus
from tests.cli.helpers import json_of, printed, refusal, url_of
from tests.support.factories import created

CREATE = ("jobs", "create", "--organization", "org-1")
MINIMUM = (*CREATE, "--model", "gpt-4o", "--training-file", "file-a")


def test_a_job_is_created_by_the_rules_of_the_api(store: FineTuningStore, url: str) -> None:
    id = printed(*MINIMUM, url=url).rstrip()
    job = store.jobs.get(id)
    assert (job.status, job.model, job.training_file, job.organization_id) == (JobStatus.VALIDATING_FILES, "gpt-4o", "file-a", "org-1")

    options = ("--method", "dpo", "--hyperparameter", "n_epochs=3", "--hyperparameter", "beta=0.5", "--hyperparameter", "batch_size=auto")
    others = ("--suffix", "bot", "--seed", "7", "--metadata", "team=nlp", "--validation-file", "file-v", "--id", "own", "--enqueue")
    wire = json_of(*MINIMUM, *options, *others, "--actor", "alice", url=url)
    job = store.jobs.get("own")
    assert (wire["id"], wire["status"], job.suffix, job.seed, job.validation_file) == ("own", "queued", "bot", 7, "file-v")
    assert job.hyperparameters == Hyperparameters(n_epochs=3, beta=0.5, batch_size="auto", learning_rate_multiplier="auto")
    assert job.metadata == {"team": "nlp"}
    assert [entry.actor for entry in store.transitions.list("own")] == ["alice"]
    assert "already stored" in refusal(*MINIMUM, "--id", "own", url=url)


def test_a_request_of_the_api_is_read_from_a_file_or_standard_input(
    sqlite_store: FineTuningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, file = url_of(sqlite_store), tmp_path / "request.json"
    request = {"model": "m", "training_file": "f", "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}}
    file.write_text(json.dumps(request))

    assert json_of(*CREATE, "--request", str(file), url=url)["hyperparameters"]["n_epochs"] == 2
    monkeypatch.setattr(sys, "stdin", io.StringIO(file.read_text()))
    assert sqlite_store.jobs.get(printed(*CREATE, "--request", "-", url=url).rstrip()).hyperparameters.n_epochs == 2

    not_json = [(text, "is not JSON") for text in ("{", "\xff", "[" * 100_000)]
    for text, words in (*not_json, ("[]", "must be"), ('{"model": "m"}', "training_file")):
        file.write_bytes(text.encode("latin-1"))
        assert words in refusal(*CREATE, "--request", str(file), url=url, code=2)
    assert "No such file" in refusal(*CREATE, "--request", f"{tmp_path}/none", url=url, code=2)
    assert "Is a directory" in refusal(*CREATE, "--request", str(tmp_path), url=url, code=2)
    assert "not beside them" in refusal(*MINIMUM, "--request", str(file), url=url, code=2)


def test_a_repeated_call_with_the_same_key_creates_one_job(sqlite_store: FineTuningStore) -> None:
    url = url_of(sqlite_store)
    first, second = (printed(*MINIMUM, "--idempotency-key", "k", "--enqueue", url=url) for _ in range(2))

    assert first == second
    assert sqlite_store.jobs.count() == 1
    assert "was used for job" in refusal(*MINIMUM, "--idempotency-key", "k", "--suffix", "other", url=url)


def test_wrong_values_of_a_new_job_create_none(sqlite_store: FineTuningStore) -> None:
    url = url_of(sqlite_store)
    for options, words in (
        ((*CREATE, "--model", "m"), "--training-file"),
        (MINIMUM[:2] + MINIMUM[4:], "--organization"),
        ((*MINIMUM, "--hyperparameter", "n_epochs"), "write it as key=value"),
        ((*MINIMUM, "--hyperparameter", "n_epochs=many"), "is not a number"),
        ((*MINIMUM, "--hyperparameter", "n_epochs=51"), "n_epochs"),
        ((*MINIMUM, "--hyperparameter", "epochs=3"), "is not a hyperparameter"),
        ((*MINIMUM, "--metadata", "=x"), "write it as key=value"),
        ((*MINIMUM, "--metadata", "a=1", "--metadata", "a=2"), "'a' is given twice"),
        ((*MINIMUM, "--method", "rlhf"), "rlhf"),
        ((*MINIMUM, "--seed", "-1"), "seed"),
        ((*MINIMUM, "--seed", "x"), "--seed"),
        ((*MINIMUM, "--organization", ""), "organization_id"),
        ((*MINIMUM, "--id", "x" * 256), "id"),
    ):
        assert words in refusal(*options, url=url, code=2), options
    assert sqlite_store.jobs.count() == 0


def test_changes_of_a_status_are_logged_with_their_actor_and_reason(
    store: FineTuningStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "login")
    id = created(store).id
    store.jobs.enqueue(id)

    assert printed("jobs", "pause", id, "--reason", "budget", url=url) == f"{id} is paused\n"
    assert json_of("jobs", "resume", id, "--actor", "alice", url=url)["status"] == "queued"
    store.jobs.start(id)
    assert printed("jobs", "requeue", id, url=url) == f"{id} is queued\n"
    assert printed("jobs", "cancel", id, "--message", "Sorry.", url=url) == f"{id} is cancelled\n"
    assert "it is cancelled, and resume is allowed from: paused" in refusal("jobs", "resume", id, url=url)

    log = [(entry.transition, entry.actor, entry.reason) for entry in store.transitions.list(id)][1:]
    assert log == [
        ("pause", "login", "budget"),
        ("resume", "alice", None),
        ("start", None, None),
        ("requeue", "login", None),
        ("cancel", "login", None),
    ]
    assert [event.message for event in store.events.list(id)] == ["Sorry."]


@pytest.mark.parametrize("error", [OSError, KeyError, ImportError])
def test_a_user_without_a_login_name_is_unknown(
    sqlite_store: FineTuningStore, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def getuser() -> str:
        raise error("No username set in the environment")

    monkeypatch.setattr(getpass, "getuser", getuser)
    id = created(sqlite_store).id
    printed("jobs", "cancel", id, url=url_of(sqlite_store))

    assert [entry.actor for entry in sqlite_store.transitions.list(id)] == ["unknown"]

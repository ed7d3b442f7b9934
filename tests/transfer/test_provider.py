"""The history of a provider, copied home: the example service is the provider, and the official client reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from fine_tuning_store import FineTuningStore, JobError, event_to_wire, job_to_wire
from fine_tuning_store.transfer.provider import ProviderReport, import_from_provider
from tests.support.factories import created
from tests.support.service import Service, running

JOBS = 22  #: more than a page of the service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("provider")
    with running(f"sqlite:///{folder}/jobs.db", files=folder / "files") as [service]:
        yield service


@pytest.fixture
def provider(service: Service) -> Iterator[FineTuningStore]:
    """The store of the provider, without jobs of earlier tests, with jobs of every kind."""
    with FineTuningStore.from_url(service.url) as store:
        with store.begin() as unit:
            for job in list(unit.jobs.iterate()):
                if not job.status.is_ended:
                    unit.jobs.cancel(job.id)
                unit.jobs.delete(job.id)
        with store.begin() as unit:
            jobs = [
                unit.jobs.create(organization_id="org-1", model="m", training_file="file-abc", metadata={"number": str(number)})
                for number in range(JOBS)
            ]
        for job in jobs[::-1]:
            store.jobs.start(job.id, message="started")
            for step in range(3):
                store.events.append(job.id, f"Step {step}", type="metrics", data={"step": step, "train_loss": 1 / (step + 1)})
                store.checkpoints.create(job.id, step_number=step, fine_tuned_model_checkpoint=f"ft:{job.id}:{step}")
            if job.metadata == {"number": "7"}:
                store.jobs.fail(job.id, JobError(code="c", message="m"), message="failed")
            elif job.metadata != {"number": "9"}:
                store.jobs.succeed(job.id, fine_tuned_model=f"ft:{job.id}", trained_tokens=9)
        store.checkpoint_permissions.create(f"ft:{job.id}:1", ["proj-1"], organization_id="org-1")
        yield store


@pytest.fixture
def client(service: Service) -> Iterator[OpenAI]:
    with service.client() as client:
        yield client


@pytest.fixture
def home(store: FineTuningStore) -> FineTuningStore:
    return store


def history(store: FineTuningStore, id: str) -> dict[str, Any]:
    return {
        "job": job_to_wire(store.jobs.get(id)),
        "events": [event_to_wire(event) for event in store.events.list(id, limit=100)],
        "checkpoints": store.checkpoints.list(id, limit=100).data,
    }


def assert_copied(provider: FineTuningStore, home: FineTuningStore) -> None:
    jobs = list(provider.jobs.iterate())
    assert [job.id for job in home.jobs.iterate()] == [job.id for job in jobs]
    for job in jobs:
        assert history(home, job.id) == history(provider, job.id)


def test_jobs_events_checkpoints_and_permissions_are_copied(provider: FineTuningStore, client: OpenAI, home: FineTuningStore) -> None:
    report = import_from_provider(home, client)

    assert (report.read, report.added, report.rejected) == (JOBS, JOBS, 0)
    assert (report.events, report.checkpoints, report.permissions, dict(report.gone)) == (JOBS * 4 + 1, JOBS * 3, 1, {})
    assert_copied(provider, home)
    (oldest,) = home.jobs.list(order="asc", limit=1)
    assert [each.project_id for each in home.checkpoint_permissions.list(f"ft:{oldest.id}:1", organization_id="org-1")] == ["proj-1"]


def test_it_is_brought_up_to_date_by_running_it_again(provider: FineTuningStore, client: OpenAI, home: FineTuningStore) -> None:
    import_from_provider(home, client)
    (running_job,) = provider.jobs.list(status="running")
    provider.events.append(running_job.id, "more")
    provider.jobs.succeed(running_job.id, fine_tuned_model="ft:late", message="succeeded")
    new = created(provider)

    report = import_from_provider(home, client)

    assert (report.added, report.merged, report.unchanged) == (1, 1, JOBS - 1)
    assert_copied(provider, home)
    assert home.jobs.get(new.id).status == "validating_files"
    provider.events.append(running_job.id, "after the end")
    assert import_from_provider(home, client, again=True).unchanged == JOBS
    assert home.events.list(running_job.id).data[0].message == "after the end"


class StopError(Exception):
    pass


def test_an_interrupted_copy_goes_on(provider: FineTuningStore, client: OpenAI, home: FineTuningStore) -> None:
    def stop(report: ProviderReport) -> None:
        if report.added == 10:
            raise StopError

    with pytest.raises(StopError):
        import_from_provider(home, client, progress=stop)
    assert home.jobs.count() == 10
    report = import_from_provider(home, client)
    assert (report.added, report.rejected) == (JOBS - 10, 0)
    assert_copied(provider, home)


def test_files_are_copied_with_a_manifest(provider: FineTuningStore, client: OpenAI, home: FineTuningStore, tmp_path: Path) -> None:
    training = client.files.create(file=("train.jsonl", b'{"messages": []}\n' * 100_000), purpose="fine-tune")
    job = provider.jobs.create(organization_id="org-1", model="m", training_file=training.id, validation_file="file-gone")

    report = import_from_provider(home, client, files=tmp_path / "files")

    assert (report.files, report.gone["files"]) == (1, 2)  # and file-abc, which the other jobs name
    entries = [json.loads(line) for line in (tmp_path / "files" / "manifest.jsonl").read_text().splitlines()]
    copied = next(entry for entry in entries if entry["id"] == job.training_file)
    content = (tmp_path / "files" / copied["file"]).read_bytes()
    assert (copied["filename"], copied["bytes"], copied["sha256"]) == ("train.jsonl", len(content), hashlib.sha256(content).hexdigest())
    assert content == b'{"messages": []}\n' * 100_000
    assert {entry["id"] for entry in entries if "missing" in entry} == {"file-gone", "file-abc"}

    assert import_from_provider(home, client, files=tmp_path / "files").files == 1
    assert [path.name for path in (tmp_path / "files").glob("*.part")] == []


def test_a_job_that_was_started_at_home_is_not_touched(provider: FineTuningStore, client: OpenAI, home: FineTuningStore) -> None:
    new = created(provider)
    import_from_provider(home, client)
    home.jobs.start(new.id)

    report = import_from_provider(home, client)

    assert (report.rejected, list(report.reasons)) == (1, [new.id])
    assert "replace" in report.reasons[new.id]
    assert home.jobs.get(new.id).status == "running"


def test_words_of_other_providers_and_jobs_without_organization(home: FineTuningStore, service: Service) -> None:
    """Served by a transport of the client, since no server here sends such jobs."""
    import httpx2 as httpx  # that of the client

    job = {"object": "fine_tuning.job", "id": "ftjob-1", "created_at": 1, "model": "m", "training_file": "f", "status": "training"}

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/jobs"):
            return httpx.Response(200, json={"object": "list", "data": [job, "no object"], "has_more": False})
        return httpx.Response(404, json={"error": {"message": "gone"}})

    with OpenAI(api_key="k", base_url="http://provider/v1", http_client=httpx.Client(transport=httpx.MockTransport(respond))) as client:
        refused = import_from_provider(home, client, organization_id="org-1")
        assert "statuses=" in refused.reasons["ftjob-1"]
        unowned = import_from_provider(home, client, statuses={"training": "running"})
        assert "which organization" in unowned.reasons["ftjob-1"]
        report = import_from_provider(home, client, organization_id="org-1", statuses={"training": "running"})

    assert (report.added, report.rejected) == (1, 1)
    assert dict(report.gone) == {"events": 1, "checkpoints": 1}
    assert job_to_wire(home.jobs.get("ftjob-1"))["status"] == "training"

"""Details of the example service that clients rely on: ids of requests, odd queries, graders, files, and jobs of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from fine_tuning_store import FineTuningStore, job_from_wire, job_to_wire
from tests.embedding.test_service import GRADER, REQUEST, finished
from tests.support.factories import a_job, created
from tests.support.service import Service, running
from tests.support.tables import each

JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running(f"sqlite:///{folder}/jobs.db", files=folder / "files", demo_worker=True) as [service]:
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[OpenAI]:
    with service.client() as client:
        yield client


def test_a_damaged_job_is_named_in_the_log_of_the_service(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    with pytest.raises(RuntimeError, match=r"a request failed: the row '.*' of fine_tuning_jobs cannot be read"), running(url) as [service]:
        with FineTuningStore.from_url(url) as store:
            job = created(store, organization_id="org-1")
            with store.engine.begin() as connection:
                connection.exec_driver_sql("UPDATE fine_tuning_jobs SET extra = '5'")

        assert service.request("GET", f"{JOBS}/{job.id}").status == 500


def test_every_response_has_an_id_of_its_own(service: Service) -> None:
    responses = [
        service.request("GET", JOBS),
        service.request("GET", f"{JOBS}/unknown"),
        service.request("GET", JOBS, headers={"Authorization": ""}),
        service.request("DELETE", JOBS),
        service.request("POST", JOBS, b"{"),
        service.request("GET", "/health", headers={"Authorization": ""}),
        service.request("GET", "/nowhere"),
    ]

    assert [response.status for response in responses] == [200, 404, 401, 405, 400, 200, 404]
    assert len({response.headers["x-request-id"] for response in responses}) == len(responses)


def test_the_error_of_a_wrong_method_names_those_that_are_allowed(service: Service) -> None:
    for path, allowed in (
        (JOBS, "GET, POST"),
        (f"{JOBS}/ftjob-1", "GET"),
        (f"{JOBS}/ftjob-1/cancel", "POST"),
        (f"{JOBS}/ftjob-1/events", "GET"),
        ("/v1/fine_tuning/checkpoints/ft:a/permissions", "GET, POST"),
        ("/v1/fine_tuning/alpha/graders/run", "POST"),
    ):
        response = service.request("PUT", path)
        assert (response.status, response.headers["allow"]) == (405, allowed), path


def test_an_id_with_slashes_is_found(service: Service, client: OpenAI) -> None:
    id = "projects/1/locations/x/tuningJobs/39"
    with FineTuningStore.from_url(service.url) as store:
        wire = job_to_wire(a_job(organization_id="org-1", status="queued")) | {"id": id}
        store.jobs.add(job_from_wire(wire))

    assert client.fine_tuning.jobs.retrieve(id).id == id
    assert client.fine_tuning.jobs.list_events(id).data == []
    assert client.fine_tuning.jobs.checkpoints.list(id).data == []
    assert client.fine_tuning.jobs.cancel(id).status == "cancelled"
    assert service.request("GET", f"{JOBS}/{id}").status == 200


def test_empty_queries_and_a_limit_of_nothing_are_accepted(service: Service, client: OpenAI) -> None:
    """The client of Node sends null as an empty text."""
    plain = client.fine_tuning.jobs.create(**REQUEST).id
    labelled = client.fine_tuning.jobs.create(**REQUEST, metadata={"team": "docs"}).id

    assert client.fine_tuning.jobs.list(extra_query={"after": ""}).data[0].id == labelled
    assert client.fine_tuning.jobs.list(extra_query={"metadata": ""}).data[0].id == plain
    for path in (JOBS, f"{JOBS}/{plain}/events"):
        page = json.loads(service.request("GET", f"{path}?limit=0").body)
        assert (page["data"], page["has_more"]) == ([], True)
    assert json.loads(service.request("GET", f"{JOBS}/{plain}/checkpoints?limit=0&after=").body)["has_more"] is False


def test_the_demo_worker_leaves_jobs_alone_that_this_service_has_not_created(service: Service, client: OpenAI) -> None:
    with FineTuningStore.from_url(service.url) as store:
        theirs = store.jobs.enqueue(created(store, organization_id="org-1").id)

        own = finished(client, client.fine_tuning.jobs.create(**REQUEST).id)

        assert own.status == "succeeded"
        assert store.jobs.get(theirs.id) == theirs


def test_the_result_file_of_a_job_and_an_uploaded_file_are_read_back(service: Service, client: OpenAI) -> None:
    job = finished(client, client.fine_tuning.jobs.create(**REQUEST).id)
    [result] = job.result_files
    uploaded = client.files.create(file=("train.jsonl", b'{"messages": []}\n'), purpose="fine-tune")

    assert client.files.content(result).content == b"step,train_loss\n100,0.25\n"
    assert client.files.retrieve(result).filename == "step_metrics.csv"
    assert client.files.retrieve(uploaded.id) == uploaded
    assert (uploaded.bytes, uploaded.filename, uploaded.purpose) == (17, "train.jsonl", "fine-tune")
    assert client.files.content(uploaded.id).content == b'{"messages": []}\n'
    with service.client("key-2") as other:
        for call in (other.files.retrieve, other.files.content):
            with pytest.raises(openai.BadRequestError, match="No such File"):
                call(result)
    for id in ("..%2Forg-1%2F" + result, "file-", result + ".json"):
        assert service.request("GET", f"/v1/files/{id}/content").status in (400, 404)


def text_similarity(metric: str, reference: str = "a cat sat") -> dict[str, Any]:
    input = "{{sample.output_text}}"
    return {"type": "text_similarity", "name": "like", "input": input, "reference": reference, "evaluation_metric": metric}


def string_check(operation: str, input: str = "{{ sample.output_text }}") -> dict[str, Any]:
    return {**GRADER, "operation": operation, "input": input}


@each(
    ("grader", "reward"),
    [
        (string_check("eq"), 0.0),
        (string_check("ne"), 1.0),
        (string_check("like"), 1.0),
        (string_check("ilike"), 1.0),
        (string_check("eq", "{{sample.output_json.0}}"), 0.0),
        (text_similarity("fuzzy_match", "a cat sat here"), pytest.approx(1.0)),
        (text_similarity("bleu", "a cat sat here"), pytest.approx(1.0)),
        (text_similarity("gleu", "a cat sat there"), pytest.approx(0.6)),
        (text_similarity("rouge_1", "a cat sat"), pytest.approx(6 / 7)),
        (text_similarity("rouge_2", "a cat sat"), pytest.approx(4 / 5)),
        (text_similarity("rouge_l", "a sat here dog"), pytest.approx(0.75)),
    ],
)
def test_graders_that_need_no_model_are_run(client: OpenAI, grader: Any, reward: Any) -> None:
    graders = client.fine_tuning.alpha.graders
    sample, item = "a cat sat here", {"answer": "cat"}

    result = graders.run(grader=grader, model_sample=sample, item=item)

    assert result.reward == reward
    assert result.metadata.scores == {grader["name"]: result.reward}
    assert result.metadata.errors.invalid_variable_error is ("output_json" in grader["input"])


def test_graders_that_need_a_model_or_a_sandbox_are_refused_by_their_type(client: OpenAI) -> None:
    graders = client.fine_tuning.alpha.graders
    message = {"role": "user", "content": "Is it good?"}
    for grader, word in (
        ({"type": "python", "name": "p", "source": "def grade(sample, item): return 1.0"}, "python"),
        ({"type": "score_model", "name": "s", "model": "gpt-4o", "input": [message]}, "score_model"),
        (text_similarity("cosine"), "cosine"),
    ):
        with pytest.raises(openai.InternalServerError, match=word) as refused:
            graders.run(grader=grader, model_sample="a")  # type: ignore[arg-type]
        assert refused.value.status_code == 501


def test_a_grader_is_validated_and_the_error_names_its_member(client: OpenAI) -> None:
    graders = client.fine_tuning.alpha.graders
    assert graders.validate(grader=GRADER).to_dict() == {"grader": GRADER}  # type: ignore[arg-type]
    for call in (lambda grader: graders.validate(grader=grader), lambda grader: graders.run(grader=grader, model_sample="a")):
        with pytest.raises(openai.BadRequestError) as refused:
            call({**GRADER, "operation": "like it"})
        assert refused.value.param == "grader.operation"


def test_a_template_cannot_fill_the_memory_and_long_texts_are_not_compared(client: OpenAI) -> None:
    graders = client.fine_tuning.alpha.graders
    for grader, sample in (
        ({**GRADER, "input": "{{sample.output_text}}" * 1000}, "a" * 10_000),
        (text_similarity("meteor"), "a " * 3_000),
    ):
        with pytest.raises(openai.BadRequestError, match="must not"):
            graders.run(grader=grader, model_sample=sample)  # type: ignore[arg-type]


def test_a_service_without_keys_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from fastapi.testclient import TestClient

    monkeypatch.setenv("FINE_TUNING_STORE_URL", f"sqlite:///{tmp_path}/jobs.db")
    monkeypatch.delenv("FINE_TUNING_API_KEYS", raising=False)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    from openai_service import app

    with TestClient(app) as http:
        assert http.get(JOBS).status_code == 401
    assert "FINE_TUNING_API_KEYS is not set" in caplog.text


def test_a_key_is_needed_below_any_root_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    monkeypatch.setenv("FINE_TUNING_STORE_URL", f"sqlite:///{tmp_path}/jobs.db")
    monkeypatch.setenv("FINE_TUNING_API_KEYS", "key=org-1")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    from openai_service import app

    with TestClient(app, root_path="/api") as http:
        for path in (JOBS, f"/api{JOBS}"):
            assert http.get(path).status_code == 401
            assert http.get(path, headers={"Authorization": "Bearer key"}).status_code == 200
        assert http.post("/api/v1/fine_tuning/alpha/graders/validate", json={"grader": GRADER}).status_code == 401
        assert http.get("/health").status_code == http.get("/api/health").status_code == 200


def test_a_long_file_id_is_not_found(service: Service) -> None:
    assert service.request("GET", f"/v1/files/file-{'a' * 5000}").status == 400

"""The example service, run as a process and called with the official client, as its users will do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob as WireJob

from fine_tuning_store import FineTuningStore, Hyperparameters, checkpoint_to_wire, event_to_wire, job_to_wire
from tests.support.databases import Database
from tests.support.service import KEYS, SECONDS, Service, running

_keys = iter(KEYS)
REQUEST: dict[str, Any] = {"model": "gpt-4o-mini", "training_file": "file-abc"}
AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
GRADER = {"type": "string_check", "name": "equal", "input": "{{sample.output_text}}", "reference": "{{item.answer}}", "operation": "eq"}


@pytest.fixture(scope="module")
def service(database: Database) -> Iterator[Service]:
    """A service without a worker, on a database that it migrates itself."""
    with database.empty() as url, running(url) as [service]:
        yield service


@pytest.fixture
def key() -> str:
    """The key of an organization that no other test uses."""
    return next(_keys)


@pytest.fixture
def client(service: Service, key: str) -> Iterator[OpenAI]:
    with service.client(key) as client:
        yield client


@pytest.fixture
def other(service: Service) -> Iterator[OpenAI]:
    """The client of another organization."""
    with service.client(next(_keys)) as client:
        yield client


@pytest.fixture
def worker(service: Service) -> Iterator[FineTuningStore]:
    """The store of a worker: on the same database, in another process, for all organizations."""
    with FineTuningStore.from_url(service.url) as store:
        yield store


def messages(client: OpenAI, id: str) -> list[str]:
    """Return the messages of a job's events, newest first."""
    return [event.message for event in client.fine_tuning.jobs.list_events(id)]


def succeeded(client: OpenAI, worker: FineTuningStore, model: str) -> str:
    """Create a job that succeeds with a model and a checkpoint of that name. Returns its id."""
    id = client.fine_tuning.jobs.create(**REQUEST).id
    worker.jobs.start(id)
    worker.checkpoints.create(id, step_number=10, fine_tuned_model_checkpoint=model)
    worker.jobs.succeed(id, fine_tuned_model=model)
    return id


@pytest.mark.parametrize(
    ("requested", "hyperparameters"),
    [
        ({}, AUTO),
        (
            {"hyperparameters": {"n_epochs": 2}, "seed": 7, "suffix": "ours", "validation_file": "file-def", "metadata": None},
            {**AUTO, "n_epochs": 2},
        ),
        (
            {
                "method": {"type": "supervised", "supervised": {"hyperparameters": {"batch_size": 8}}},
                "metadata": {"team": "docs", "": "", "\U0001f600": "\u00fc"},
                "integrations": [{"type": "wandb", "wandb": {"project": "tuning", "tags": ["a"]}}],
            },
            {**AUTO, "batch_size": 8},
        ),
        (
            {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}},
            {**AUTO, "beta": 0.1},
        ),
        (
            {"method": {"type": "reinforcement", "reinforcement": {"grader": GRADER, "hyperparameters": {"reasoning_effort": "low"}}}},
            {**AUTO, "compute_multiplier": "auto", "eval_interval": "auto", "eval_samples": "auto", "reasoning_effort": "low"},
        ),
    ],
)
def test_a_job_of_any_method_is_created_and_found_again(
    client: OpenAI, worker: FineTuningStore, key: str, requested: dict[str, Any], hyperparameters: dict[str, Any]
) -> None:
    job = client.fine_tuning.jobs.create(**REQUEST, **requested)

    assert job.status == "validating_files"
    assert job.organization_id == KEYS[key]
    assert (job.model, job.training_file, job.validation_file) == ("gpt-4o-mini", "file-abc", requested.get("validation_file"))
    assert job.metadata == requested.get("metadata")
    assert job.seed == requested.get("seed", job.seed)
    wire = json.loads(client.fine_tuning.jobs.with_raw_response.retrieve(job.id).text)
    type = requested.get("method", {}).get("type", "supervised")
    assert wire["method"][type]["hyperparameters"] == hyperparameters
    assert wire["method"][type].get("grader") == (GRADER if type == "reinforcement" else None)
    assert wire["user_provided_suffix"] == requested.get("suffix")
    assert wire["integrations"] == requested.get("integrations", [])
    assert wire == job_to_wire(worker.jobs.get(job.id))
    assert client.fine_tuning.jobs.retrieve(job.id) == job
    assert messages(client, job.id) == [f"Created fine-tuning job: {job.id}"]


def test_paging_through_250_jobs_of_a_few_seconds_returns_each_of_them_once(client: OpenAI, worker: FineTuningStore, key: str) -> None:
    with worker.begin() as unit:
        made = [unit.jobs.create(organization_id=KEYS[key], **REQUEST).id for _ in range(250)]

    assert [job.id for job in client.fine_tuning.jobs.list()] == made[::-1]
    assert [job.id for job in client.fine_tuning.jobs.list(limit=125)] == made[::-1]
    assert len(client.fine_tuning.jobs.list().data) == 20
    long = client.fine_tuning.jobs.list(limit=250)  # the service has a limit of its own
    assert (len(long.data), long.has_more) == (20, True)


def test_the_asynchronous_client_creates_and_lists_jobs_as_well(service: Service, key: str) -> None:
    async def create_and_list() -> tuple[list[WireJob], list[WireJob]]:
        async with service.async_client(key) as client:
            made = await asyncio.gather(*(client.fine_tuning.jobs.create(**REQUEST) for _ in range(25)))
            return list(made), [job async for job in client.fine_tuning.jobs.list(limit=10)]

    made, listed = asyncio.run(create_and_list())

    assert sorted(job.id for job in listed) == sorted(job.id for job in made)
    assert len(listed) == 25


def test_a_request_that_is_sent_twice_makes_one_job(client: OpenAI) -> None:
    """The official client sends the key by itself when it repeats a request whose answer was lost."""
    headers = {"Idempotency-Key": "key-1"}

    first = client.fine_tuning.jobs.create(**REQUEST, extra_headers=headers)
    again = client.fine_tuning.jobs.create(**REQUEST, extra_headers=headers)

    assert again == first
    assert messages(client, first.id) == [f"Created fine-tuning job: {first.id}"]
    with pytest.raises(openai.BadRequestError, match="use a new key"):
        client.fine_tuning.jobs.create(**{**REQUEST, "model": "other"}, extra_headers=headers)
    assert [job.id for job in client.fine_tuning.jobs.list()] == [first.id]


def test_jobs_are_found_by_their_metadata(client: OpenAI) -> None:
    jobs = client.fine_tuning.jobs
    both = jobs.create(**REQUEST, metadata={"team": "docs", "a b": "x&y=z"}).id
    one = jobs.create(**REQUEST, metadata={"team": "docs"}).id
    empty = jobs.create(**REQUEST, metadata={"team": "", "[k]": "\u00fc"}).id
    without = jobs.create(**REQUEST).id

    def found(**query: Any) -> list[str]:
        return [job.id for job in jobs.list(limit=1, **query)]

    assert found() == [without, empty, one, both]
    assert found(metadata={"team": "docs"}) == [one, both]
    assert found(metadata={"team": "docs", "a b": "x&y=z"}) == [both]
    assert found(metadata={"team": ""}) == [empty]
    assert found(metadata={"[k]": "\u00fc"}) == [empty]
    assert found(metadata={"team": "Docs"}) == []
    assert found(metadata={}) == [without, empty, one, both]
    assert found(extra_query={"metadata": "null"}) == [without]
    assert found(extra_query={"metadata[team]": "docs"}) == [one, both]


def test_a_second_cancel_returns_the_cancelled_job(client: OpenAI) -> None:
    id = client.fine_tuning.jobs.create(**REQUEST).id

    first, second = client.fine_tuning.jobs.cancel(id), client.fine_tuning.jobs.cancel(id)

    assert first.status == "cancelled"
    assert second == first
    assert messages(client, id) == ["Fine-tuning job cancelled", f"Created fine-tuning job: {id}"]


def test_a_job_is_paused_resumed_and_finished(client: OpenAI, worker: FineTuningStore) -> None:
    jobs = client.fine_tuning.jobs
    id = jobs.create(**REQUEST).id
    worker.jobs.enqueue(id)
    worker.jobs.start(id, hyperparameters=Hyperparameters(n_epochs=3))

    statuses: list[str] = [jobs.pause(id).status, jobs.resume(id).status]
    assert statuses == ["paused", "queued"]
    worker.jobs.start(id)
    worker.jobs.succeed(id, fine_tuned_model="ft:gpt-4o-mini:ours::1", trained_tokens=12, result_files=["file-1"])

    job = jobs.retrieve(id)
    assert (job.status, job.fine_tuned_model, job.trained_tokens) == ("succeeded", "ft:gpt-4o-mini:ours::1", 12)
    assert (job.result_files, job.hyperparameters.n_epochs) == (["file-1"], 3)
    assert job.finished_at is not None
    assert messages(client, id)[:2] == ["Fine-tuning job resumed", "Fine-tuning job paused"]
    with pytest.raises(openai.BadRequestError, match='already has status "succeeded"'):
        jobs.cancel(id)
    assert len(messages(client, id)) == 3


def test_events_and_checkpoints_are_listed_from_the_newest_and_returned_as_stored(client: OpenAI, worker: FineTuningStore) -> None:
    id = client.fine_tuning.jobs.create(**REQUEST).id
    worker.jobs.start(id)
    for step in range(1, 46):
        worker.events.append(id, f"Step {step}", type="metrics", data={"step": step, "train_loss": 1.25e-05})
        worker.checkpoints.create(id, step_number=step, fine_tuned_model_checkpoint=f"ft:a::b:ckpt-step-{step}", metrics={"step": step})

    assert messages(client, id) == [*(f"Step {step}" for step in range(45, 0, -1)), f"Created fine-tuning job: {id}"]
    steps = [checkpoint.step_number for checkpoint in client.fine_tuning.jobs.checkpoints.list(id)]
    assert steps == list(range(45, 0, -1))
    page = client.fine_tuning.jobs.with_raw_response.list_events(id, limit=46)
    assert json.loads(page.text)["data"] == [event_to_wire(event) for event in worker.events.list(id, limit=46)]
    raw = client.fine_tuning.jobs.checkpoints.with_raw_response.list(id, limit=45)
    assert json.loads(raw.text)["data"] == [checkpoint_to_wire(row) for row in worker.checkpoints.list(id, limit=45)]


@pytest.mark.parametrize(  # xdist would take an id with "::" for another module, and start a service for it
    "model", ["ft:gpt-4o-mini:ours::abc:ckpt-step-10", "ours/fine tuned?/permissions \u00fc"], ids=["a checkpoint's", "any"]
)
def test_a_model_is_shared_with_projects_until_a_permission_is_deleted(client: OpenAI, worker: FineTuningStore, model: str) -> None:
    succeeded(client, worker, model)
    permissions = client.fine_tuning.checkpoints.permissions
    projects = [f"proj_{number:02}" for number in range(25)]

    made = permissions.create(model, project_ids=projects).data

    assert [permission.project_id for permission in made] == projects
    assert [permission.project_id for permission in permissions.create(model, project_ids=["proj_03", "proj_25"])] == ["proj_03", "proj_25"]
    assert [permission.project_id for permission in permissions.list(model)] == ["proj_25", *projects[::-1]]
    assert [permission.project_id for permission in permissions.list(model, order="ascending", limit=26)] == [*projects, "proj_25"]
    assert [permission.id for permission in permissions.list(model, project_id="proj_03")] == [made[3].id]
    deleted = permissions.delete(made[3].id, fine_tuned_model_checkpoint=model)
    assert deleted.to_dict() == {"id": made[3].id, "object": "checkpoint.permission", "deleted": True}
    assert list(permissions.list(model, project_id="proj_03")) == []
    with pytest.raises(openai.NotFoundError):
        permissions.delete(made[3].id, fine_tuned_model_checkpoint=model)


def test_two_organizations_never_see_each_others_rows(client: OpenAI, other: OpenAI, worker: FineTuningStore) -> None:
    model = "ft:gpt-4o-mini:theirs::1"
    id = succeeded(other, worker, model)
    running = other.fine_tuning.jobs.create(**REQUEST, metadata={"team": "docs"}).id
    [permission] = other.fine_tuning.checkpoints.permissions.create(model, project_ids=["proj_1"])
    mine = client.fine_tuning.jobs.create(**REQUEST).id
    event, checkpoint = other.fine_tuning.jobs.list_events(id).data[0], other.fine_tuning.jobs.checkpoints.list(id).data[0]
    before = [job.to_dict() for job in other.fine_tuning.jobs.list()]

    jobs, permissions = client.fine_tuning.jobs, client.fine_tuning.checkpoints.permissions
    assert [job.id for job in jobs.list()] == [mine]
    assert list(jobs.list(metadata={"team": "docs"})) == []
    for call in (jobs.retrieve, jobs.cancel, jobs.pause, jobs.resume, jobs.list_events, jobs.checkpoints.list):
        for theirs in (id, running):
            with pytest.raises(openai.NotFoundError) as refused:
                call(theirs)
            assert (refused.value.code, refused.value.param) == ("fine_tune_not_found", "fine_tune_id")
    with pytest.raises(openai.NotFoundError):
        permissions.list(model)
    with pytest.raises(openai.NotFoundError):
        permissions.create(model, project_ids=["proj_2"])
    with pytest.raises(openai.NotFoundError):
        permissions.delete(permission.id, fine_tuned_model_checkpoint=model)
    for call_after in (
        lambda: jobs.list(after=id),
        lambda: jobs.list_events(mine, after=event.id),
        lambda: jobs.checkpoints.list(mine, after=checkpoint.id),
    ):
        with pytest.raises(openai.BadRequestError) as rejected:
            call_after()
        assert rejected.value.param == "after"
    assert [job.to_dict() for job in other.fine_tuning.jobs.list()] == before
    assert [row.id for row in other.fine_tuning.checkpoints.permissions.list(model)] == [permission.id]


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"model": ""}, "model"),
        ({"training_file": None}, "training_file"),
        ({"seed": -1}, "seed"),
        ({"suffix": "a" * 65}, "suffix"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, "method.reinforcement.grader"),
        ({"metadata": {"k": "a" * 513}}, "metadata.k"),
        ({"extra_body": {"surprise": 1}}, "surprise"),
    ],
)
def test_the_error_of_a_wrong_request_names_its_member_and_nothing_is_created(client: OpenAI, changed: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(**{**REQUEST, **changed})

    assert (refused.value.param, refused.value.code, refused.value.type) == (param, None, "invalid_request_error")
    assert list(client.fine_tuning.jobs.list()) == []


def test_the_error_of_a_wrong_query_names_its_parameter(client: OpenAI) -> None:
    queries: list[tuple[dict[str, Any], str]] = [
        ({"limit": -1}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"extra_query": {"limit": "abc"}}, "limit"),
        ({"after": "ftjob-unknown"}, "after"),
        ({"extra_query": {"metadata": "docs"}}, "metadata"),
        ({"extra_query": {"metadata": "null", "metadata[k]": "v"}}, "metadata"),
    ]
    for query, param in queries:
        with pytest.raises(openai.BadRequestError) as refused:
            client.fine_tuning.jobs.list(**query)
        assert refused.value.param == param, query


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic key-1"}])
def test_without_a_valid_key_nothing_is_shown(client: OpenAI, headers: dict[str, str]) -> None:
    for call in (
        lambda: client.fine_tuning.jobs.list(extra_headers=headers),
        lambda: client.fine_tuning.jobs.create(**REQUEST, extra_headers=headers),
        lambda: client.fine_tuning.checkpoints.permissions.list("ft:a", extra_headers=headers),
    ):
        with pytest.raises(openai.AuthenticationError) as refused:
            call()
        assert (refused.value.code, refused.value.type) == ("invalid_api_key", "invalid_request_error")
    assert list(client.fine_tuning.jobs.list()) == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/nowhere", None, 404),
        ("DELETE", "/v1/fine_tuning/jobs", None, 405),
        ("POST", "/v1/fine_tuning/jobs", b"", 400),
        ("POST", "/v1/fine_tuning/jobs", b'{"model": ', 400),
        ("POST", "/v1/fine_tuning/jobs", b'{"model": NaN}', 400),
        ("POST", "/v1/fine_tuning/jobs", b"\xff\xfe{}", 400),
        ("POST", "/v1/fine_tuning/jobs", b"[" * 200_000, 400),
        ("POST", "/v1/fine_tuning/jobs", b'{"model": "' + b"a" * 1_000_000 + b'"}', 413),
        ("POST", "/v1/fine_tuning/jobs", b'{"\\ud800": 1}', 400),
    ],
)
def test_a_request_that_no_client_sends_is_refused_in_the_format_of_the_api(
    service: Service, method: str, path: str, body: bytes | None, status: int
) -> None:
    response = service.request(method, path, body)

    assert (response.status, response.content_type) == (status, "application/json")
    error = json.loads(response.body)["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["type"] == "invalid_request_error"


def test_the_demo_worker_finishes_a_job(tmp_path: Path) -> None:
    with running(f"sqlite:///{tmp_path}/jobs.db", demo_worker=True) as [service], service.client() as client:
        job = finished(client, client.fine_tuning.jobs.create(**REQUEST, suffix="mine").id)

        assert job.status == "succeeded"
        assert job.hyperparameters.to_dict() == {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 2.0}
        assert job.fine_tuned_model is not None
        assert [row.fine_tuned_model_checkpoint for row in client.fine_tuning.jobs.checkpoints.list(job.id)] == [job.fine_tuned_model]
        [permission] = client.fine_tuning.checkpoints.permissions.create(job.fine_tuned_model, project_ids=["proj_1"])
        assert permission.project_id == "proj_1"


def finished(client: OpenAI, id: str) -> WireJob:
    """Wait until the job has ended, and return it."""
    deadline = time.monotonic() + SECONDS
    while (job := client.fine_tuning.jobs.retrieve(id)).finished_at is None:
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    return job

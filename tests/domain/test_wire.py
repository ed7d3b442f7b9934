"""The wire format of jobs: recorded payloads are read, stored in every database and written again without loss.

`tests/fixtures/jobs` has a payload of each shape that the API and Azure have sent, `tests/fixtures/other_servers` those with values that
the API's schema does not have.
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from fine_tuning_store import (
    FineTuningJob,
    FineTuningStore,
    Hyperparameters,
    InvalidValueError,
    JobError,
    JobStatus,
    Method,
    job_from_wire,
    job_to_wire,
)
from fine_tuning_store.domain.job import STORE_MEMBERS
from fine_tuning_store.domain.job_validation import WIRE_MEMBERS, validate_for_storage
from fine_tuning_store.wire.jobs import job_with_members
from tests.support import strategies
from tests.support.factories import a_job
from tests.support.strategies import jobs, mutations, nested, recorded

JOBS = recorded("jobs") | recorded("other_servers")
STATUS_ALIASES = {"created": "validating_files", "pending": "queued", "pausing": "running", "resuming": "queued"}
TIMES = ("created_at", "finished_at", "estimated_finish")
FULL = JOBS["2025_09_succeeded"]
FIRST_VERSION = JOBS["2023_10_succeeded"]
on_each_job = pytest.mark.parametrize("payload", JOBS.values(), ids=JOBS)
on_each_profile = pytest.mark.parametrize("profile", ["latest", "2023-09"])
#: All examples of a property share the fixture `store`; each adds a job with a unique id.
on_databases = settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
without_databases = settings(max_examples=75, deadline=None, suppress_health_check=[*HealthCheck])


def without_empty(value: Any) -> Any:
    """Return a JSON value without members that are null or empty, at every level."""
    if isinstance(value, dict):
        members = {name: without_empty(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member not in (None, {}, [])}
    return [without_empty(member) for member in value] if isinstance(value, list) else value


def normalized(payload: dict[str, Any]) -> Any:
    """Return a payload as the latest profile writes it: with its name of the suffix, its times and "auto", without empty members."""
    renamed = {("user_provided_suffix" if name == "suffix" else name): value for name, value in payload.items() if value != ""}
    times = {name: in_seconds(renamed[name]) for name in TIMES if name in renamed}
    return without_empty(with_auto({**renamed, **times}))


def in_seconds(time: Any) -> Any:
    return math.floor(datetime.fromisoformat(time).timestamp()) if isinstance(time, str) else time


def with_auto(value: Any, *, in_hyperparameters: bool = False) -> Any:
    """Return a JSON value in which each hyperparameter of -1 is replaced with "auto"."""
    if in_hyperparameters and value == -1:
        return "auto"
    if not isinstance(value, dict) or in_hyperparameters:
        return value
    return {
        name: {key: with_auto(number, in_hyperparameters=True) for key, number in member.items()}
        if name == "hyperparameters" and isinstance(member, dict)
        else with_auto(member)
        for name, member in value.items()
    }


def part_of(written: Any, expected: Any) -> Any:
    """Return the members of a written payload that are expected too, at every level."""
    if not isinstance(written, dict) or not isinstance(expected, dict):
        return written
    return {name: part_of(written.get(name), member) for name, member in expected.items()}


def text_of(job: FineTuningJob) -> str:
    """Return the job as JSON text, in which 1, 1.0 and true differ although they are equal in Python."""
    return json.dumps(job_to_wire(job), sort_keys=True, allow_nan=False)


def job_or_error(payload: dict[str, Any]) -> FineTuningJob | InvalidValueError:
    """Return the job, or the error that refuses the payload. Any other exception fails the test."""
    try:
        return job_from_wire(payload)
    except InvalidValueError as refusal:
        return refusal


def stored_in(store: FineTuningStore, job: FineTuningJob) -> FineTuningJob:
    """Store a job, check that it is read unchanged, and return it. A job without an organization is stored for org-x."""
    owner = store if job.organization_id else store.for_organization("org-x")
    added = owner.jobs.add(job)
    assert added == replace(job, organization_id=job.organization_id or "org-x")
    found = store.jobs.get(job.id)
    assert found == added
    assert text_of(found) == text_of(added)
    return found


# Recorded payloads


@on_each_job
def test_a_recorded_job_is_read_and_written_without_loss(payload: dict[str, Any]) -> None:
    """The only addition is the copy of the method's hyperparameters at the top level."""
    written = without_empty(job_to_wire(job_from_wire(payload)))

    expected = normalized(payload)
    assert part_of(written, expected) == expected
    assert set(written) - set(expected) <= {"hyperparameters"}


@on_each_job
def test_a_recorded_job_that_was_written_is_read_as_the_same_job(payload: dict[str, Any]) -> None:
    job = job_from_wire(payload)

    assert job_from_wire(job_to_wire(job)) == job


def test_every_recorded_job_comes_back_from_the_database(store: FineTuningStore) -> None:
    for name, payload in JOBS.items():
        found = stored_in(store, job_from_wire(payload))

        written = without_empty(job_to_wire(found))
        expected = normalized(payload)
        assert part_of(written, expected) == expected, name
        assert job_from_wire(job_to_wire(found)) == found, name


def test_the_recorded_jobs_are_of_every_status() -> None:
    """Check that the tests above cover every status."""
    assert {job_from_wire(payload).status for payload in JOBS.values()} == set(JobStatus)
    assert {payload["status"] for payload in JOBS.values()} >= {*JobStatus, *STATUS_ALIASES}


@pytest.mark.parametrize(("alias", "status"), STATUS_ALIASES.items())
def test_a_status_of_another_api_is_read_as_its_equivalent(alias: str, status: str) -> None:
    assert job_from_wire({**JOBS["documented_resumed"], "status": alias}).status == status


STATUSES = {"training": "running", "completed": JobStatus.SUCCEEDED, "pending": "validating_files", "queued": "paused"}


@pytest.mark.parametrize(("word", "status"), STATUSES.items())
def test_a_word_of_another_server_is_read_as_the_caller_says_and_written_again(store: FineTuningStore, word: str, status: str) -> None:
    """The caller's words go before the words of the API."""
    payload = {**JOBS["documented_resumed"], "id": f"ftjob-{word}", "status": word}

    job = stored_in(store, job_from_wire(payload, statuses=STATUSES))

    assert job.status == status
    assert {job_to_wire(job, profile)["status"] for profile in ("latest", "azure", "2023-09")} == {word}
    assert job_from_wire(job_to_wire(job), statuses=STATUSES) == job


def test_an_unknown_status_is_refused_with_the_advice_to_name_its_meaning() -> None:
    with pytest.raises(InvalidValueError, match=r'job_from_wire\(payload, statuses=\{"training": "running"\}\)') as refusal:
        job_from_wire({**FULL, "status": "compressing"}, statuses={"training": "running"})
    assert refusal.value.field == "status"


@pytest.mark.parametrize(("field", "statuses"), [("statuses.training", {"training": "jogging"}), ("statuses", ["training"])])
def test_wrong_meanings_of_words_are_refused(field: str, statuses: Any) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        job_from_wire(FULL, statuses=statuses)
    assert refusal.value.field == field


def test_the_word_of_another_server_is_written_only_beside_its_status() -> None:
    job = job_from_wire({**FULL, "status": "resuming", "finished_at": 5})

    assert job_to_wire(job)["status"] == "resuming"
    for status in JobStatus:
        changed = replace(job, status=status)
        assert job_to_wire(changed)["status"] == ("resuming" if status == "queued" else status)
        assert validate_for_storage(changed).wire_status == ("queued:resuming" if status == "queued" else None)


def test_a_finished_at_of_an_open_job_is_written_until_the_job_ends() -> None:
    job = job_from_wire(JOBS["azure_paused_with_an_end"])

    assert job.finished_at is None
    assert job_to_wire(job)["finished_at"] == 1756785054
    ended = replace(job, status=JobStatus.CANCELLED, finished_at=1756785060)
    assert {job_to_wire(ended, profile)["finished_at"] for profile in ("latest", "azure", "2023-09")} == {1756785060}
    assert validate_for_storage(ended).extra == {}


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("error_text", JobError(message="CUDA error: out of memory")),
        ("error_number", JobError(message="137")),
        ("error_list", JobError(message='[{"loc": ["n_epochs"], "msg": "too large"}, "and more"]')),
        ("error_code_number", JobError(code="500", message="Internal error", extra={"code": 500})),
    ],
)
def test_an_error_of_another_shape_has_a_message_and_a_code_for_queries(store: FineTuningStore, name: str, error: JobError) -> None:
    job = stored_in(store, job_from_wire(JOBS[name]))

    assert job.error == error
    assert job_to_wire(job)["error"] == JOBS[name]["error"]
    assert job_to_wire(replace(job, error=JobError(code="c")))["error"] == {"code": "c", "message": None, "param": None}
    assert [code.code for code in store.statistics.error_codes()] == [error.code]


def test_times_in_iso_8601_are_read_to_the_second() -> None:
    job = job_from_wire(JOBS["times_in_iso_8601"])

    assert (job.created_at, job.finished_at) == (1756781454, 1756785054)


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("time", ["2025-09-02T02:50:54", "2025-09-02", "1756781454", "yesterday", "", "2025-13-02T02:50:54Z"])
def test_a_text_that_is_no_instant_is_refused(name: str, time: str) -> None:
    with pytest.raises(InvalidValueError, match="with a time zone") as refusal:
        job_from_wire({**FULL, name: time})
    assert refusal.value.field == name


def test_empty_names_of_other_servers_are_read_as_absent() -> None:
    job = job_from_wire(JOBS["vertex_by_a_proxy"])

    assert (job.organization_id, job.fine_tuned_model, job.validation_file) == (None, None, None)


@pytest.mark.parametrize("error", [None, {}, {"code": None, "message": None, "param": None}, {"error": None}, "", [], False, 0])
def test_an_error_without_content_is_read_as_none(error: Any) -> None:
    job = job_from_wire({**FULL, "error": error})

    assert job.error is None
    assert job_to_wire(job)["error"] is None


def test_the_organization_of_the_caller_replaces_that_of_the_payload() -> None:
    assert job_from_wire(FULL, organization_id="org-x").organization_id == "org-x"
    assert job_from_wire(FULL).organization_id == FULL["organization_id"]


def test_the_methods_hyperparameters_take_precedence_over_those_at_the_top_level() -> None:
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 7, "batch_size": None}}}

    job = job_from_wire({**FULL, "hyperparameters": {"n_epochs": "auto", "batch_size": 2}, "method": method})

    assert job.hyperparameters == Hyperparameters(n_epochs=7, batch_size=2)


@pytest.mark.parametrize(("type", "repeated"), [("supervised", True), ("dpo", False), ("reinforcement", False)])
def test_only_supervised_jobs_repeat_their_hyperparameters_at_the_top_level(type: str, repeated: bool) -> None:
    written = job_to_wire(a_job(method=Method(type=type), hyperparameters=Hyperparameters(n_epochs=3)))

    assert written["hyperparameters"] == ({"n_epochs": 3} if repeated else None)
    assert written["method"] == {"type": type, type: {"hyperparameters": {"n_epochs": 3}}}


# Profiles


def test_the_latest_profile_has_the_members_of_a_full_row_in_their_order() -> None:
    written = list(job_to_wire(job_from_wire(FULL)))

    assert [name for name in written if name in FULL] == list(FULL)


def test_every_member_of_a_job_is_generated_read_written_and_checked() -> None:
    """Each field of FineTuningJob needs a line in tests/support/strategies.py and in both functions of wire/jobs.py."""
    for name in WIRE_MEMBERS:
        assert name in job_to_wire(a_job()), f"_latest in wire/jobs.py does not write FineTuningJob.{name}"
    generated = Path(strategies.__file__).read_text().partition("return FineTuningJob(")[2].partition("\n    )\n")[0]
    read = inspect.getsource(job_with_members)
    checked = inspect.getsource(validate_for_storage)
    for field in fields(FineTuningJob):
        if field.name in ("worker_id", "lease_expires_at"):
            continue  # no lease is imported
        assert f"job.{field.name}" in checked, f"validate_for_storage in domain/job_validation.py does not check FineTuningJob.{field.name}"
        if field.name in STORE_MEMBERS:
            continue
        assert f"{field.name}=" in generated, f"jobs() in tests/support/strategies.py does not generate FineTuningJob.{field.name}"
        assert f"{field.name}=" in read, f"job_with_members in wire/jobs.py does not read FineTuningJob.{field.name}"


@on_each_job
def test_the_latest_profile_has_a_fixed_set_of_members_besides_unknown_ones(payload: dict[str, Any]) -> None:
    unknown = {name for name in payload if name not in WIRE_MEMBERS} - {"suffix"}

    assert set(job_to_wire(job_from_wire(payload))) == set(WIRE_MEMBERS) | unknown


@on_each_job
def test_the_first_profile_has_exactly_the_members_of_2023(payload: dict[str, Any]) -> None:
    written = job_to_wire(job_from_wire(payload), "2023-09")

    assert set(written) == set(FIRST_VERSION)
    assert len(written) == 14
    assert set(written["hyperparameters"]) == {"n_epochs"}


def test_a_job_of_2023_is_written_in_the_first_profile_exactly_as_it_was_sent() -> None:
    for name in ("2023_10_validating_files", "2023_10_queued", "2023_10_running", "2023_10_succeeded"):
        assert job_to_wire(job_from_wire(JOBS[name]), "2023-09") == JOBS[name]


def test_the_first_profile_writes_auto_for_absent_epochs() -> None:
    assert job_to_wire(a_job(), "2023-09")["hyperparameters"] == {"n_epochs": "auto"}


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(InvalidValueError) as refusal:
        job_to_wire(a_job(), "2031")  # type: ignore[arg-type]

    assert refusal.value.field == "profile"


# Wrong input

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("object", {"object": "fine_tuning.job.event"}),
    ("object", {"object": ["fine_tuning.job"]}),
    *[(name, {name: None}) for name in ("id", "created_at", "model", "training_file", "status")],
    *[(name, {name: ""}) for name in ("id", "model", "training_file", "status")],
    *[(name, {name: 5}) for name in ("id", "model", "training_file", "organization_id", "status", "validation_file", "fine_tuned_model")],
    ("id", {"id": "i" * 256}),
    ("model", {"model": "m" * 513}),
    ("organization_id", {"organization_id": "o" * 129}),
    ("status", {"status": "telepathic"}),
    ("status", {"status": "RUNNING"}),
    ("status", {"status": ["running"]}),
    ("status", {"status": {}}),
    *[(name, {name: True}) for name in ("created_at", "finished_at", "trained_tokens", "seed", "estimated_finish")],
    *[(name, {name: 2**63}) for name in ("created_at", "finished_at", "trained_tokens", "seed", "estimated_finish")],
    *[(name, {name: 1.5}) for name in ("created_at", "finished_at", "trained_tokens", "seed", "estimated_finish")],
    *[(name, {name: "1692661014"}) for name in ("created_at", "finished_at", "trained_tokens", "seed", "estimated_finish")],
    ("created_at", {"created_at": math.nan}),
    ("created_at", {"created_at": math.inf}),
    ("created_at", {"created_at": 1e300}),
    ("extra.finished_at", {"status": "running", "finished_at": 2**63}),
    ("error", {"error": "NUL \0"}),
    ("error[0]", {"error": [math.nan]}),
    ("error.message", {"error": {"message": "NUL \0"}}),
    ("error.message", {"error": {"message": "lone \ud800"}}),
    ("error.details.loss", {"error": {"message": "m", "details": {"loss": math.nan}}}),
    ("result_files", {"result_files": "file-1"}),
    ("result_files", {"result_files": 1}),
    ("result_files", {"result_files": {"file-1": 1}}),
    ("result_files[1]", {"result_files": ["file-1", {"id": "file-2"}]}),
    ("result_files[0]", {"result_files": [None]}),
    ("result_files", {"result_files": ["file-1"] * 1001}),
    ("hyperparameters", {"hyperparameters": "auto"}),
    ("hyperparameters", {"hyperparameters": [3]}),
    ("hyperparameters.n_epochs", {"method": None, "hyperparameters": {"n_epochs": True}}),
    ("hyperparameters.beta", {"method": None, "hyperparameters": {"beta": False}}),
    ("hyperparameters.n_epochs", {"hyperparameters": {"n_epochs": 2**63}}),
    ("hyperparameters.n_epochs", {"hyperparameters": {"n_epochs": 10**400}}),
    ("hyperparameters.learning_rate_multiplier", {"hyperparameters": {"learning_rate_multiplier": math.inf}}),
    ("hyperparameters.reasoning_effort", {"hyperparameters": {"reasoning_effort": "\0"}}),
    ("hyperparameters (a key)", {"hyperparameters": {"\ud800": 1}}),
    ("method", {"method": "supervised"}),
    ("method.type", {"method": {"type": 5}}),
    ("method.type", {"method": {"type": "t" * 65}}),
    ("method.type", {"method": {"type": "type"}}),
    ("method.dpo", {"method": {"type": "dpo", "dpo": "hyperparameters"}}),
    ("method.dpo.hyperparameters", {"method": {"type": "dpo", "dpo": {"hyperparameters": [1]}}}),
    ("method.reinforcement.grader.min", {"method": {"type": "reinforcement", "reinforcement": {"grader": {"min": -math.inf}}}}),
    ("metadata", {"metadata": [["k", "v"]]}),
    ("metadata", {"metadata": "k=v"}),
    ("metadata.k", {"metadata": {"k": 1}}),
    ("metadata.k", {"metadata": {"k": True}}),
    ("metadata.k", {"metadata": {"k": None}}),
    ("metadata.k", {"metadata": {"k": {"deep": "v"}}}),
    ("metadata.k", {"metadata": {"k": "v" * 513}}),
    ("metadata.k", {"metadata": {"k": "\0"}}),
    ("metadata (a key)", {"metadata": {"k" * 65: "v"}}),
    ("metadata (a key)", {"metadata": {"\udfff": "v"}}),
    ("integrations", {"integrations": {"type": "wandb"}}),
    ("integrations", {"integrations": "wandb"}),
    ("integrations[0]", {"integrations": ["wandb"]}),
    ("integrations[1].loss", {"integrations": [{"type": "mlflow"}, {"type": "mlflow", "loss": math.nan}]}),
    ("integrations[0].wandb.tags[0]", {"integrations": [{"type": "wandb", "wandb": {"tags": ["\0"]}}]}),
    ("shared_with_openai", {"shared_with_openai": 0}),
    ("shared_with_openai", {"shared_with_openai": "false"}),
    ("usage_metrics.tokens", {"usage_metrics": {"tokens": 2**63}}),
    ("usage_metrics.tokens[0]", {"usage_metrics": {"tokens": [-(2**63) - 1]}}),
    ("usage_metrics (a key)", {"usage_metrics": {"\0": 1}}),
    ("suffix", {"user_provided_suffix": ["s"]}),
    ("eval_id", {"eval_id": 7}),
    ("extra.unknown", {"unknown": math.nan}),
    ("extra.unknown", {"unknown": "\ud800"}),
    ("extra (a key)", {"\0": 1}),
]


@pytest.mark.parametrize(("field", "members"), WRONG, ids=[f"{number}-{field}" for number, (field, _) in enumerate(WRONG)])
def test_the_error_for_a_wrong_payload_names_the_member(field: str, members: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        job_from_wire({**FULL, **members})

    assert refusal.value.field == field
    assert str(refusal.value).startswith(f"{field}: ")


@pytest.mark.parametrize("payload", [None, [], "fine_tuning.job", 5, [FULL], b"{}", json.dumps(FULL)])
def test_a_payload_that_is_not_an_object_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        job_from_wire(payload)

    assert refusal.value.field == "payload"


@pytest.mark.parametrize("missing", ["id", "created_at", "model", "training_file", "status"])
def test_a_payload_without_a_required_member_is_refused(missing: str) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        job_from_wire({name: value for name, value in FULL.items() if name != missing})

    assert (refusal.value.field, refusal.value.rule) == (missing, "is required")


@pytest.mark.parametrize("depth", [101, 500, 100_000])
@pytest.mark.parametrize("name", ["usage_metrics", "hyperparameters", "error", "method", "unknown"])
def test_json_that_is_nested_too_deeply_is_refused_in_every_member(name: str, depth: int) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        job_from_wire({**FULL, name: {"deep": nested(depth - 1)}})

    assert refusal.value.field.startswith(("extra." if name == "unknown" else "") + name)
    assert "deeper than 100" in str(refusal.value)


@pytest.mark.parametrize("name", ["usage_metrics", "error"])
def test_json_of_the_maximum_depth_is_accepted(name: str) -> None:
    payload = {**FULL, name: {"deep": nested(99, "the end")}}

    assert job_to_wire(job_from_wire(payload))[name]["deep"] == payload[name]["deep"]


def jobs_containing(value: Any) -> Iterator[FineTuningJob]:
    """Yield jobs that have the value in one of the members of free-form JSON, each in another one."""
    for type in ("supervised", "reinforcement"):
        yield a_job(method=Method(type=type, grader=value))
        yield a_job(method=Method(type=type, response_format=value))
        yield a_job(method=Method(type=type, extra={"other": value}))
        yield a_job(method=Method(type=type, extra={type: {"other": value}}))
        yield a_job(method=Method(type=type), hyperparameters=Hyperparameters(extra={"other": value}))
    yield a_job(hyperparameters=Hyperparameters(extra={"other": value}))
    yield a_job(hyperparameters=Hyperparameters(extra={"n_epochs": value}))
    yield a_job(error=JobError(message="m", extra={"other": value}))
    yield a_job(integrations=({"type": "other", "other": value},))
    yield a_job(integrations=({"type": "wandb", "wandb": {"project": value}},))
    yield a_job(usage_metrics=value)
    yield a_job(extra={"other": value})


@pytest.mark.parametrize("value", [nested(levels) for levels in range(95, 102)] + [-1, -1.0, True, False, 0, "", [], {}, {"": None}])
def test_what_is_stored_can_be_written_and_read_again(sqlite_store: FineTuningStore, value: Any) -> None:
    """`add` refuses free-form JSON that does not survive being written and read."""
    for job in jobs_containing(value):
        try:
            stored = sqlite_store.jobs.add(job)
        except InvalidValueError:
            continue
        assert job_from_wire(job_to_wire(stored)) == stored


# Copies


def clear_all(value: Any) -> None:
    """Clear every dict and list in a JSON value."""
    for member in list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
        clear_all(member)
    if isinstance(value, (dict, list)):
        value.clear()


@on_each_profile
@on_each_job
def test_changing_a_written_payload_does_not_change_the_job(payload: dict[str, Any], profile: Any) -> None:
    job = job_from_wire(payload)
    before = deepcopy(job)

    clear_all(job_to_wire(job, profile))

    assert job == before


@on_each_job
def test_changing_a_payload_that_was_read_does_not_change_the_job(payload: dict[str, Any]) -> None:
    copy = deepcopy(payload)
    job = job_from_wire(copy)
    assert copy == payload

    clear_all(copy)

    assert job == job_from_wire(payload)


# Secrets

SECRET = "4f0a9c-not-for-the-database"


@pytest.mark.parametrize(
    "integration",
    [
        {"type": "wandb", "wandb": {"project": "p", "api_key": SECRET}},
        {"type": "wandb", "wandb": {"project": "p"}, "api_key": SECRET},
        {"type": "wandb", "wandb": {"project": "p", "settings": {"apiKey": SECRET}}, "wandb_api_key": SECRET},
        {"type": "wandb", "project": "p", "api_key": SECRET},
        {"type": "wandb", "wandb": None, "api_key": SECRET},
        {"type": "wandb", "wandb": [{"api_key": SECRET}]},
        {"wandb": {"project": "p", "api_key": SECRET}},
    ],
    ids=[
        "in the block",
        "next to the block",
        "in both, under other names",
        "without a block",
        "with a null block",
        "with a list",
        "without a type",
    ],
)
def test_an_api_key_of_weights_and_biases_is_never_stored(sqlite_store: FineTuningStore, integration: dict[str, Any]) -> None:
    """The key is dropped or the payload is refused. It is neither stored nor part of an error message."""
    job = job_or_error({**FULL, "integrations": [integration]})
    if isinstance(job, InvalidValueError):
        assert SECRET not in str(job)
        return

    assert SECRET not in repr(job)
    assert SECRET not in text_of(sqlite_store.jobs.add(job))


def test_the_known_members_of_a_weights_and_biases_block_are_kept() -> None:
    block = {"project": "p", "name": "n", "entity": None, "tags": ["a", "b"], "run_id": "ftjob-1"}

    job = job_from_wire({**FULL, "integrations": [{"type": "wandb", "wandb": {**block, "api_key": SECRET}}]})

    assert job_to_wire(job)["integrations"] == [{"type": "wandb", "wandb": block}]


# Values that no column can store


@pytest.mark.parametrize("value", [2.5, 0, -3, "many", "", "AUTO", [3], {"value": 3}, 1e300])
@pytest.mark.parametrize("name", ["n_epochs", "eval_interval"])
def test_a_hyperparameter_that_no_column_can_store_is_kept_in_extra(name: str, value: Any) -> None:
    job = job_from_wire({**FULL, "method": None, "hyperparameters": {name: value}})

    assert job.hyperparameters == Hyperparameters(extra={name: value})
    assert job_to_wire(job)["hyperparameters"] == {name: value}


@pytest.mark.parametrize("value", [0, -0.5, 2**53 + 1, "many"])
def test_a_fraction_that_no_column_can_store_is_kept_in_extra(value: Any) -> None:
    job = job_from_wire({**FULL, "method": None, "hyperparameters": {"beta": value}})

    assert job.hyperparameters == Hyperparameters(extra={"beta": value})


def test_values_that_no_column_can_store_come_back_from_the_database(store: FineTuningStore) -> None:
    values = {
        "n_epochs": 2.5,
        "batch_size": 0,
        "learning_rate_multiplier": "many",
        "beta": 2**53 + 1,
        "reasoning_effort": "",
        "lora": {"rank": 8},
    }

    job = stored_in(store, job_from_wire({**FULL, "method": None, "hyperparameters": values}))

    assert job.hyperparameters == Hyperparameters(extra=values)
    assert job_to_wire(job)["hyperparameters"] == values


def test_floats_without_a_fraction_are_read_as_integers() -> None:
    job = job_from_wire(JOBS["floats_for_whole_numbers"])

    numbers = (job.created_at, job.finished_at, job.trained_tokens, job.seed, job.hyperparameters.n_epochs, job.hyperparameters.batch_size)
    assert {type(number) for number in numbers} == {int}


# Properties

_numbers = itertools.count()


def with_unique_id(job: FineTuningJob) -> FineTuningJob:
    return replace(job, id=f"{job.id}-{next(_numbers)}")


@without_databases
@given(job=jobs())
def test_any_job_comes_back_from_the_wire(job: FineTuningJob) -> None:
    text = json.dumps(job_to_wire(job), allow_nan=False)

    read = job_from_wire(json.loads(text))

    assert read == job
    assert text_of(read) == text_of(job)


@on_databases
@given(job=jobs())
def test_any_job_comes_back_from_the_database(store: FineTuningStore, job: FineTuningJob) -> None:
    stored_in(store, with_unique_id(job))


@without_databases
@given(payload=mutations("jobs"))
def test_any_payload_can_be_read_and_written_or_its_error_names_the_member(payload: dict[str, Any]) -> None:
    """No exception other than InvalidValueError is raised, and a payload that was read can be written and read again."""
    job = job_or_error(payload)
    if isinstance(job, InvalidValueError):
        assert str(job).startswith(f"{job.field}: ")
        return

    read = job_from_wire(json.loads(text_of(job)))
    assert read == job
    assert text_of(read) == text_of(job)
    assert len(job_to_wire(job, "2023-09")) == 14


@on_databases
@given(payload=mutations("jobs"))
def test_any_payload_that_is_read_can_be_stored(store: FineTuningStore, payload: dict[str, Any]) -> None:
    job = job_or_error(payload)
    assume(not isinstance(job, InvalidValueError))
    assert isinstance(job, FineTuningJob)

    stored_in(store, with_unique_id(job))


def test_the_text_of_an_error_code_that_is_an_object_does_not_depend_on_the_order_of_its_members() -> None:
    wire = job_to_wire(a_job(status="failed"))
    one, other = (job_from_wire(wire | {"error": {"code": code, "message": "m"}}) for code in ({"b": 1, "a": 2}, {"a": 2, "b": 1}))
    assert one.error == other.error

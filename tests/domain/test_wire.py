"""The wire: what servers sent comes in, keeps what it said, and goes out again; also by way of every database.

`tests/fixtures/jobs` holds a payload of each shape that a server ever sent.
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields, replace
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
from tests.support import strategies
from tests.support.factories import a_job
from tests.support.strategies import jobs, mutations, nested, recorded

JOBS = recorded("jobs")
NEWER_WORDS = {"created": "validating_files", "pending": "queued", "pausing": "running"}
FULL = JOBS["2025_09_succeeded"]
FIRST_VERSION = JOBS["2023_10_succeeded"]
on_each_job = pytest.mark.parametrize("payload", JOBS.values(), ids=JOBS)
on_each_profile = pytest.mark.parametrize("profile", ["latest", "2023-09"])
#: The fixture `store` serves all examples of a property: each adds a job of an id of its own.
on_databases = settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
without_databases = settings(max_examples=75, deadline=None, suppress_health_check=[*HealthCheck])


def said(value: Any) -> Any:
    """What a JSON value says: members that are null or empty say nothing."""
    if isinstance(value, dict):
        members = {name: said(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member not in (None, {}, [])}
    return [said(member) for member in value] if isinstance(value, list) else value


def as_read(payload: dict[str, Any]) -> Any:
    """What a payload says in the words of today: the statuses of other times, Azure's suffix and its -1 are translated."""
    renamed = {("user_provided_suffix" if name == "suffix" else name): value for name, value in payload.items() if value is not None}
    return said({**with_auto(renamed), "status": NEWER_WORDS.get(payload["status"], payload["status"])})


def with_auto(value: Any, *, of_training: bool = False) -> Any:
    """A JSON value in which a hyperparameter of -1 is auto."""
    if of_training and value == -1:
        return "auto"
    if not isinstance(value, dict) or of_training:
        return value
    return {
        name: {key: with_auto(number, of_training=True) for key, number in member.items()}
        if name == "hyperparameters" and isinstance(member, dict)
        else with_auto(member)
        for name, member in value.items()
    }


def part_of(answered: Any, expected: Any) -> Any:
    """The part of an answer that stands at the places of what is expected."""
    if not isinstance(answered, dict) or not isinstance(expected, dict):
        return answered
    return {name: part_of(answered.get(name), member) for name, member in expected.items()}


def text_of(job: FineTuningJob) -> str:
    """The job as JSON text, in which 1, 1.0 and true differ although Python calls them equal."""
    return json.dumps(job_to_wire(job), sort_keys=True, allow_nan=False)


def reading(payload: dict[str, Any]) -> FineTuningJob | InvalidValueError:
    """The job, or the refusal: the only two things that may come of a payload."""
    try:
        return job_from_wire(payload)
    except InvalidValueError as refusal:
        return refusal


def stored_in(store: FineTuningStore, job: FineTuningJob) -> FineTuningJob:
    """The job as it comes back from the database. A payload without an organization is given one by the store."""
    owner = store if job.organization_id else store.for_organization("org-x")
    added = owner.jobs.add(job)
    assert added == replace(job, organization_id=job.organization_id or "org-x")
    found = store.jobs.get(job.id)
    assert found == added
    assert text_of(found) == text_of(added)
    return found


# What servers sent


@on_each_job
def test_a_recorded_job_says_the_same_after_it_was_read_and_written(payload: dict[str, Any]) -> None:
    """Nothing is lost, and nothing appears but the mirror of the method's hyperparameters at the top."""
    answered = said(job_to_wire(job_from_wire(payload)))

    expected = as_read(payload)
    assert part_of(answered, expected) == expected
    assert set(answered) - set(expected) <= {"hyperparameters"}


@on_each_job
def test_a_recorded_job_is_the_same_job_when_its_own_words_are_read_again(payload: dict[str, Any]) -> None:
    job = job_from_wire(payload)

    assert job_from_wire(job_to_wire(job)) == job


def test_every_recorded_job_comes_back_from_the_database(store: FineTuningStore) -> None:
    for name, payload in JOBS.items():
        found = stored_in(store, job_from_wire(payload))

        answered = said(job_to_wire(found))
        expected = as_read(payload)
        assert part_of(answered, expected) == expected, name
        assert job_from_wire(job_to_wire(found)) == found, name


def test_the_recorded_jobs_are_of_every_status() -> None:
    """So that the tests above mean what they say."""
    assert {job_from_wire(payload).status for payload in JOBS.values()} == set(JobStatus)
    assert {payload["status"] for payload in JOBS.values()} >= {*JobStatus, *NEWER_WORDS}


@pytest.mark.parametrize(("foreign", "ours"), NEWER_WORDS.items())
def test_a_status_of_another_time_reads_as_its_successor(foreign: str, ours: str) -> None:
    assert job_from_wire({**JOBS["documented_resumed"], "status": foreign}).status == ours


@pytest.mark.parametrize("error", [None, {}, {"code": None, "message": None, "param": None}, {"error": None}])
def test_an_error_that_says_nothing_is_no_error(error: Any) -> None:
    job = job_from_wire({**FULL, "error": error})

    assert job.error is None
    assert job_to_wire(job)["error"] is None


def test_the_organization_of_the_caller_takes_the_place_of_the_payloads_own() -> None:
    assert job_from_wire(FULL, organization_id="org-x").organization_id == "org-x"
    assert job_from_wire(FULL).organization_id == FULL["organization_id"]


def test_the_methods_hyperparameters_come_before_those_at_the_top() -> None:
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 7, "batch_size": None}}}

    job = job_from_wire({**FULL, "hyperparameters": {"n_epochs": "auto", "batch_size": 2}, "method": method})

    assert job.hyperparameters == Hyperparameters(n_epochs=7, batch_size=2)


@pytest.mark.parametrize(("type", "mirrored"), [("supervised", True), ("dpo", False), ("reinforcement", False)])
def test_only_supervised_jobs_show_their_hyperparameters_at_the_top(type: str, mirrored: bool) -> None:
    answered = job_to_wire(a_job(method=Method(type=type), hyperparameters=Hyperparameters(n_epochs=3)))

    assert answered["hyperparameters"] == ({"n_epochs": 3} if mirrored else None)
    assert answered["method"] == {"type": type, type: {"hyperparameters": {"n_epochs": 3}}}


# Profiles


def test_the_latest_profile_has_the_members_of_a_full_row_in_their_order() -> None:
    written = list(job_to_wire(job_from_wire(FULL)))

    assert [name for name in written if name in FULL] == list(FULL)


def test_every_member_of_a_job_is_generated_read_written_and_checked() -> None:
    """A new field of FineTuningJob needs a line in tests/support/strategies.py and in both functions of wire/jobs.py."""
    for name in WIRE_MEMBERS:
        assert name in job_to_wire(a_job()), f"_latest in wire/jobs.py does not write FineTuningJob.{name}"
    generated = Path(strategies.__file__).read_text().partition("return FineTuningJob(")[2].partition("\n    )\n")[0]
    read = inspect.getsource(job_from_wire)
    checked = inspect.getsource(validate_for_storage)
    for field in fields(FineTuningJob):
        assert f"job.{field.name}" in checked, f"validate_for_storage in domain/job_validation.py does not check FineTuningJob.{field.name}"
        if field.name in STORE_MEMBERS:
            continue
        assert f"{field.name}=" in generated, f"jobs() in tests/support/strategies.py does not generate FineTuningJob.{field.name}"
        assert f"{field.name}=" in read, f"job_from_wire in wire/jobs.py does not read FineTuningJob.{field.name}"


@on_each_job
def test_the_latest_profile_always_has_the_same_members_beside_unknown_ones(payload: dict[str, Any]) -> None:
    unknown = {name for name in payload if name not in WIRE_MEMBERS} - {"suffix"}

    assert set(job_to_wire(job_from_wire(payload))) == set(WIRE_MEMBERS) | unknown


@on_each_job
def test_the_first_profile_has_exactly_the_members_of_its_time(payload: dict[str, Any]) -> None:
    answered = job_to_wire(job_from_wire(payload), "2023-09")

    assert set(answered) == set(FIRST_VERSION)
    assert len(answered) == 14
    assert set(answered["hyperparameters"]) == {"n_epochs"}


def test_a_job_of_the_first_time_is_written_in_the_first_profile_as_it_was_sent() -> None:
    for name in ("2023_10_validating_files", "2023_10_queued", "2023_10_running", "2023_10_succeeded"):
        assert job_to_wire(job_from_wire(JOBS[name]), "2023-09") == JOBS[name]


def test_the_first_profile_says_auto_where_there_are_no_epochs() -> None:
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
    *[(name, {name: ""}) for name in ("id", "model", "training_file", "organization_id", "status")],
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
    *[
        ("finished_at", {"status": word, "finished_at": 1})
        for word in ("running", "queued", "validating_files", "paused", "pending", "pausing")
    ],
    ("error", {"error": "it broke"}),
    ("error", {"error": []}),
    ("error.code", {"error": {"code": 400}}),
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
def test_a_wrong_payload_is_refused_by_the_name_of_its_member(field: str, members: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        job_from_wire({**FULL, **members})

    assert refusal.value.field == field
    assert str(refusal.value).startswith(f"{field}: ")


@pytest.mark.parametrize("payload", [None, [], "fine_tuning.job", 5, [FULL], b"{}", json.dumps(FULL)])
def test_a_payload_that_is_no_object_is_refused(payload: Any) -> None:
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
def test_json_that_is_nested_too_deep_is_refused_wherever_it_stands(name: str, depth: int) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        job_from_wire({**FULL, name: {"deep": nested(depth - 1)}})

    assert refusal.value.field.startswith(("extra." if name == "unknown" else "") + name)
    assert "deeper than 100" in str(refusal.value)


@pytest.mark.parametrize("name", ["usage_metrics", "error"])
def test_json_of_the_greatest_depth_is_taken(name: str) -> None:
    payload = {**FULL, name: {"deep": nested(99, "the end")}}

    assert job_to_wire(job_from_wire(payload))[name]["deep"] == payload[name]["deep"]


def in_every_place(value: Any) -> Iterator[FineTuningJob]:
    """Jobs that have the value in one of the places of free form."""
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
    """Whatever a place of free form holds: `add` refuses what the wire would not bring back."""
    for job in in_every_place(value):
        try:
            stored = sqlite_store.jobs.add(job)
        except InvalidValueError:
            continue
        assert job_from_wire(job_to_wire(stored)) == stored


# Copies


def spoil(value: Any) -> None:
    """Change everything in a JSON value that can be changed."""
    for member in list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
        spoil(member)
    if isinstance(value, (dict, list)):
        value.clear()


@on_each_profile
@on_each_job
def test_a_result_is_the_callers_to_change(payload: dict[str, Any], profile: Any) -> None:
    job = job_from_wire(payload)
    before = deepcopy(job)

    spoil(job_to_wire(job, profile))

    assert job == before


@on_each_job
def test_a_payload_is_the_callers_to_change(payload: dict[str, Any]) -> None:
    given = deepcopy(payload)
    job = job_from_wire(given)
    assert given == payload

    spoil(given)

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
    ids=["in the block", "beside the block", "in both, by other names", "without a block", "a null block", "a list", "without a type"],
)
def test_a_key_of_weights_and_biases_is_never_kept(sqlite_store: FineTuningStore, integration: dict[str, Any]) -> None:
    """Whether it is dropped or the payload is refused: it is not stored, and no message shows it."""
    job = reading({**FULL, "integrations": [integration]})
    if isinstance(job, InvalidValueError):
        assert SECRET not in str(job)
        return

    assert SECRET not in repr(job)
    assert SECRET not in text_of(sqlite_store.jobs.add(job))


def test_what_is_known_of_a_weights_and_biases_block_is_kept() -> None:
    block = {"project": "p", "name": "n", "entity": None, "tags": ["a", "b"], "run_id": "ftjob-1"}

    job = job_from_wire({**FULL, "integrations": [{"type": "wandb", "wandb": {**block, "api_key": SECRET}}]})

    assert job_to_wire(job)["integrations"] == [{"type": "wandb", "wandb": block}]


# What no column can hold


@pytest.mark.parametrize("value", [2.5, 0, -3, "many", "", "AUTO", [3], {"value": 3}, 1e300])
@pytest.mark.parametrize("name", ["n_epochs", "eval_interval"])
def test_a_hyperparameter_that_no_column_can_hold_comes_back_from_extra(name: str, value: Any) -> None:
    job = job_from_wire({**FULL, "method": None, "hyperparameters": {name: value}})

    assert job.hyperparameters == Hyperparameters(extra={name: value})
    assert job_to_wire(job)["hyperparameters"] == {name: value}


@pytest.mark.parametrize("value", [0, -0.5, 2**53 + 1, "many"])
def test_a_fraction_that_no_column_can_hold_comes_back_from_extra(value: Any) -> None:
    job = job_from_wire({**FULL, "method": None, "hyperparameters": {"beta": value}})

    assert job.hyperparameters == Hyperparameters(extra={"beta": value})


def test_what_no_column_can_hold_comes_back_from_the_database(store: FineTuningStore) -> None:
    given = {
        "n_epochs": 2.5,
        "batch_size": 0,
        "learning_rate_multiplier": "many",
        "beta": 2**53 + 1,
        "reasoning_effort": "",
        "lora": {"rank": 8},
    }

    job = stored_in(store, job_from_wire({**FULL, "method": None, "hyperparameters": given}))

    assert job.hyperparameters == Hyperparameters(extra=given)
    assert job_to_wire(job)["hyperparameters"] == given


def test_whole_numbers_that_come_as_floats_are_whole_numbers() -> None:
    job = job_from_wire(JOBS["floats_for_whole_numbers"])

    numbers = (job.created_at, job.finished_at, job.trained_tokens, job.seed, job.hyperparameters.n_epochs, job.hyperparameters.batch_size)
    assert {type(number) for number in numbers} == {int}


# Properties

_numbers = itertools.count()


def with_own_id(job: FineTuningJob) -> FineTuningJob:
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
    stored_in(store, with_own_id(job))


@without_databases
@given(payload=mutations("jobs"))
def test_any_payload_is_read_for_good_or_refused_by_name(payload: dict[str, Any]) -> None:
    """Whatever a server sends, nothing else is raised, and what was taken goes out and comes in again."""
    job = reading(payload)
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
    job = reading(payload)
    assume(not isinstance(job, InvalidValueError))
    assert isinstance(job, FineTuningJob)

    stored_in(store, with_own_id(job))

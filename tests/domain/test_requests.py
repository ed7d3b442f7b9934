"""Create requests held to the contract's ranges, errors in the API's words, and Azure's words read back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fine_tuning_store import (
    CheckpointNotFoundError,
    CheckpointPermissionNotFoundError,
    CursorNotFoundError,
    DatabaseUnreachableError,
    EngineConfigurationError,
    FineTuningJob,
    FineTuningStore,
    FineTuningStoreError,
    Hyperparameters,
    IllegalTransitionError,
    InvalidValueError,
    JobAlreadyExistsError,
    JobNotFoundError,
    JobReferencedError,
    Method,
    MissingDriverError,
    ReadOnlyStoreError,
    SchemaConflictError,
    SchemaLockTimeoutError,
    SchemaVersionError,
    UnitAlreadyOpenError,
    UnitEndedError,
    UnsupportedDatabaseError,
    error_to_wire,
    job_from_wire,
    job_request_from_wire,
    job_to_wire,
)
from tests.support.strategies import jobs, recorded

LEAST: dict[str, Any] = {"model": "gpt-4o-mini", "training_file": "file-abc"}
GRADER = {"type": "string_check", "name": "g", "input": "a", "reference": "b", "operation": "eq"}
WANDB = {"type": "wandb", "wandb": {"project": "p"}}
#: For each method the bounds of its hyperparameters: what is taken, and what is refused.
RANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "n_epochs": (["auto", 1, 50, 3.0], [0, 51, -1, 1.5, True, "3", "AUTO", [], {}]),
    "batch_size": (["auto", 1, 256], [0, 257, -1, 1.5, False, "8", []]),
    "learning_rate_multiplier": (["auto", 5e-324, 0.1, 2, 1e308], [0, -0.1, True, "1", float("nan"), float("inf"), 10**400]),
    "beta": (["auto", 1e-9, 1, 2, 2.0], [0, 2.0000001, -1, True, "1", []]),
    "compute_multiplier": (["auto", 0.0000100001, 1, 10], [0.00001, 0, 10.000001, -1, True, "1"]),
    "eval_interval": (["auto", 1, 10**6], [0, -1, 1.5, True, 2**63]),
    "eval_samples": (["auto", 1, 10**6], [0, -1, 1.5, True, 2**63]),
    "reasoning_effort": (["default", "low", "medium", "high"], ["auto", "", "max", 5, True, [], {}]),
}
METHODS: dict[str, tuple[str, ...]] = {
    "supervised": ("n_epochs", "batch_size", "learning_rate_multiplier"),
    "dpo": ("n_epochs", "batch_size", "learning_rate_multiplier", "beta"),
    "reinforcement": tuple(name for name in RANGES if name != "beta"),
}
PLACES = [(type, name) for type, names in METHODS.items() for name in names]


def method(type: str, **hyperparameters: Any) -> dict[str, Any]:
    block: dict[str, Any] = {"hyperparameters": hyperparameters}
    return {"type": type, type: {**block, "grader": GRADER} if type == "reinforcement" else block}


def refused(members: Any) -> str:
    with pytest.raises(InvalidValueError) as caught:
        job_request_from_wire({**LEAST, **members})
    status, body = error_to_wire(caught.value)
    assert (status, body["error"]["param"]) == (400, caught.value.field)
    return caught.value.field


def test_the_least_request_leaves_the_rest_open() -> None:
    assert job_request_from_wire(LEAST) == {
        **LEAST,
        **dict.fromkeys(("validation_file", "hyperparameters", "method", "suffix", "seed", "integrations", "metadata")),
    }


def test_explicit_nulls_are_taken_as_absent(store: FineTuningStore) -> None:
    nulls = dict.fromkeys(("validation_file", "hyperparameters", "method", "suffix", "seed", "integrations", "metadata"))
    blocks: list[dict[str, Any]] = [
        nulls,
        {"hyperparameters": dict.fromkeys(METHODS["supervised"])},
        {"method": {"type": "supervised", "supervised": None, "dpo": None}},
        {"method": {"type": "dpo", "dpo": {"hyperparameters": None}}},
        {"method": {"type": "dpo", "dpo": {"hyperparameters": dict.fromkeys(METHODS["dpo"])}}},
        {"method": {"type": "supervised"}, "hyperparameters": {"n_epochs": 3}},
        {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}, "hyperparameters": None},
        {"metadata": {}, "integrations": []},
    ]
    for members in blocks:
        job = store.jobs.create(organization_id="org-1", **job_request_from_wire({**LEAST, **members}))
        assert store.jobs.get(job.id) == job
        assert job.hyperparameters.n_epochs in ("auto", 3)


def test_a_full_request_becomes_the_job_that_it_asks_for(store: FineTuningStore) -> None:
    request = {
        **LEAST,
        "validation_file": "file-v",
        "method": method("dpo", n_epochs=3, beta=0.5),
        "suffix": "a" * 64,
        "seed": 42,
        "integrations": [WANDB],
        "metadata": {"team": "nlp"},
    }
    job = store.jobs.create(organization_id="org-1", **job_request_from_wire(request))

    assert store.jobs.get(job.id) == job
    assert (job.validation_file, job.suffix, job.seed, job.integrations) == ("file-v", "a" * 64, 42, (WANDB,))
    assert (job.metadata, job.method) == ({"team": "nlp"}, Method(type="dpo"))
    assert job.hyperparameters == Hyperparameters(n_epochs=3, beta=0.5, batch_size="auto", learning_rate_multiplier="auto")


@pytest.mark.parametrize(("type", "name"), PLACES)
def test_a_hyperparameter_is_held_to_its_range_where_the_method_has_it(sqlite_store: FineTuningStore, type: str, name: str) -> None:
    taken, wrong = RANGES[name]
    for value in taken:
        job = sqlite_store.jobs.create(organization_id="o", **job_request_from_wire({**LEAST, "method": method(type, **{name: value})}))
        assert getattr(job.hyperparameters, name) == value
    for value in wrong:
        assert refused({"method": method(type, **{name: value})}) == f"method.{type}.hyperparameters.{name}"


@pytest.mark.parametrize("name", METHODS["supervised"])
def test_a_hyperparameter_of_the_deprecated_place_is_held_to_its_range(sqlite_store: FineTuningStore, name: str) -> None:
    taken, wrong = RANGES[name]
    for value in taken:
        job = sqlite_store.jobs.create(organization_id="o", **job_request_from_wire({**LEAST, "hyperparameters": {name: value}}))
        assert getattr(job.hyperparameters, name) == value
    for value in wrong:
        assert refused({"hyperparameters": {name: value}}) == f"hyperparameters.{name}"


@pytest.mark.parametrize(("type", "name"), [(type, name) for type in METHODS for name in RANGES if name not in METHODS[type]])
def test_a_hyperparameter_of_another_method_is_refused(type: str, name: str) -> None:
    assert refused({"method": method(type, **{name: RANGES[name][0][-1]})}) == f"method.{type}.hyperparameters.{name}"


def test_hyperparameters_in_both_places_are_refused() -> None:
    assert refused({"hyperparameters": {"n_epochs": 3}, "method": method("supervised", n_epochs=3)}) == "hyperparameters"
    assert refused({"hyperparameters": {}, "method": method("supervised")}) == "hyperparameters"


PAIRS = {f"key {number}": "value" for number in range(16)}
TAKEN: list[dict[str, Any]] = [
    {"metadata": PAIRS},
    {"metadata": {"k" * 64: "v" * 512}},
    {"metadata": {"": ""}},
    {"metadata": {"\U0001f600" * 64: "\U0001f600" * 512}},
    {"suffix": "a"},
    {"suffix": "\U0001f600" * 64},
    {"seed": 0},
    {"seed": 2**31 - 1},
    {"integrations": [WANDB] * 5},
    {"method": {**method("reinforcement"), "reinforcement": {"grader": GRADER, "response_format": {"type": "json_schema"}}}},
]
NO_SUFFIXES: list[Any] = ["", "a" * 65, 5, True, [], "\0"]
NO_NAMES: list[Any] = ["", 5, "a" * 513, "\0", []]
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("metadata", {"metadata": {**PAIRS, "one more": "v"}}),
    ("metadata", {"metadata": []}),
    ("metadata", {"metadata": "a=b"}),
    ("metadata.a", {"metadata": {"a": "v" * 513}}),
    ("metadata.a", {"metadata": {"a": 5}}),
    ("metadata.a", {"metadata": {"a": None}}),
    ("metadata (a key)", {"metadata": {"k" * 65: "v"}}),
    *[("suffix", {"suffix": value}) for value in NO_SUFFIXES],
    *[("seed", {"seed": value}) for value in (-1, 2**31, 1.5, True, "5")],
    ("integrations", {"integrations": [WANDB] * 6}),
    ("integrations", {"integrations": WANDB}),
    ("integrations[1]", {"integrations": [WANDB, 5]}),
    ("integrations[0].type", {"integrations": [{"type": "other"}]}),
    ("integrations[0].type", {"integrations": [{"type": "wandb"}]}),
    ("integrations[0].wandb.project", {"integrations": [{"type": "wandb", "wandb": {}}]}),
    *[(name, {name: value}) for name in ("model", "training_file", "validation_file") for value in NO_NAMES],
    *[(name, {name: None}) for name in ("model", "training_file")],
    *[(name, {name: 1}) for name in ("n_epochs", "status", "id", "eval_id", "organization_id", "")],
    ("hyperparameters", {"hyperparameters": []}),
    ("hyperparameters", {"hyperparameters": "auto"}),
    ("hyperparameters.epochs", {"hyperparameters": {"epochs": 1}}),
    ("method", {"method": "dpo"}),
    *[("method.type", {"method": {"type": value}}) for value in (None, "", "other", 5)],
    ("method.type", {"method": {"supervised": {}}}),
    ("method.dpo", {"method": {"type": "supervised", "dpo": {}}}),
    ("method.new", {"method": {"type": "supervised", "new": 1}}),
    ("method.dpo.new", {"method": {"type": "dpo", "dpo": {"new": 1}}}),
    ("method.dpo", {"method": {"type": "dpo", "dpo": []}}),
    ("method.dpo.hyperparameters", {"method": {"type": "dpo", "dpo": {"hyperparameters": []}}}),
    ("method.dpo.grader", {"method": {"type": "dpo", "dpo": {"grader": GRADER}}}),
    ("method.reinforcement.grader", {"method": {"type": "reinforcement"}}),
    ("method.reinforcement.grader", {"method": {"type": "reinforcement", "reinforcement": {"grader": {}}}}),
]


@pytest.mark.parametrize("members", TAKEN, ids=[f"{number}-{next(iter(members))}" for number, members in enumerate(TAKEN)])
def test_a_request_at_the_ends_of_the_ranges_can_be_created(store: FineTuningStore, members: dict[str, Any]) -> None:
    job = store.jobs.create(organization_id="org-1", **job_request_from_wire({**LEAST, **members}))

    assert store.jobs.get(job.id) == job


@pytest.mark.parametrize(("field", "members"), REFUSED, ids=[f"{number}-{field}" for number, (field, _) in enumerate(REFUSED)])
def test_a_request_outside_of_the_ranges_is_refused_by_the_api_s_name_of_its_member(field: str, members: dict[str, Any]) -> None:
    assert refused(members) == field


@pytest.mark.parametrize("type", [["dpo"], {"dpo": 1}])
def test_a_method_type_that_cannot_be_hashed_is_refused(type: Any) -> None:
    assert refused({"method": {"type": type}}) == "method.type"


@pytest.mark.parametrize("effort", [[], {}])
def test_an_effort_that_is_no_text_is_refused(effort: Any) -> None:
    assert refused({"method": method("reinforcement", reasoning_effort=effort)}) == "method.reinforcement.hyperparameters.reasoning_effort"


@pytest.mark.parametrize("payload", [None, [], "model", 5, b"{}"])
def test_a_request_that_is_no_object_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        job_request_from_wire(payload)
    assert caught.value.field == "payload"


@pytest.mark.parametrize("member", ["model", "training_file"])
def test_a_request_without_a_required_member_is_refused(member: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        job_request_from_wire({name: value for name, value in LEAST.items() if name != member})
    assert caught.value.field == member


# Errors

NOTHING_MORE = (500, "server_error", None, None)
ERRORS: list[tuple[Exception, tuple[int, str, str | None, str | None]]] = [
    (JobNotFoundError("123"), (404, "invalid_request_error", "fine_tune_id", "fine_tune_not_found")),
    (CheckpointNotFoundError("ft:m"), (404, "invalid_request_error", "fine_tuned_model_checkpoint", "checkpoint_not_found")),
    (CheckpointPermissionNotFoundError("cp_1"), (404, "invalid_request_error", "permission_id", "checkpoint_permission_not_found")),
    (CursorNotFoundError("ftjob-1"), (400, "invalid_request_error", "after", None)),
    (IllegalTransitionError("ft-1", "cancel", "succeeded", ("queued",)), (400, "invalid_request_error", None, None)),
    (JobAlreadyExistsError("ftjob-1"), (400, "invalid_request_error", "id", None)),
    (JobReferencedError("ftjob-1"), (400, "invalid_request_error", None, None)),
    (InvalidValueError("suffix", "", "must not be empty"), (400, "invalid_request_error", "suffix", None)),
    (UnitAlreadyOpenError(), NOTHING_MORE),
    (UnitEndedError(), NOTHING_MORE),
    (UnsupportedDatabaseError("postgresql://secret"), NOTHING_MORE),
    (MissingDriverError("secret"), NOTHING_MORE),
    (EngineConfigurationError("secret"), NOTHING_MORE),
    (DatabaseUnreachableError("secret"), NOTHING_MORE),
    (ReadOnlyStoreError(), NOTHING_MORE),
    (SchemaVersionError(1, 2), NOTHING_MORE),
    (SchemaConflictError("secret"), NOTHING_MORE),
    (SchemaLockTimeoutError(3.0), NOTHING_MORE),
    (FineTuningStoreError("secret"), NOTHING_MORE),
    (RuntimeError("secret"), NOTHING_MORE),
    (ValueError("secret"), NOTHING_MORE),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_an_error_is_written_in_the_api_s_words(error: Exception, expected: tuple[int, str, str | None, str | None]) -> None:
    status, body = error_to_wire(error)

    assert (status, body["error"]["type"], body["error"]["param"], body["error"]["code"]) == expected
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    assert json.loads(json.dumps(body)) == body
    assert "secret" not in body["error"]["message"]


def test_every_error_of_the_library_has_a_response() -> None:
    of_the_store = {kind for kind in FineTuningStoreError.__subclasses__() if kind.__module__ == FineTuningStoreError.__module__}

    assert {type(error) for error, _ in ERRORS} >= {FineTuningStoreError, *of_the_store}


def test_the_messages_are_those_that_clients_look_for() -> None:
    assert error_to_wire(JobNotFoundError("123"))[1]["error"]["message"] == "Could not find fine tune: 123"
    assert (
        error_to_wire(IllegalTransitionError("ft-1", "cancel", "succeeded", ()))[1]["error"]["message"]
        == 'Cannot cancel a job ft-1 that already has status "succeeded".'
    )


# Azure


@pytest.mark.parametrize("payload", recorded("jobs").values(), ids=recorded("jobs"))
def test_a_recorded_job_in_azures_words_is_the_same_job(payload: dict[str, Any]) -> None:
    job = job_from_wire(payload)

    assert job_from_wire(job_to_wire(job, "azure")) == job


@settings(max_examples=75, deadline=None, suppress_health_check=[*HealthCheck])
@given(job=jobs())
def test_any_job_in_azures_words_is_the_same_job(job: FineTuningJob) -> None:
    assert job_from_wire(job_to_wire(job, "azure")) == job


def test_azure_says_pending_and_minus_one(store: FineTuningStore) -> None:
    job = store.jobs.create(organization_id="org-1", model="m", training_file="f", suffix="s", hyperparameters=Hyperparameters(n_epochs=3))
    written = job_to_wire(store.jobs.enqueue(job.id), "azure")

    assert (written["status"], written["suffix"]) == ("pending", "s")
    assert written["hyperparameters"] == {"n_epochs": 3, "batch_size": -1, "learning_rate_multiplier": -1}
    assert written["method"]["supervised"]["hyperparameters"] == written["hyperparameters"]

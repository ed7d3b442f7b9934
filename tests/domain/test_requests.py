"""Create requests and the ranges of their values, errors in the API's format, and the Azure profile."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.fine_tuning import FineTuningJobWandbIntegrationObject, ReinforcementMethod
from openai.types.fine_tuning import fine_tuning_job as client_job

from fine_tuning_store import (
    CheckpointNotFoundError,
    CheckpointPermissionNotFoundError,
    CorruptDataError,
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
    StoreBusyError,
    UnitAlreadyOpenError,
    UnitEndedError,
    UnsupportedDatabaseError,
    error_to_wire,
    job_from_wire,
    job_request_from_wire,
    job_to_wire,
)
from tests.support.strategies import changed, jobs, recorded

MINIMAL: dict[str, Any] = {"model": "gpt-4o-mini", "training_file": "file-abc"}
GRADER = {"type": "string_check", "name": "g", "input": "a", "reference": "b", "operation": "eq"}
MESSAGE = {"role": "user", "content": [{"type": "input_text", "text": "{{item.a}}"}, "and"]}
#: A grader of each type, with all its members.
GRADERS: dict[str, dict[str, Any]] = {
    "string_check": GRADER,
    "text_similarity": {"type": "text_similarity", "name": "g", "input": "a", "reference": "b", "evaluation_metric": "rouge_l"},
    "python": {"type": "python", "name": "g", "source": "def grade(sample, item): return 1.0", "image_tag": "2025-05-08"},
    "score_model": {
        "type": "score_model",
        "name": "g",
        "model": "gpt-4o",
        "range": [0, 1.5],
        "input": [MESSAGE],
        "sampling_params": {"seed": 1, "top_p": 0.5, "temperature": 0, "max_completions_tokens": 64, "reasoning_effort": "low"},
    },
    "multi": {"type": "multi", "name": "g", "calculate_output": "g", "graders": GRADER},
}
LABEL_MODEL = {"type": "label_model", "name": "g", "model": "m", "input": [MESSAGE], "labels": ["a"], "passing_labels": ["a"]}
#: What is wrong with a grader: its type, the member at fault, and the value.
WRONG_GRADERS: list[tuple[str, str, Any]] = [
    *[
        (type, name, value)
        for type, grader in GRADERS.items()
        for name in grader
        if name not in ("image_tag", "range", "sampling_params", "type") and (type, name) != ("multi", "name")
        for value in (None, 5, True, [5])
    ],
    *[(type, "type", value) for type in GRADERS for value in (None, "", "telepathy", 5, ["multi"], "label_model")],
    ("string_check", "operation", "equals"),
    ("text_similarity", "evaluation_metric", "rouge_9"),
    ("python", "image_tag", 5),
    ("score_model", "range", "0-1"),
    ("score_model", "range[1]", [0, "1"]),
    ("score_model", "sampling_params.seed", {"seed": 1.5}),
    ("score_model", "sampling_params.top_p", {"top_p": True}),
    ("score_model", "input[0]", ["text"]),
    ("score_model", "input[0].role", [{"content": "text"}]),
    ("score_model", "input[0].role", [{"role": "tool", "content": "text"}]),
    ("score_model", "input[0].content", [{"role": "user"}]),
    ("score_model", "input[0].content[1].type", [{"role": "user", "content": ["a", {"text": "b"}]}]),
    ("score_model", "input[0].content[0].text", [{"role": "user", "content": [{"type": "input_text"}]}]),
    (
        "score_model",
        "input[0].content.input_audio.format",
        [{"role": "user", "content": {"type": "input_audio", "input_audio": {"data": ""}}}],
    ),
    ("multi", "graders", {}),
    ("multi", "graders.type", {"type": "multi"}),
    ("multi", "graders.operation", {**GRADER, "operation": None}),
    ("multi", "graders.b", {"a": GRADER, "b": 1}),
    ("multi", "graders.b.reference", {"a": GRADER, "b": {**GRADER, "reference": None}}),
    ("multi", "graders.labels[0]", {**LABEL_MODEL, "labels": [1]}),
]
WANDB = {"type": "wandb", "wandb": {"project": "p"}}
#: For each hyperparameter the values that are accepted and those that are refused.
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
HYPERPARAMETERS = [(type, name) for type, names in METHODS.items() for name in names]


def method(type: str, **hyperparameters: Any) -> dict[str, Any]:
    block: dict[str, Any] = {"hyperparameters": hyperparameters}
    return {"type": type, type: {**block, "grader": GRADER} if type == "reinforcement" else block}


def refused_field(members: Any) -> str:
    """Return the field that the error for a request with these members names."""
    with pytest.raises(InvalidValueError) as caught:
        job_request_from_wire({**MINIMAL, **members})
    status, body = error_to_wire(caught.value)
    assert (status, body["error"]["param"]) == (400, caught.value.field)
    return caught.value.field


def test_a_minimal_request_leaves_the_other_arguments_none() -> None:
    assert job_request_from_wire(MINIMAL) == {
        **MINIMAL,
        **dict.fromkeys(("validation_file", "hyperparameters", "method", "suffix", "seed", "integrations", "metadata")),
    }


def test_explicit_nulls_are_read_as_absent(store: FineTuningStore) -> None:
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
        {"integrations": [{"type": "wandb", "wandb": {"project": "p", "name": None, "entity": None, "tags": None}}]},
        {
            "method": {
                "type": "reinforcement",
                "reinforcement": {"grader": GRADERS["python"] | {"image_tag": None}, "response_format": None},
            }
        },
        {"trainingType": None, "method": {"type": "dpo", "new": None, "dpo": {"new": None, "grader": None}}},
    ]
    for members in blocks:
        job = store.jobs.create(organization_id="org-1", **job_request_from_wire({**MINIMAL, **members}))
        assert store.jobs.get(job.id) == job
        assert job.hyperparameters.n_epochs in ("auto", 3)


def test_a_full_request_creates_the_requested_job(store: FineTuningStore) -> None:
    request = {
        **MINIMAL,
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


@pytest.mark.parametrize(("type", "name"), HYPERPARAMETERS)
def test_a_hyperparameter_of_the_method_is_restricted_to_its_range(sqlite_store: FineTuningStore, type: str, name: str) -> None:
    accepted, wrong = RANGES[name]
    for value in accepted:
        job = sqlite_store.jobs.create(organization_id="o", **job_request_from_wire({**MINIMAL, "method": method(type, **{name: value})}))
        assert getattr(job.hyperparameters, name) == value
    for value in wrong:
        assert refused_field({"method": method(type, **{name: value})}) == f"method.{type}.hyperparameters.{name}"


@pytest.mark.parametrize("name", METHODS["supervised"])
def test_a_hyperparameter_at_the_deprecated_top_level_is_restricted_to_its_range(sqlite_store: FineTuningStore, name: str) -> None:
    accepted, wrong = RANGES[name]
    for value in accepted:
        job = sqlite_store.jobs.create(organization_id="o", **job_request_from_wire({**MINIMAL, "hyperparameters": {name: value}}))
        assert getattr(job.hyperparameters, name) == value
    for value in wrong:
        assert refused_field({"hyperparameters": {name: value}}) == f"hyperparameters.{name}"


@pytest.mark.parametrize(("type", "name"), [(type, name) for type in METHODS for name in RANGES if name not in METHODS[type]])
def test_a_hyperparameter_of_another_method_is_refused(type: str, name: str) -> None:
    assert refused_field({"method": method(type, **{name: RANGES[name][0][-1]})}) == f"method.{type}.hyperparameters.{name}"


@pytest.mark.parametrize(
    ("top", "nested", "expected"),
    [
        ({}, {}, {}),
        ({"n_epochs": 3}, {"n_epochs": 3.0}, {"n_epochs": 3}),
        ({"n_epochs": "auto"}, {"n_epochs": "auto"}, {"n_epochs": "auto"}),
        ({"n_epochs": "auto"}, {"n_epochs": 3}, {"n_epochs": 3}),
        ({"n_epochs": 3}, {"n_epochs": "auto"}, {"n_epochs": 3}),
        ({"n_epochs": 3, "batch_size": None}, {"batch_size": 8}, {"n_epochs": 3, "batch_size": 8}),
    ],
)
def test_hyperparameters_in_both_places_complete_each_other(top: Any, nested: Any, expected: dict[str, Any]) -> None:
    made = job_request_from_wire({**MINIMAL, "hyperparameters": top, "method": method("supervised", **nested)})

    assert made["hyperparameters"] == Hyperparameters(**expected)


def test_hyperparameters_that_contradict_each_other_are_refused() -> None:
    members = {"hyperparameters": {"n_epochs": 3}, "method": method("supervised", n_epochs=4)}

    assert refused_field(members) == "hyperparameters.n_epochs"


def test_blocks_of_other_methods_are_ignored(store: FineTuningStore) -> None:
    """Some clients send all of them; the type says which one counts."""
    blocks = {name: method(name)[name] for name in METHODS} | {"supervised": {"hyperparameters": {"n_epochs": 3}}, "dpo": {"new": 1}}

    job = store.jobs.create(organization_id="o", **job_request_from_wire({**MINIMAL, "method": {"type": "supervised", **blocks}}))

    assert store.jobs.get(job.id) == job
    assert (job.method, job.hyperparameters.n_epochs, job.hyperparameters.beta) == (Method(), 3, None)


@pytest.mark.parametrize("seed", [2, 2.0, 0.0, 2147483647.0])
def test_a_whole_number_is_a_seed_in_any_notation_of_json(seed: float) -> None:
    made = job_request_from_wire({**MINIMAL, "seed": seed})

    assert (made["seed"], type(made["seed"])) == (seed, int)


SIXTEEN_PAIRS = {f"key {number}": "value" for number in range(16)}
ACCEPTED: list[dict[str, Any]] = [
    {"metadata": SIXTEEN_PAIRS},
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
WRONG_SUFFIXES: list[Any] = ["", "a" * 65, 5, True, [], "\0"]
WRONG_NAMES: list[Any] = ["", 5, "a" * 513, "\0", []]
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("metadata", {"metadata": {**SIXTEEN_PAIRS, "one more": "v"}}),
    ("metadata", {"metadata": []}),
    ("metadata", {"metadata": "a=b"}),
    ("metadata.a", {"metadata": {"a": "v" * 513}}),
    ("metadata.a", {"metadata": {"a": 5}}),
    ("metadata.a", {"metadata": {"a": None}}),
    ("metadata (a key)", {"metadata": {"k" * 65: "v"}}),
    *[("suffix", {"suffix": value}) for value in WRONG_SUFFIXES],
    *[("seed", {"seed": value}) for value in (-1, 2**31, 1.5, True, "5")],
    ("integrations", {"integrations": [WANDB] * 6}),
    ("integrations", {"integrations": WANDB}),
    ("integrations[1]", {"integrations": [WANDB, 5]}),
    ("integrations[0].type", {"integrations": [{"type": "other"}]}),
    ("integrations[0].type", {"integrations": [{"type": "wandb"}]}),
    ("integrations[0].wandb.project", {"integrations": [{"type": "wandb", "wandb": {}}]}),
    *[(name, {name: value}) for name in ("model", "training_file", "validation_file") for value in WRONG_NAMES],
    *[(name, {name: None}) for name in ("model", "training_file")],
    *[(name, {name: 1}) for name in ("n_epochs", "status", "id", "eval_id", "organization_id", "")],
    ("hyperparameters", {"hyperparameters": []}),
    ("hyperparameters", {"hyperparameters": "auto"}),
    ("hyperparameters.epochs", {"hyperparameters": {"epochs": 1}}),
    ("method", {"method": "dpo"}),
    *[("method.type", {"method": {"type": value}}) for value in (None, "", "other", 5)],
    ("method.type", {"method": {"supervised": {}}}),
    ("method.dpo", {"method": {"type": "supervised", "dpo": []}}),
    ("trainingType", {"trainingType": 1}),
    *[
        (f"integrations[0].wandb.{name}", {"integrations": [{"type": "wandb", "wandb": {"project": "p", name: value}}]})
        for name in ("name", "entity", "tags", "run_id")
        for value in (5, True, {"a": 1}, {})
    ],
    ("integrations[0].wandb.tags", {"integrations": [{"type": "wandb", "wandb": {"project": "p", "tags": "abc"}}]}),
    ("integrations[0].wandb.entitty", {"integrations": [{"type": "wandb", "wandb": {"project": "p", "entitty": "e"}}]}),
    ("integrations[0].key", {"integrations": [{"type": "wandb", "wandb": {"project": "p"}, "key": "of an account"}]}),
    ("integrations[0].wandb.tags[1]", {"integrations": [{"type": "wandb", "wandb": {"project": "p", "tags": ["a", None]}}]}),
    ("method.new", {"method": {"type": "supervised", "new": 1}}),
    ("method.dpo.new", {"method": {"type": "dpo", "dpo": {"new": 1}}}),
    ("method.dpo", {"method": {"type": "dpo", "dpo": []}}),
    ("method.dpo.hyperparameters", {"method": {"type": "dpo", "dpo": {"hyperparameters": []}}}),
    ("method.dpo.grader", {"method": {"type": "dpo", "dpo": {"grader": GRADER}}}),
    ("method.reinforcement.grader", {"method": {"type": "reinforcement"}}),
    ("method.reinforcement.grader", {"method": {"type": "reinforcement", "reinforcement": {"grader": {}}}}),
]


@pytest.mark.parametrize("members", ACCEPTED, ids=[f"{number}-{next(iter(members))}" for number, members in enumerate(ACCEPTED)])
def test_a_request_at_the_bounds_of_the_ranges_is_accepted(store: FineTuningStore, members: dict[str, Any]) -> None:
    job = store.jobs.create(organization_id="org-1", **job_request_from_wire({**MINIMAL, **members}))

    assert store.jobs.get(job.id) == job


@pytest.mark.parametrize(("field", "members"), REFUSED, ids=[f"{number}-{field}" for number, (field, _) in enumerate(REFUSED)])
def test_the_error_for_a_request_outside_of_the_ranges_names_the_member_as_the_api_does(field: str, members: dict[str, Any]) -> None:
    assert refused_field(members) == field


def reinforcement(grader: Any) -> dict[str, Any]:
    return {"method": {"type": "reinforcement", "reinforcement": {"grader": grader}}}


@pytest.mark.parametrize("grader", [*GRADERS.values(), {**GRADERS["multi"], "graders": LABEL_MODEL}], ids=lambda grader: grader["type"])
def test_a_grader_and_an_integration_are_read_back_by_the_strict_types_of_the_official_client(
    sqlite_store: FineTuningStore, grader: dict[str, Any]
) -> None:
    wandb = {"type": "wandb", "wandb": {"project": "p", "name": "n", "entity": None, "tags": ["a"]}}
    request = {**MINIMAL, **reinforcement(grader), "integrations": [wandb]}
    written = job_to_wire(sqlite_store.jobs.create(organization_id="o", **job_request_from_wire(request)))

    read = client_job.Method.model_validate(written["method"])
    assert read.reinforcement is not None
    assert read.reinforcement.grader.to_dict() == grader
    assert FineTuningJobWandbIntegrationObject.model_validate(written["integrations"][0]).to_dict() == wandb


def test_the_graders_of_the_guide_are_accepted() -> None:
    """OpenAI's guide sends a multi grader without a name, whose graders have names as keys. Its schema has neither."""
    grader = {"type": "multi", "calculate_output": "a + b", "graders": {"a": GRADER, "b": GRADERS["score_model"], "type": GRADER}}

    assert job_request_from_wire({**MINIMAL, **reinforcement(grader)})["method"] == Method(type="reinforcement", grader=grader)


@pytest.mark.parametrize(("type", "place", "value"), WRONG_GRADERS)
def test_a_grader_that_the_client_cannot_read_back_is_refused(type: str, place: str, value: Any) -> None:
    name = re.split(r"[.\[]", place)[0]

    field = refused_field(reinforcement({**GRADERS[type], name: value}))

    if place == "type" and value == "label_model":
        assert field == "method.reinforcement.grader.type"
    else:
        assert field in (f"method.reinforcement.grader.{place}", f"method.reinforcement.grader.{place}[0]")


def with_a_known_effort(members: dict[str, Any]) -> dict[str, Any]:
    """The client's types list the efforts of today's models. Any word is accepted, for tomorrow's."""
    return {**members, "reasoning_effort": "low"} if "reasoning_effort" in members else members


@settings(max_examples=300, deadline=None)
@given(type=st.sampled_from([*GRADERS]), data=st.data())
def test_any_grader_that_is_accepted_is_read_back_by_the_official_client(type: str, data: st.DataObject) -> None:
    grader = data.draw(changed(GRADERS[type]))
    try:
        made = job_request_from_wire({**MINIMAL, **reinforcement(grader)})
    except InvalidValueError:
        return
    assert made["method"] is not None
    stored = json.loads(json.dumps(made["method"].grader), object_hook=with_a_known_effort)
    if stored["type"] != "multi" or (stored.get("name") is not None and isinstance(stored["graders"].get("type"), str)):
        ReinforcementMethod.model_validate({"grader": stored})


@pytest.mark.parametrize("type", [["dpo"], {"dpo": 1}])
def test_a_method_type_that_cannot_be_hashed_is_refused(type: Any) -> None:
    assert refused_field({"method": {"type": type}}) == "method.type"


@pytest.mark.parametrize("effort", [[], {}])
def test_a_reasoning_effort_that_is_not_a_string_is_refused(effort: Any) -> None:
    members = {"method": method("reinforcement", reasoning_effort=effort)}

    assert refused_field(members) == "method.reinforcement.hyperparameters.reasoning_effort"


@pytest.mark.parametrize("payload", [None, [], "model", 5, b"{}"])
def test_a_request_that_is_not_an_object_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        job_request_from_wire(payload)
    assert caught.value.field == "payload"


@pytest.mark.parametrize("member", ["model", "training_file"])
def test_a_request_without_a_required_member_is_refused(member: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        job_request_from_wire({name: value for name, value in MINIMAL.items() if name != member})
    assert caught.value.field == member


# Errors

SERVER_ERROR = (500, "server_error", None, None)
ERRORS: list[tuple[Exception, tuple[int, str, str | None, str | None]]] = [
    (JobNotFoundError("123"), (404, "invalid_request_error", "fine_tune_id", "fine_tune_not_found")),
    (CheckpointNotFoundError("ft:m"), (404, "invalid_request_error", "fine_tuned_model_checkpoint", "checkpoint_not_found")),
    (CheckpointPermissionNotFoundError("cp_1"), (404, "invalid_request_error", "permission_id", "checkpoint_permission_not_found")),
    (CursorNotFoundError("ftjob-1"), (400, "invalid_request_error", "after", None)),
    (IllegalTransitionError("ft-1", "cancel", "succeeded", ("queued",)), (400, "invalid_request_error", None, None)),
    (JobAlreadyExistsError("ftjob-1"), (400, "invalid_request_error", "id", None)),
    (JobReferencedError("ftjob-1"), (400, "invalid_request_error", None, None)),
    (InvalidValueError("suffix", "", "must not be empty"), (400, "invalid_request_error", "suffix", None)),
    (CorruptDataError("fine_tuning_jobs", "secret"), SERVER_ERROR),
    (UnitAlreadyOpenError(), SERVER_ERROR),
    (UnitEndedError(), SERVER_ERROR),
    (UnsupportedDatabaseError("postgresql://secret"), SERVER_ERROR),
    (MissingDriverError("secret"), SERVER_ERROR),
    (EngineConfigurationError("secret"), SERVER_ERROR),
    (DatabaseUnreachableError("secret"), SERVER_ERROR),
    (ReadOnlyStoreError(), SERVER_ERROR),
    (StoreBusyError("lock", 5.0), (503, "server_error", None, None)),
    (SchemaVersionError(1, 2), SERVER_ERROR),
    (SchemaConflictError("secret"), SERVER_ERROR),
    (SchemaLockTimeoutError(3.0), SERVER_ERROR),
    (FineTuningStoreError("secret"), SERVER_ERROR),
    (RuntimeError("secret"), SERVER_ERROR),
    (ValueError("secret"), SERVER_ERROR),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_an_error_is_written_in_the_format_of_the_api(error: Exception, expected: tuple[int, str, str | None, str | None]) -> None:
    status, body = error_to_wire(error)

    assert (status, body["error"]["type"], body["error"]["param"], body["error"]["code"]) == expected
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    assert json.loads(json.dumps(body)) == body
    assert "secret" not in body["error"]["message"]


def test_every_error_of_the_library_has_a_response() -> None:
    classes = {kind for kind in FineTuningStoreError.__subclasses__() if kind.__module__ == FineTuningStoreError.__module__}

    assert {type(error) for error, _ in ERRORS} >= {FineTuningStoreError, *classes}


class KeyWithoutPath(str):
    """A key that must not become part of a path."""

    __slots__ = ()

    def __format__(self, _: str) -> str:
        raise AssertionError


def test_the_paths_of_a_request_are_built_only_to_refuse_it() -> None:
    """The path of each element, with its long keys, took 18 s of CPU for a request of a megabyte."""
    request: dict[str, Any] = {"model": "gpt-4o-mini", "training_file": "file-abc"}
    grader = {**GRADERS["multi"], "graders": {KeyWithoutPath("k"): {**GRADERS["score_model"], "extra": [1, {"a": "b"}]}}}

    made = job_request_from_wire({**request, "method": {"type": "reinforcement", "reinforcement": {"grader": grader}}})

    assert made["method"] == Method(type="reinforcement", grader=grader)
    grader["graders"] = {"k": {**GRADER, "extra": [1, {"a": float("nan")}]}}
    with pytest.raises(InvalidValueError) as caught:
        job_request_from_wire({**request, "method": {"type": "reinforcement", "reinforcement": {"grader": grader}}})
    assert caught.value.field == "method.grader.graders.k.extra[1].a"


def test_messages_that_clients_look_for_are_unchanged() -> None:
    assert error_to_wire(JobNotFoundError("123"))[1]["error"]["message"] == "Could not find fine tune: 123"
    assert (
        error_to_wire(IllegalTransitionError("ft-1", "cancel", "succeeded", ()))[1]["error"]["message"]
        == 'Cannot cancel a job ft-1 that already has status "succeeded".'
    )


# Azure


@pytest.mark.parametrize("payload", recorded("jobs").values(), ids=recorded("jobs"))
def test_a_recorded_job_in_the_azure_profile_is_read_as_the_same_job(payload: dict[str, Any]) -> None:
    job = job_from_wire(payload)

    assert without_word(job_from_wire(job_to_wire(job, "azure"))) == without_word(job)


@settings(max_examples=75, deadline=None, suppress_health_check=[*HealthCheck])
@given(job=jobs())
def test_any_job_in_the_azure_profile_is_read_as_the_same_job(job: FineTuningJob) -> None:
    assert without_word(job_from_wire(job_to_wire(job, "azure"))) == without_word(job)


def without_word(job: FineTuningJob) -> FineTuningJob:
    """Return a job without the word for its status, which is `pending` if it was read from Azure."""
    return replace(job, wire_status=None)


def test_the_azure_profile_writes_pending_and_minus_one(store: FineTuningStore) -> None:
    job = store.jobs.create(organization_id="org-1", model="m", training_file="f", suffix="s", hyperparameters=Hyperparameters(n_epochs=3))
    written = job_to_wire(store.jobs.enqueue(job.id), "azure")

    assert (written["status"], written["suffix"]) == ("pending", "s")
    assert written["hyperparameters"] == {"n_epochs": 3, "batch_size": -1, "learning_rate_multiplier": -1}
    assert written["method"]["supervised"]["hyperparameters"] == written["hyperparameters"]

"""Wrong input raises an error that names the field, the same on every database, before anything is written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from fine_tuning_store import FineTuningJob, FineTuningStore, Hyperparameters, InvalidValueError, JobError, Method
from tests.support.factories import a_job, created, stored
from tests.support.tables import each

REINFORCEMENT = Method(type="reinforcement", grader={"type": "python", "name": "g", "source": "x"})


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


CREATE: list[tuple[str, dict[str, Any]]] = [
    ("organization_id", {"organization_id": None}),
    ("organization_id", {"organization_id": ""}),
    ("organization_id", {"organization_id": "o" * 129}),
    ("organization_id", {"organization_id": 5}),
    ("model", {"model": ""}),
    ("model", {"model": "m" * 513}),
    ("model", {"model": None}),
    ("model", {"model": "nul\0"}),
    ("model", {"model": "lone \ud800"}),
    ("training_file", {"training_file": ""}),
    ("training_file", {"training_file": "f" * 513}),
    ("training_file", {"training_file": "😀" * 257}),  # 1028 bytes
    ("validation_file", {"validation_file": ""}),
    ("suffix", {"suffix": ""}),
    ("suffix", {"suffix": "s" * 65}),
    ("seed", {"seed": -1}),
    ("seed", {"seed": 2**31}),
    ("seed", {"seed": 1.5}),
    ("seed", {"seed": True}),
    ("eval_id", {"eval_id": "e" * 256}),
    ("metadata", {"metadata": {str(number): "" for number in range(17)}}),
    ("metadata", {"metadata": "no object"}),
    ("metadata (a key)", {"metadata": {"k" * 65: "v"}}),
    ("metadata (a key)", {"metadata": {5: "v"}}),
    ("metadata.k", {"metadata": {"k": "v" * 513}}),
    ("metadata.k", {"metadata": {"k": None}}),
    ("metadata.k", {"metadata": {"k": "\0"}}),
    ("method.type", {"method": Method(type="telepathy")}),
    ("method", {"method": "dpo"}),
    ("method.reinforcement.grader", {"method": Method(type="reinforcement")}),
    ("method.reinforcement.grader.type", {"method": Method(type="reinforcement", grader={"a": 1})}),
    ("integrations[0].wandb.tags", {"integrations": [{"type": "wandb", "wandb": {"project": "p", "tags": "abc"}}]}),
    ("method.grader", {"method": Method(type="dpo", grader={"type": "python"})}),
    ("method.grader.a[0]", {"method": Method(type="reinforcement", grader={"a": [math.nan]})}),
    ("integrations", {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}] * 6}),
    ("integrations[0].type", {"integrations": [{"type": "mlflow"}]}),
    ("integrations[0].wandb.project", {"integrations": [{"type": "wandb", "wandb": {}}]}),
    ("hyperparameters", {"hyperparameters": {"n_epochs": 3}}),
    *[
        ("hyperparameters.n_epochs", {"hyperparameters": Hyperparameters(n_epochs=value)})  # type: ignore[arg-type]
        for value in (0, 51, -1, 2.5, True, math.nan, "3", "AUTO")
    ],
    *[("hyperparameters.batch_size", {"hyperparameters": Hyperparameters(batch_size=value)}) for value in (0, 257, False)],
    *[
        ("hyperparameters.learning_rate_multiplier", {"hyperparameters": Hyperparameters(learning_rate_multiplier=value)})
        for value in (0, -0.1, math.nan, math.inf, 10**400)
    ],
    *[
        ("hyperparameters.beta", {"hyperparameters": Hyperparameters(beta=value), "method": Method(type="dpo")})
        for value in (0, 2.1, math.nan)
    ],
    *[
        ("hyperparameters.compute_multiplier", {"hyperparameters": Hyperparameters(compute_multiplier=value), "method": REINFORCEMENT})
        for value in (0.00001, 10.5)
    ],
    ("hyperparameters.eval_interval", {"hyperparameters": Hyperparameters(eval_interval=0), "method": REINFORCEMENT}),
    ("hyperparameters.eval_samples", {"hyperparameters": Hyperparameters(eval_samples=2**63), "method": REINFORCEMENT}),
    ("hyperparameters.reasoning_effort", {"hyperparameters": Hyperparameters(reasoning_effort="extreme"), "method": REINFORCEMENT}),
    ("hyperparameters.beta", {"hyperparameters": Hyperparameters(beta=1)}),
    ("hyperparameters.warmup", {"hyperparameters": Hyperparameters(extra={"warmup": 1})}),
]


@each(("field", "members"), CREATE)
def test_create_refuses_values_outside_of_the_api_ranges(store: FineTuningStore, field: str, members: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError) as caught:
        created(store, **members)

    assert caught.value.field == field
    assert store.jobs.list().data == ()


def test_create_accepts_the_bounds_of_every_range(store: FineTuningStore) -> None:
    for members in (
        {"hyperparameters": Hyperparameters(n_epochs=1, batch_size=1, learning_rate_multiplier=5e-324), "seed": 0, "suffix": "s"},
        {"hyperparameters": Hyperparameters(n_epochs=50, batch_size=256, learning_rate_multiplier=1.7976931348623157e308)},
        {"seed": 2**31 - 1, "suffix": "😀" * 64, "model": "é" * 512, "organization_id": "ö" * 128, "training_file": "😀" * 256},
        {"hyperparameters": Hyperparameters(beta=2), "method": Method(type="dpo")},
        {"hyperparameters": Hyperparameters(compute_multiplier=10), "method": REINFORCEMENT},
        {"metadata": {"k" * 63 + chr(64 + number): "😀" * 512 for number in range(16)}},
        {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}] * 5},
    ):
        job = created(store, **members)
        assert store.jobs.get(job.id) == job


ADD: list[tuple[str, dict[str, Any]]] = [
    ("id", {"id": ""}),
    ("id", {"id": "i" * 256}),
    ("id", {"id": None}),
    ("organization_id", {"organization_id": None}),
    ("created_at", {"created_at": 1.5}),
    ("created_at", {"created_at": 2**63}),
    ("created_at", {"created_at": "1700000000"}),
    ("finished_at", {"finished_at": 5, "status": "running"}),
    ("finished_at", {"finished_at": -(2**63) - 1, "status": "failed"}),
    ("status", {"status": "QUEUED"}),
    ("status", {"status": "pending"}),
    ("status", {"status": None}),
    ("trained_tokens", {"trained_tokens": 2**63}),
    ("trained_tokens", {"trained_tokens": True}),
    ("error", {"error": JobError()}),
    ("error", {"error": {"code": "c"}}),
    ("error.message", {"error": JobError(message="\0")}),
    ("error.extra.code", {"error": JobError(code="c", extra={"code": "d"})}),
    ("result_files", {"result_files": "file-1"}),
    ("result_files[1]", {"result_files": ("file-1", "")}),
    ("result_files", {"result_files": tuple(map(str, range(1001)))}),
    ("hyperparameters.n_epochs", {"hyperparameters": Hyperparameters(n_epochs=0)}),
    ("hyperparameters.n_epochs", {"hyperparameters": Hyperparameters(n_epochs=True)}),
    ("hyperparameters.extra.n_epochs", {"hyperparameters": Hyperparameters(extra={"n_epochs": 3})}),
    ("hyperparameters.extra.warmup", {"hyperparameters": Hyperparameters(extra={"warmup": math.inf})}),
    ("usage_metrics", {"usage_metrics": object()}),
    ("usage_metrics.a.b[1]", {"usage_metrics": {"a": {"b": [0, 2**63]}}}),
    ("usage_metrics.a", {"usage_metrics": {"a": "\udfff"}}),
    ("usage_metrics (a key)", {"usage_metrics": {1: "a"}}),
    ("usage_metrics" + "[0]" * 100, {"usage_metrics": nested(101)}),
    ("extra.model", {"extra": {"model": "other"}}),
    ("extra.user_provided_suffix", {"extra": {"user_provided_suffix": "s"}}),
    ("shared_with_openai", {"shared_with_openai": 1}),
    ("method.extra.type", {"method": Method(extra={"type": "dpo"})}),
    ("integrations[0]", {"integrations": ("wandb",)}),
    ("metadata.k", {"metadata": {"k": 5}}),
    ("suffix", {"suffix": "s" * 513}),
]


@each(("field", "members"), ADD)
def test_add_refuses_values_that_cannot_be_stored_and_leaves_the_transaction_usable(
    store: FineTuningStore, field: str, members: dict[str, Any]
) -> None:
    with store.begin() as unit:
        before = unit.jobs.add(a_job())
        with pytest.raises(InvalidValueError) as caught:
            unit.jobs.add(a_job(**members))
        after = unit.jobs.add(a_job())

    assert caught.value.field == field
    assert store.jobs.list().data == (after, before)


def test_add_does_not_apply_the_api_ranges(store: FineTuningStore) -> None:
    job = stored(
        store,
        hyperparameters=Hyperparameters(n_epochs=2**63 - 1, batch_size=512, beta=99.5, extra={"n_epochs_": 0}),
        seed=-(2**63),
        metadata={str(number): "" for number in range(40)},
        method=Method(type="future"),
        integrations=tuple({"type": "other", "n": number} for number in range(9)),
        usage_metrics=nested(100),
        suffix="s" * 512,
        created_at=-5,
    )

    assert store.jobs.get(job.id) == job


LIST: list[tuple[str, dict[str, Any]]] = [
    ("limit", {"limit": 0}),
    ("limit", {"limit": 1001}),
    ("limit", {"limit": -1}),
    ("limit", {"limit": True}),
    ("limit", {"limit": "20"}),
    ("limit", {"limit": None}),
    ("order", {"order": "newest"}),
    ("after", {"after": ""}),
    ("after", {"after": 5}),
    ("after", {"after": "a\0"}),
    ("status", {"status": "pending"}),
    ("status", {"status": ["queued", "QUEUED"]}),
    ("status", {"status": []}),
    ("status", {"status": 5}),
    ("method", {"method": "telepathy"}),
    ("method", {"method": ["dpo"]}),
    ("model", {"model": ""}),
    ("model", {"model": "\ud800"}),
    ("fine_tuned_model", {"fine_tuned_model": "m" * 513}),
    ("training_file", {"training_file": 1}),
    ("organization_id", {"organization_id": ""}),
    ("metadata.k", {"metadata": {"k": 1}}),
    ("metadata", {"metadata": {str(number): "" for number in range(17)}}),
    ("has_metadata", {"has_metadata": 1}),
    ("created_since", {"created_since": "yesterday"}),
    ("created_until", {"created_until": 2**63}),
]


@each(("field", "arguments"), LIST)
def test_a_list_refuses_wrong_arguments(store: FineTuningStore, field: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError) as caught:
        store.jobs.list(**arguments)
    assert caught.value.field == field

    if field not in ("limit", "after"):
        with pytest.raises(InvalidValueError) as caught:
            store.jobs.iterate(**arguments)  # raises at the call, not at the first job
        assert caught.value.field == field


def test_an_unknown_keyword_is_a_type_error(sqlite_store: FineTuningStore) -> None:
    with pytest.raises(TypeError, match="unknown"):
        sqlite_store.jobs.list(unknown="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown"):
        sqlite_store.jobs.iterate(unknown="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown"):
        sqlite_store.jobs.create(model="m", training_file="f", unknown="red")  # type: ignore[call-arg]


CALLS: list[tuple[str, Callable[[FineTuningStore, FineTuningJob], object]]] = [
    ("id", lambda store, _: store.jobs.get("")),
    ("id", lambda store, _: store.jobs.get(5)),  # type: ignore[arg-type]
    ("id", lambda store, _: store.jobs.get("\0")),
    ("id", lambda store, _: store.jobs.cancel("\ud800")),
    ("id", lambda store, _: store.jobs.delete("i" * 256)),
    ("id", lambda store, _: store.jobs.update(None, trained_tokens=1)),  # type: ignore[arg-type]
    ("ids", lambda store, job: store.jobs.get_many(job.id)),
    ("ids", lambda store, job: store.jobs.get_many([job.id] * 1001)),
    ("ids[1]", lambda store, job: store.jobs.get_many([job.id, ""])),
    ("page_size", lambda store, _: store.jobs.iterate(page_size=0)),
    ("hyperparameters.n_epochs", lambda store, job: store.jobs.start(job.id, hyperparameters=Hyperparameters(n_epochs=0))),
    ("hyperparameters", lambda store, job: store.jobs.start(job.id, hyperparameters={"n_epochs": 1})),  # type: ignore[arg-type]
    ("fine_tuned_model", lambda store, job: store.jobs.succeed(job.id, fine_tuned_model="")),
    ("trained_tokens", lambda store, job: store.jobs.succeed(job.id, fine_tuned_model="m", trained_tokens=-1)),
    ("result_files[0]", lambda store, job: store.jobs.succeed(job.id, fine_tuned_model="m", result_files=[5])),  # type: ignore[list-item]
    ("error", lambda store, job: store.jobs.fail(job.id, "it broke")),  # type: ignore[arg-type]
    ("error", lambda store, job: store.jobs.fail(job.id, JobError())),
    ("error.code", lambda store, job: store.jobs.fail(job.id, JobError(code=5))),  # type: ignore[arg-type]
    ("trained_tokens", lambda store, job: store.jobs.update(job.id, trained_tokens="1")),  # type: ignore[arg-type]
    ("metadata.k", lambda store, job: store.jobs.update(job.id, metadata={"k": "v" * 513})),
    ("usage_metrics", lambda store, job: store.jobs.update(job.id, usage_metrics=math.nan)),
    ("job", lambda store, _: store.jobs.add({"id": "x"})),  # type: ignore[arg-type]
    ("organization_id", lambda store, _: store.for_organization("")),
]


@each(("field", "call"), CALLS)
def test_the_error_of_every_call_names_the_wrong_field(
    store: FineTuningStore, field: str, call: Callable[[FineTuningStore, FineTuningJob], object]
) -> None:
    job = stored(store, status="queued")

    with pytest.raises(InvalidValueError) as caught:
        call(store, job)

    assert caught.value.field == field
    assert store.jobs.list().data == (job,)


def test_sql_in_values_is_not_executed(store: FineTuningStore) -> None:
    evil = "'; DROP TABLE fine_tuning_jobs; -- \" ` % %s :x ${x} \\"
    job = stored(
        store, id=evil, model=evil, metadata={evil[:64]: evil}, result_files=(evil,), error=JobError(message=evil), status="failed"
    )

    assert store.jobs.list(model=evil, metadata={evil[:64]: evil}, training_file="file-abc").data == (job,)
    assert store.jobs.get(evil) == job
    assert store.jobs.list(after=evil).data == ()

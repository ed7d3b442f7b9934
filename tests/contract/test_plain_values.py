"""Values of NumPy, `decimal`, `uuid` and Pydantic with an exact meaning are accepted, and come back as plain ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal
from uuid import UUID

import numpy as np
import pytest
from pydantic import BaseModel, Field

from fine_tuning_store import (
    FineTuningJobCheckpoint,
    FineTuningJobEvent,
    FineTuningStore,
    Hyperparameters,
    InvalidValueError,
    JobError,
    Method,
    checkpoint_from_wire,
    event_from_wire,
    job_from_wire,
    job_request_from_wire,
    job_to_wire,
)
from tests.support.factories import a_job, created, stored
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

ID = UUID("0190a8f4-7d1e-7cc3-98c4-dc0c0c07398f")
INTEGERS: list[Any] = [np.int64(3), np.int8(3), np.uint16(3), np.array(3), Decimal(3), Decimal("3.00"), Decimal("3E0")]
NUMBERS: list[Any] = [*INTEGERS, np.float64(3), np.float32(3), np.float16(3), Fraction(3)]
NOT_EXACT: list[Any] = [
    *(np.bool_(1), np.array(True), np.array([1, 2]), np.array(["a", "b"]), np.datetime64(3, "s"), np.complex128(3)),
    *(Decimal("3.5"), Decimal("NaN"), Decimal("Infinity"), Decimal("1E+999999"), 3j, b"3"),
]
NOT_FINITE: list[Any] = [math.nan, np.float32("nan"), np.float64("inf"), np.float16("-inf")]


class Labels(BaseModel):
    team: str
    run: UUID = ID
    project_name: str = Field(default="p", serialization_alias="project")


class Settings(BaseModel):
    n_epochs: int | Literal["auto"] = "auto"
    batch_size: int | None = None
    learning_rate_multiplier: float = 0.5


class Deep(BaseModel):
    settings: Settings
    steps: list[Any]


def types_in(value: Any) -> set[type]:
    """Return the types of a value and of all values in it."""
    members: list[Any] = []
    if isinstance(value, Mapping):
        members = [*value, *value.values()]
    elif isinstance(value, (list, tuple)):
        members = [*value]
    elif is_dataclass(value):
        members = [getattr(value, field.name) for field in fields(value)]
    return {type(value)}.union(*map(types_in, members))


def assert_plain(value: Any) -> None:
    foreign = {kind for kind in types_in(value) if kind.__module__ != "builtins" and not kind.__module__.startswith("fine_tuning_store")}
    assert not foreign


@each("number", INTEGERS)
def test_an_integer_of_another_type_is_accepted_wherever_one_is_taken(store: FineTuningStore, number: Any) -> None:
    job = created(store, seed=number, hyperparameters=Hyperparameters(n_epochs=number, batch_size=number))
    assert (job.seed, job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (3, 3, 3)
    assert_plain(job)
    started = store.jobs.start(job.id, hyperparameters=Hyperparameters(batch_size=number))
    updated = store.jobs.update(job.id, trained_tokens=number, estimated_finish=number, usage_metrics={"tokens": number})
    assert (updated.trained_tokens, updated.estimated_finish, updated.usage_metrics) == (3, 3, {"tokens": 3})
    succeeded = store.jobs.succeed(job.id, fine_tuned_model="m", trained_tokens=number)
    event = store.events.append(job.id, "m", data=[number])
    store.events.append(job.id, "n")
    checkpoint = store.checkpoints.create(job.id, step_number=number, fine_tuned_model_checkpoint="m", metrics={"step": number})
    added = stored(store, created_at=number, attempt=number, queued_at=number, status="failed", finished_at=number, seed=number)

    for value in (started, updated, succeeded, event, checkpoint, added):
        assert_plain(value)
    assert store.jobs.get(job.id) == succeeded
    assert store.jobs.get(added.id) == added
    assert store.events.list(job.id, limit=number).data[-1] == event
    assert store.checkpoints.list(job.id, limit=number).data == (checkpoint,)
    assert store.events.tail(job.id, number, limit=number).data == ()
    assert len(store.transitions.list(job.id, limit=number).data) == 2
    filters: dict[str, Any] = {"created_since": number, "finished_until": np.int64(4), "attempt": number}
    assert store.jobs.list(limit=number, **filters).data == (added,)
    assert list(store.jobs.iterate(page_size=number, **filters)) == [added]
    assert store.jobs.count(number, **filters) == 1
    assert store.jobs.list(hyperparameters_at_least=Hyperparameters(n_epochs=number)).data == (succeeded,)
    assert store.statistics.error_codes(limit=number)[0].jobs == 1
    assert store.checkpoint_permissions.create("m", ["p"])[0].project_id == "p"
    assert len(store.checkpoint_permissions.list("m", limit=number)) == 1


@each("number", NUMBERS)
def test_a_number_of_another_type_is_accepted_wherever_one_is_taken(store: FineTuningStore, number: Any) -> None:
    job = created(store, hyperparameters=Hyperparameters(learning_rate_multiplier=number))
    event = store.events.append(job.id, "m", data={"losses": (number, {"deep": number})})
    checkpoint = store.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint="m", metrics={"train_loss": number})

    assert job.hyperparameters.learning_rate_multiplier == 3.0
    assert (event.data, checkpoint.metrics) == ({"losses": [3, {"deep": 3}]}, {"train_loss": 3})
    for value in (job, event, checkpoint):
        assert_plain(value)
    assert store.jobs.get(job.id) == job
    assert store.events.list(job.id).data == (event,)
    assert store.jobs.list(hyperparameters_at_most=Hyperparameters(learning_rate_multiplier=number)).data == (job,)


def test_a_single_is_stored_with_all_its_digits(store: FineTuningStore) -> None:
    loss = np.float32(0.1)

    event = store.events.append(created(store).id, "m", data=loss)

    assert (event.data, type(event.data)) == (0.10000000149011612, float)


PLACES: list[tuple[str, Callable[[FineTuningStore, str, Any], object]]] = [
    ("seed", lambda store, _, value: created(store, seed=value)),
    ("hyperparameters.n_epochs", lambda store, _, value: created(store, hyperparameters=Hyperparameters(n_epochs=value))),
    ("hyperparameters.beta", lambda store, id, value: store.jobs.start(id, hyperparameters=Hyperparameters(beta=value))),
    ("hyperparameters", lambda store, _, value: created(store, hyperparameters=value)),
    ("metadata.k", lambda store, _, value: created(store, metadata={"k": value})),
    ("metadata", lambda store, id, value: store.jobs.update(id, metadata=value)),
    ("integrations[0].wandb.tags[0]", lambda store, _, value: stored(store, integrations=({"type": "wandb", "wandb": {"tags": [value]}},))),
    ("method.grader.a", lambda store, _, value: stored(store, method=Method(grader={"a": value}))),
    ("trained_tokens", lambda store, id, value: store.jobs.update(id, trained_tokens=value)),
    ("usage_metrics[0]", lambda store, id, value: store.jobs.update(id, usage_metrics=[value])),
    ("created_at", lambda store, _, value: stored(store, created_at=value)),
    ("extra.k", lambda store, _, value: stored(store, extra={"k": value})),
    ("data", lambda store, id, value: store.events.append(id, "m", data=value)),
    ("events[0].data.k", lambda store, id, value: store.events.append_many(id, [{"message": "m", "data": {"k": value}}])),
    ("created_at", lambda store, id, value: store.events.import_many(id, [FineTuningJobEvent(id="e", created_at=value, message="m")])),
    ("step_number", lambda store, id, value: store.checkpoints.create(id, step_number=value, fine_tuned_model_checkpoint="m")),
    (
        "metrics.loss",
        lambda store, id, value: store.checkpoints.create(id, step_number=1, fine_tuned_model_checkpoint="m", metrics={"loss": value}),
    ),
    ("id", lambda store, _, value: store.jobs.get(value)),
    ("ids[0]", lambda store, _, value: store.jobs.get_many([value])),
    ("job_id", lambda store, _, value: store.events.list(value)),
    ("after", lambda store, _, value: store.jobs.list(after=value)),
    ("limit", lambda store, _, value: store.jobs.list(limit=value)),
    ("after_position", lambda store, id, value: store.events.tail(id, value)),
    ("created_since", lambda store, _, value: store.jobs.list(created_since=value)),
    ("attempt", lambda store, _, value: store.jobs.list(attempt=value)),
    ("order", lambda store, _, value: store.jobs.list(order=value)),
    ("order_by", lambda store, _, value: store.jobs.list(order_by=value)),
    ("method", lambda store, _, value: store.jobs.list(method=value)),
    ("has_metadata", lambda store, _, value: store.jobs.list(has_metadata=value)),
    ("bucket", lambda store, _, value: store.statistics.counts(bucket=value)),
    ("at", lambda store, _, value: store.statistics.counts(at=value)),
    ("by", lambda store, _, value: store.statistics.counts(by=(value,))),
    ("organization_id", lambda store, _, value: store.for_organization(value)),
]


@each(("field", "call"), PLACES)
def test_a_value_without_an_exact_meaning_is_refused_by_name(
    store: FineTuningStore, field: str, call: Callable[[FineTuningStore, str, Any], object]
) -> None:
    job = created(store)
    for value in (*NOT_EXACT, *NOT_FINITE):
        with pytest.raises(InvalidValueError) as caught:
            call(store, job.id, value)
        assert caught.value.field.removeprefix("events[0].") == field.removeprefix("events[0]."), repr(value)
        assert str(caught.value).startswith(caught.value.field)
    assert store.jobs.list().data == (job,)


def test_a_uuid_is_accepted_wherever_a_text_is_taken(store: FineTuningStore) -> None:
    job = store.jobs.create(organization_id=ID, model="m", training_file=ID, metadata={"run": ID})  # type: ignore[arg-type, dict-item]
    assert (job.organization_id, job.training_file, job.metadata) == (str(ID), str(ID), {"run": str(ID)})
    added = stored(store, id=ID, usage_metrics={"run": ID}, status="queued")
    event = store.events.append(ID, "m", data=[ID])  # type: ignore[arg-type]

    assert (added.id, added.usage_metrics, event.data, event.job_id) == (str(ID), {"run": str(ID)}, [str(ID)], str(ID))
    for value in (job, added, event):
        assert_plain(value)
    assert store.jobs.get(ID) == added  # type: ignore[arg-type]
    assert store.jobs.list(training_file=ID, metadata={"run": ID}, organization_id=ID).data == (job,)  # type: ignore[arg-type, dict-item]
    assert store.for_organization(ID).jobs.list().data == (job,)  # type: ignore[arg-type]
    assert store.jobs.cancel(ID, actor=ID).status == "cancelled"  # type: ignore[arg-type]
    assert store.transitions.list(ID).data[0].actor == str(ID)  # type: ignore[arg-type]


def test_models_are_accepted_as_metadata_hyperparameters_and_json(store: FineTuningStore) -> None:
    labels = Labels(team="nlp", project_name="x")
    job = created(store, metadata=labels, hyperparameters=Settings(n_epochs=3))
    assert job.metadata == {"team": "nlp", "run": str(ID), "project": "x"}
    assert job.hyperparameters == Hyperparameters(n_epochs=3, batch_size="auto", learning_rate_multiplier=0.5)
    started = store.jobs.start(job.id, hyperparameters=Settings(n_epochs=4))  # type: ignore[arg-type]
    assert started.hyperparameters == Hyperparameters(n_epochs=4, batch_size="auto", learning_rate_multiplier=0.5)
    event = store.events.append(job.id, "m", data=[Deep(settings=Settings(), steps=[np.int64(1), Settings()])])
    settings = {"n_epochs": "auto", "batch_size": None, "learning_rate_multiplier": 0.5}
    assert event.data == [{"settings": settings, "steps": [1, settings]}]
    checkpoint = store.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint="m", metrics=Settings())  # type: ignore[arg-type]
    updated = store.jobs.update(job.id, metadata=Labels(team="cv"), usage_metrics=Settings())  # type: ignore[arg-type]

    for value in (job, started, event, checkpoint, updated):
        assert_plain(value)
    assert store.jobs.get(job.id) == updated
    assert store.events.list(job.id).data == (event,)
    assert store.jobs.list(metadata=Labels(team="cv")).data == (updated,)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"hyperparameters\.team: is not a hyperparameter"):
        created(store, hyperparameters=labels)
    with pytest.raises(InvalidValueError, match=r"metadata\.batch_size: must be a string"):
        created(store, metadata=Settings())


def test_numbers_and_models_in_payloads_are_read_as_plain_values(store: FineTuningStore) -> None:
    payload = job_to_wire(a_job(status="failed"))
    payload |= {"created_at": np.int64(5), "finished_at": Decimal(6), "seed": np.float32(7), "hyperparameters": Settings(n_epochs=2)}
    payload |= {"error": Deep(settings=Settings(), steps=[]), "metadata": Labels(team="nlp"), "new": np.float64(1.5)}

    job = store.jobs.add(job_from_wire(payload))

    assert (job.created_at, job.finished_at, job.seed, job.hyperparameters.n_epochs, job.extra) == (5, 6, 7, 2, {"new": 1.5})
    assert_plain(job)
    assert store.jobs.get(job.id) == job
    request = {
        "model": "m",
        "training_file": "f",
        "seed": np.int64(1),
        "hyperparameters": Settings(n_epochs=2),
        "metadata": Labels(team="t"),
    }
    assert_plain(created(store, **job_request_from_wire(request)))
    assert_plain(event_from_wire({"id": ID, "created_at": np.int32(1), "message": "m", "data": np.float32(0.5)}))
    members = {"created_at": Decimal(1), "fine_tuned_model_checkpoint": "m", "fine_tuning_job_id": "j", "step_number": np.float64(100)}
    assert_plain(checkpoint_from_wire({"id": "c", **members}))


def test_objects_of_the_official_client_are_read_as_payloads(store: FineTuningStore) -> None:
    from openai.types.fine_tuning import FineTuningJob as ClientJob
    from openai.types.graders import StringCheckGrader

    grader = StringCheckGrader(input="a", name="n", operation="eq", reference="b", type="string_check")
    payload = job_to_wire(a_job(status="paused", error=JobError(code="c"), method=Method(type="reinforcement", grader=grader)))

    job = job_from_wire(ClientJob.construct(**payload))  # type: ignore[arg-type]

    assert job == job_from_wire(payload)
    assert store.jobs.add(job).method == Method(type="reinforcement", grader=grader.to_dict())


def test_a_checkpoint_and_an_error_are_stored_as_plain_values(store: FineTuningStore) -> None:
    job = created(store)
    checkpoint = FineTuningJobCheckpoint(
        id=ID,  # type: ignore[arg-type]
        created_at=np.int64(1),  # type: ignore[arg-type]
        fine_tuned_model_checkpoint=np.str_("m"),
        fine_tuning_job_id=job.id,
        step_number=Decimal(2),  # type: ignore[arg-type]
        extra={"rank": np.uint8(8)},
    )

    assert_plain(store.checkpoints.add(checkpoint))
    failed = store.jobs.fail(job.id, JobError(code=np.str_("c"), extra={"exit": np.int64(137)}))
    assert_plain(failed)
    assert failed.error == JobError(code="c", extra={"exit": 137})

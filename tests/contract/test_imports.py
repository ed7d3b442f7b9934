"""A whole job from elsewhere goes in with its history, once, however often it is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fine_tuning_store import (
    CheckpointPermission,
    FineTuningJob,
    FineTuningJobCheckpoint,
    FineTuningStore,
    IllegalTransitionError,
    InvalidValueError,
    JobNotFoundError,
    JobStatus,
)
from tests.support.factories import a_transition, created, stored
from tests.support.parallel import at_once
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

MODELS = ("ft:final", "ft:c-1", "ft:c-2")
Export = tuple[Any, ...]


def a_checkpoint(job_id: str, number: int, **members: Any) -> FineTuningJobCheckpoint:
    return FineTuningJobCheckpoint(
        **{
            "id": f"ftckpt_{number}",
            "created_at": number,
            "fine_tuned_model_checkpoint": f"ft:c-{number}",
            "fine_tuning_job_id": job_id,
            "step_number": number,
            "metrics": {"loss": 0.5, "at": [1, None]},
            **members,
        }
    )


def a_permission(number: int, **members: Any) -> CheckpointPermission:
    return CheckpointPermission(
        **{
            "id": f"cp_{number}",
            "created_at": number,
            "project_id": f"proj_{number}",
            "fine_tuned_model_checkpoint": "ft:c-1",
            **members,
        }
    )


def run_job(store: FineTuningStore) -> FineTuningJob:
    """Return a job that ran twice, with events, checkpoints and permissions."""
    job = created(store, metadata={"a": "b"})
    store.jobs.enqueue(job.id, message="queued", actor="user-1")
    store.jobs.start(job.id, actor="worker-1")
    store.jobs.requeue(job.id, reason="deploy")
    store.jobs.start(job.id, actor="worker-2")
    for number in (1, 2):
        store.checkpoints.create(job.id, step_number=number, fine_tuned_model_checkpoint=f"ft:c-{number}", metrics={"loss": 1.5})
        store.events.append(job.id, "step", type="metrics", data={"step": number})
    store.jobs.succeed(job.id, fine_tuned_model="ft:final", result_files=["file-1"])
    store.checkpoint_permissions.create("ft:c-1", ["proj-2", "proj-1"])
    store.checkpoint_permissions.create("ft:final", ["proj-1"])
    return store.jobs.get(job.id)


def exported(store: FineTuningStore, id: str) -> Export:
    job = store.jobs.get(id)
    permissions = [
        permission
        for model in MODELS
        for permission in store.checkpoint_permissions.list(model, organization_id=job.organization_id, order="asc", limit=1000)
    ]
    return (
        job,
        store.transitions.list(id, limit=1000).data,
        store.events.tail(id, limit=1000).data,
        store.checkpoints.list(id, limit=1000).data,
        permissions,
    )


def import_all(store: FineTuningStore, export: Export) -> None:
    job, transitions, events, checkpoints, permissions = export
    store.transitions.import_many(job.id, transitions)
    store.events.import_many(job.id, events)
    store.checkpoints.import_many(job.id, checkpoints)
    store.checkpoint_permissions.import_many(job.id, permissions)


@each("times", [1, 2])
def test_an_export_that_is_imported_is_exported_as_it_was(store: FineTuningStore, times: int) -> None:
    job = run_job(store)
    before = exported(store, job.id)
    store.jobs.delete(job.id)
    store.jobs.add(job)

    for _ in range(times):
        import_all(store, before)

    assert exported(store, job.id) == before
    assert [len(part) for part in before[1:]] == [5, 3, 2, 3]


def test_a_job_with_an_imported_log_is_still_a_mirrored_one(store: FineTuningStore) -> None:
    job = stored(store, status="queued")
    store.transitions.import_many(job.id, [a_transition(job.id)])

    replaced = store.jobs.replace(replace(job, status=JobStatus.RUNNING))

    assert store.jobs.get(job.id) == replaced
    assert store.transitions.import_many(job.id, [a_transition(job.id, 2)])[0].position == 2


# Transitions


def test_the_log_of_an_imported_job_continues_here(store: FineTuningStore) -> None:
    job = stored(store, status="queued", attempt=1)
    log = tuple(a_transition(job.id, position, actor="w", reason="r") for position in (1, 2))

    assert store.transitions.import_many(job.id, iter(log)) == log
    store.jobs.start(job.id, actor="worker-1")

    assert store.transitions.list(job.id, limit=2).data == log
    (started,) = store.transitions.list(job.id, after=log[-1].id).data
    assert (started.position, started.transition, started.attempt) == (3, "start", 2)


def test_a_log_is_imported_in_several_calls_that_overlap(store: FineTuningStore) -> None:
    job = stored(store)
    log = [a_transition(job.id, position) for position in range(1, 2501)]

    for first, last in ((0, 3), (0, 3), (1, 5), (2, 1700), (0, 2500)):
        assert list(store.transitions.import_many(job.id, log[first:last])) == log[first:last]

    assert list(store.transitions.list(job.id, limit=1000)) == log[:1000]
    assert list(store.transitions.list(job.id, after=log[1999].id, limit=1000)) == log[2000:]


def test_transitions_that_are_stored_can_be_imported_again_when_the_job_has_gone_on_and_new_ones_cannot(store: FineTuningStore) -> None:
    job = stored(store, status="queued")
    log = store.transitions.import_many(job.id, [a_transition(job.id, 1), a_transition(job.id, 2)])
    store.jobs.start(job.id)
    before = store.transitions.list(job.id)

    assert store.transitions.import_many(job.id, log) == log
    with pytest.raises(IllegalTransitionError) as refused:
        store.transitions.import_many(job.id, [*before, a_transition(job.id, 4)])
    with pytest.raises(InvalidValueError, match=r"transitions\[2\]\.position"):
        store.transitions.import_many(job.id, [*log, a_transition(job.id, 3)])

    assert (refused.value.transition, refused.value.status, refused.value.allowed_from) == ("transitions.import_many", "running", ())
    assert store.transitions.list(job.id) == before


def test_a_job_that_was_created_here_takes_no_log(store: FineTuningStore) -> None:
    job = created(store)

    with pytest.raises(IllegalTransitionError):
        store.transitions.import_many(job.id, [a_transition(job.id)])

    assert store.transitions.import_many(job.id, []) == ()
    assert store.transitions.list(job.id).data == ()


#: By the field that the error names, transitions that are refused where the first two of a job are stored.
WRONG_TRANSITIONS: dict[str, Callable[[str], list[Any]]] = {
    "transitions[1].position": lambda id: [a_transition(id, 1), a_transition(id, 2, reason="different")],
    "transitions[0].position": lambda id: [a_transition(id, 4)],
    "transitions[2].position": lambda id: [a_transition(id, 2), a_transition(id, 3), a_transition(id, 5)],
    "transitions[1].id": lambda id: [a_transition(id, 3), a_transition(id, 4, id=a_transition(id, 3).id)],
    "transitions[0].id": lambda id: [a_transition(id, 3, id=a_transition(id, 1).id)],
    "transitions[0].job_id": lambda id: [a_transition("ftjob-other", 3)],
    "transitions[0].to_status": lambda id: [a_transition(id, 3, to_status="done")],
    "transitions[0].from_status": lambda id: [a_transition(id, 3, from_status=None)],
    "transitions[0].transition": lambda id: [a_transition(id, 3, transition="")],
    "transitions[0].at": lambda id: [a_transition(id, 3, at="now")],
    "transitions[0].actor": lambda id: [a_transition(id, 3, actor="")],
    "transitions[0].attempt": lambda id: [a_transition(id, 3, attempt=-1)],
    "transitions[0]": lambda id: ["start"],
    "transitions": lambda id: [a_transition(id, position) for position in range(3, 10_004)],
}


@each("field", WRONG_TRANSITIONS)
def test_a_wrong_transition_is_refused_by_its_field_and_none_is_stored(store: FineTuningStore, field: str) -> None:
    job = stored(store)
    log = store.transitions.import_many(job.id, [a_transition(job.id, 1), a_transition(job.id, 2)])

    with store.begin() as unit, pytest.raises(InvalidValueError) as refused:
        unit.transitions.import_many(job.id, WRONG_TRANSITIONS[field](job.id))

    assert refused.value.field == field
    assert store.transitions.list(job.id).data == log


# Checkpoints and permissions


def test_checkpoints_are_imported_once(store: FineTuningStore) -> None:
    job = stored(store)
    checkpoints = tuple(a_checkpoint(job.id, number, extra={"a": number}) for number in range(1, 1102))

    for given in (checkpoints[:1000], checkpoints[:1000], checkpoints):
        assert store.checkpoints.import_many(job.id, iter(given)) == given

    assert store.checkpoints.list(job.id, limit=1000).data == checkpoints[:100:-1]
    for field, wrong in (
        ("checkpoints[1].id", [a_checkpoint(job.id, 2000), a_checkpoint(job.id, 1, metrics={})]),
        ("checkpoints[1].id", [a_checkpoint(job.id, 2000)] * 2),
        ("checkpoints[0].fine_tuning_job_id", [a_checkpoint("ftjob-other", 2000)]),
        ("checkpoints[0].step_number", [a_checkpoint(job.id, 2000, step_number="one")]),
        ("checkpoints[0]", [{}]),
    ):
        with pytest.raises(InvalidValueError) as refused, store.begin() as unit:
            unit.checkpoints.import_many(job.id, wrong)  # type: ignore[arg-type]
        assert refused.value.field == field
    assert store.checkpoints.list(job.id, limit=1).data == checkpoints[-1:]


def test_permissions_are_imported_once_for_the_job_and_its_organization(store: FineTuningStore) -> None:
    job = stored(store, fine_tuned_model="ft:c-1")
    given = [a_permission(number) for number in range(1, 4)]
    expected = tuple(replace(permission, job_id=job.id, organization_id="org-1") for permission in given)

    for _ in range(2):
        assert store.checkpoint_permissions.import_many(job.id, iter(given)) == expected
    assert store.checkpoint_permissions.import_many(job.id, expected) == expected

    assert store.checkpoint_permissions.list("ft:c-1").data == expected[::-1]


def test_a_permission_that_the_project_has_already_stays_as_it_is(store: FineTuningStore) -> None:
    job = stored(store, fine_tuned_model="ft:c-1")
    (own,) = store.checkpoint_permissions.create("ft:c-1", ["proj_1"])

    imported = store.checkpoint_permissions.import_many(job.id, [a_permission(1), a_permission(2), a_permission(3, project_id="proj_2")])

    assert imported[0] == own
    assert imported[1] == imported[2]
    assert {permission.id for permission in store.checkpoint_permissions.list("ft:c-1")} == {own.id, "cp_2"}


WRONG_PERMISSIONS: list[tuple[str, dict[str, Any]]] = [
    ("id", {"id": "cp_1", "created_at": 5}),
    ("id", {"id": "cp_1"}),
    ("id", {"id": ""}),
    ("job_id", {"job_id": "ftjob-other"}),
    ("organization_id", {"organization_id": "org-2"}),
    ("project_id", {"project_id": None}),
    ("created_at", {"created_at": "now"}),
    ("fine_tuned_model_checkpoint", {"fine_tuned_model_checkpoint": None}),
]


@each(("field", "members"), WRONG_PERMISSIONS)
def test_a_wrong_permission_is_refused_by_its_field_and_none_is_stored(store: FineTuningStore, field: str, members: dict[str, Any]) -> None:
    job = stored(store, fine_tuned_model="ft:c-1")
    first = store.checkpoint_permissions.import_many(job.id, [a_permission(1)])

    with store.begin() as unit, pytest.raises(InvalidValueError) as refused:
        unit.checkpoint_permissions.import_many(job.id, [a_permission(7), a_permission(2, **members)])

    assert refused.value.field == f"permissions[1].{field}"
    assert store.checkpoint_permissions.list("ft:c-1").data == first


def test_the_id_of_a_permission_of_another_organization_is_refused(store: FineTuningStore) -> None:
    other, job = stored(store, organization_id="org-other"), stored(store, fine_tuned_model="ft:c-1")
    store.checkpoint_permissions.import_many(other.id, [a_permission(1)])

    with pytest.raises(InvalidValueError, match=r"permissions\[0\]\.id"):
        store.for_organization("org-1").checkpoint_permissions.import_many(job.id, [a_permission(1)])


def test_an_unknown_job_is_refused(store: FineTuningStore) -> None:
    for call in (
        lambda: store.transitions.import_many("ftjob-none", []),
        lambda: store.transitions.import_many("ftjob-none", [a_transition("ftjob-none")]),
        lambda: store.checkpoints.import_many("ftjob-none", []),
        lambda: store.checkpoint_permissions.import_many("ftjob-none", [a_permission(1)]),
    ):
        with pytest.raises(JobNotFoundError):
            call()


# Several processes


def import_in(wait: Callable[[], object], url: str, export: Export) -> None:
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        import_all(store, export)


@pytest.mark.slow
def test_several_imports_of_the_same_history_at_once_store_it_once(store: FineTuningStore, url: str) -> None:
    job = run_job(store)
    before = exported(store, job.id)
    store.jobs.delete(job.id)
    store.jobs.add(job)

    results = at_once(*[(import_in, (url, before))] * 3)

    assert results == [(None, None)] * 3
    assert exported(store, job.id) == before

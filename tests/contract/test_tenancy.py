"""A store of one organization cannot read or write rows of another organization."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import create_engine

from fine_tuning_store import (
    CheckpointNotFoundError,
    CheckpointPermission,
    CheckpointPermissionNotFoundError,
    CheckpointPermissionRepository,
    CursorNotFoundError,
    FineTuningJob,
    FineTuningJobCheckpoint,
    FineTuningJobCheckpointRepository,
    FineTuningJobEvent,
    FineTuningJobEventRepository,
    FineTuningJobRepository,
    FineTuningStore,
    FineTuningStoreError,
    Hyperparameters,
    InvalidValueError,
    JobAlreadyExistsError,
    JobError,
    JobNotFoundError,
    JobTransitionRepository,
)
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from tests.support.factories import a_job, a_transition, stored, transition
from tests.support.tables import each

pytestmark = pytest.mark.every_driver


def _transition(verb: str, jobs: FineTuningJobRepository, id: str) -> FineTuningJob:
    return transition(jobs, verb, id)


CALLS: dict[str, Callable[[FineTuningJobRepository, str], object]] = {
    "get": lambda jobs, id: jobs.get(id),
    "get_many": lambda jobs, id: jobs.get_many([id]),
    **{verb: partial(_transition, verb) for verb in TRANSITIONS},
    "start": lambda jobs, id: jobs.start(id, hyperparameters=Hyperparameters(n_epochs=9)),
    "update": lambda jobs, id: jobs.update(id, trained_tokens=1, metadata={"stolen": "yes"}),
    "update metadata": lambda jobs, id: jobs.update(id, metadata={"stolen": "yes"}),
    "delete": lambda jobs, id: jobs.delete(id),
}
#: Methods without the id of a stored job; separate tests below cover them.
WITHOUT_ID = {"create", "add", "add_many", "replace", "replace_many", "list", "iterate", "count", "delete_expired_idempotency_keys"}


def test_every_public_method_is_covered_here() -> None:
    methods = {name for name in dir(FineTuningJobRepository) if not name.startswith("_")}

    assert methods == {name.split()[0] for name in CALLS} | WITHOUT_ID


@each("call", CALLS)
@each("status", ["validating_files", "queued", "running", "paused", "succeeded", "cancelled"])
def test_a_job_of_another_organization_is_not_found_and_not_changed(store: FineTuningStore, call: str, status: str) -> None:
    other = stored(store, organization_id="org-other", status=status, metadata={"a": "b"}, result_files=("file-1",))
    scoped = store.for_organization("org-own")

    with pytest.raises(JobNotFoundError):
        CALLS[call](scoped.jobs, other.id)
    with pytest.raises(JobNotFoundError), scoped.begin() as unit:
        CALLS[call](unit.jobs, other.id)

    assert store.jobs.get(other.id) == other


def test_a_store_of_one_organization_has_no_migrations(store: FineTuningStore) -> None:
    """They change the tables of everyone."""
    scoped = store.for_organization("org-own")

    assert not hasattr(scoped, "schema")
    with pytest.raises(AttributeError, match="for_organization"):
        scoped.schema.downgrade("base")


@each("call", ["start", "succeed", "fail", "update", "delete"])
def test_a_store_of_the_organization_changes_the_rows_of_child_tables_too(store: FineTuningStore, call: str) -> None:
    status = {"start": "queued", "succeed": "running", "delete": "failed"}.get(call, "running")
    job = stored(store, status=status, metadata={"a": "b"}, result_files=("file-1",), error=JobError(code="old"))
    equal = a_job(status=status, metadata={"a": "b"}, result_files=("file-1",), error=JobError(code="old"))
    store.jobs.add(equal)

    scoped, unscoped = (CALLS[call](jobs, id) for jobs, id in ((store.for_organization("org-1").jobs, job.id), (store.jobs, equal.id)))

    if isinstance(scoped, FineTuningJob) and isinstance(unscoped, FineTuningJob):
        assert (scoped.hyperparameters, scoped.result_files, scoped.error, scoped.metadata) == (
            unscoped.hyperparameters,
            unscoped.result_files,
            unscoped.error,
            unscoped.metadata,
        )
    else:
        assert store.jobs.list().data == ()


def test_list_and_iterate_return_only_the_organizations_jobs(store: FineTuningStore) -> None:
    other = stored(store, organization_id="org-other", metadata={"a": "b"}, model="m")
    scoped = store.for_organization("org-own")
    job = scoped.jobs.create(model="m", training_file="f", metadata={"a": "b"})

    for filters in ({}, {"metadata": {"a": "b"}}, {"model": "m"}, {"organization_id": "org-own"}, {"has_metadata": True}):
        assert scoped.jobs.list(**filters).data == (job,)
        assert list(scoped.jobs.iterate(**filters)) == [job]
    with pytest.raises(CursorNotFoundError):
        scoped.jobs.list(after=other.id)
    for call in (scoped.jobs.list, scoped.jobs.iterate):
        with pytest.raises(InvalidValueError, match="organization_id"):
            call(organization_id="org-other")


def test_new_jobs_belong_to_the_organization_of_the_store(store: FineTuningStore) -> None:
    scoped = store.for_organization("org-own")

    created = scoped.jobs.create(model="m", training_file="f")
    added = scoped.jobs.add(a_job(organization_id=None))
    many = scoped.jobs.add_many([a_job(organization_id="org-own"), a_job(organization_id=None)])

    assert {job.organization_id for job in (created, added, *many)} == {"org-own"}
    for call in (
        lambda: scoped.jobs.create(organization_id="org-other", model="m", training_file="f"),
        lambda: scoped.jobs.add(a_job(organization_id="org-other")),
        lambda: scoped.jobs.add_many([a_job(organization_id=None), a_job(organization_id="org-other")]),
        lambda: scoped.jobs.replace(a_job(organization_id="org-other")),
    ):
        with pytest.raises(InvalidValueError, match="organization_id"):
            call()
    assert len(store.jobs.list()) == 4


def test_an_id_that_another_organization_uses_is_refused_without_further_information(store: FineTuningStore) -> None:
    other = stored(store, organization_id="org-other", model="secret-model")
    scoped = store.for_organization("org-own")

    for call in (
        lambda: scoped.jobs.add(a_job(id=other.id, organization_id=None)),
        lambda: scoped.jobs.add_many([a_job(organization_id=None), a_job(id=other.id, organization_id=None)]),
        lambda: scoped.jobs.replace(a_job(id=other.id, organization_id=None)),
        lambda: scoped.jobs.replace_many([a_job(organization_id=None), a_job(id=other.id, organization_id=None)]),
        lambda: store.jobs.replace(a_job(id=other.id, organization_id="org-own")),
    ):
        with pytest.raises(JobAlreadyExistsError) as caught:
            call()
        assert str(caught.value) == f"a fine-tuning job with the id {other.id!r} is already stored"
    assert list(scoped.jobs.iterate()) == []
    assert store.jobs.get(other.id) == other


def test_a_store_of_one_organization_cannot_be_switched_to_another(store: FineTuningStore) -> None:
    scoped = store.for_organization("org-own")

    assert scoped.for_organization("org-own").organization_id == "org-own"
    with pytest.raises(InvalidValueError, match="org-own"):
        scoped.for_organization("org-other")


def test_organizations_are_compared_bytewise(store: FineTuningStore) -> None:
    stored(store, organization_id="org-A")

    for name in ("org-a", "org-A ", "org-Á"):
        assert store.for_organization(name).jobs.list().data == ()


def test_a_repository_in_a_hosts_transaction_can_be_restricted_to_an_organization(store: FineTuningStore, url: str) -> None:
    other = stored(store, organization_id="org-other")
    engine = create_engine(url)

    with engine.begin() as connection:
        jobs = FineTuningJobRepository(connection, organization_id="org-own")
        with pytest.raises(JobNotFoundError):
            jobs.get(other.id)
        created = jobs.create(model="m", training_file="f")
    engine.dispose()

    assert store.jobs.get(created.id).organization_id == "org-own"


# Events, checkpoints and permissions


AN_EVENT = FineTuningJobEvent(id="ftevent-other", created_at=1, message="other")
RECORD_CALLS: dict[str, tuple[type[FineTuningStoreError], Callable[[Any, FineTuningJob, CheckpointPermission], object]]] = {
    "events.append": (JobNotFoundError, lambda scoped, job, _: scoped.events.append(job.id, "stolen")),
    "events.append_many": (JobNotFoundError, lambda scoped, job, _: scoped.events.append_many(job.id, [{"message": "stolen"}])),
    "events.append_many of none": (JobNotFoundError, lambda scoped, job, _: scoped.events.append_many(job.id, [])),
    "events.import_many": (JobNotFoundError, lambda scoped, job, _: scoped.events.import_many(job.id, [AN_EVENT])),
    "events.import_many of none": (JobNotFoundError, lambda scoped, job, _: scoped.events.import_many(job.id, [])),
    "events.list": (JobNotFoundError, lambda scoped, job, _: scoped.events.list(job.id)),
    "events.list after": (JobNotFoundError, lambda scoped, job, _: scoped.events.list(job.id, after="ftevent-other")),
    "events.tail": (JobNotFoundError, lambda scoped, job, _: scoped.events.tail(job.id)),
    "checkpoints.create": (
        JobNotFoundError,
        lambda scoped, job, _: scoped.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint="ft:stolen"),
    ),
    "checkpoints.add": (
        JobNotFoundError,
        lambda scoped, job, _: scoped.checkpoints.add(
            FineTuningJobCheckpoint(
                id="ftckpt_own", created_at=1, fine_tuned_model_checkpoint="ft:c", fine_tuning_job_id=job.id, step_number=1
            )
        ),
    ),
    "checkpoints.import_many": (
        JobNotFoundError,
        lambda scoped, job, _: scoped.checkpoints.import_many(
            job.id,
            [
                FineTuningJobCheckpoint(
                    id="ftckpt_own", created_at=1, fine_tuned_model_checkpoint="ft:c", fine_tuning_job_id=job.id, step_number=1
                )
            ],
        ),
    ),
    "checkpoints.list": (JobNotFoundError, lambda scoped, job, _: scoped.checkpoints.list(job.id)),
    "checkpoints.list after": (JobNotFoundError, lambda scoped, job, _: scoped.checkpoints.list(job.id, after="ftckpt_other")),
    "checkpoint_permissions.create": (
        CheckpointNotFoundError,
        lambda scoped, _, __: scoped.checkpoint_permissions.create("ft:c", ["proj_1"]),
    ),
    "checkpoint_permissions.create final": (
        CheckpointNotFoundError,
        lambda scoped, _, __: scoped.checkpoint_permissions.create("ft:final", ["proj_9"]),
    ),
    "checkpoint_permissions.import_many": (
        JobNotFoundError,
        lambda scoped, job, permission: scoped.checkpoint_permissions.import_many(job.id, [permission]),
    ),
    "transitions.import_many": (
        JobNotFoundError,
        lambda scoped, job, _: scoped.transitions.import_many(job.id, [a_transition(job.id)]),
    ),
    "transitions.list": (JobNotFoundError, lambda scoped, job, _: scoped.transitions.list(job.id)),
    "checkpoint_permissions.list": (CheckpointNotFoundError, lambda scoped, _, __: scoped.checkpoint_permissions.list("ft:c")),
    "checkpoint_permissions.list after": (
        CheckpointNotFoundError,
        lambda scoped, _, permission: scoped.checkpoint_permissions.list("ft:c", after=permission.id, project_id="proj_1"),
    ),
    "checkpoint_permissions.delete": (
        CheckpointPermissionNotFoundError,
        lambda scoped, _, permission: scoped.checkpoint_permissions.delete(permission.id),
    ),
    "checkpoint_permissions.delete of a model": (
        CheckpointPermissionNotFoundError,
        lambda scoped, _, permission: scoped.checkpoint_permissions.delete(permission.id, fine_tuned_model_checkpoint="ft:c"),
    ),
}


def test_every_public_method_of_the_other_repositories_is_covered_here() -> None:
    repositories = {
        "events": FineTuningJobEventRepository,
        "checkpoints": FineTuningJobCheckpointRepository,
        "checkpoint_permissions": CheckpointPermissionRepository,
        "transitions": JobTransitionRepository,
    }
    methods = {f"{name}.{method}" for name, kind in repositories.items() for method in vars(kind) if not method.startswith("_")}

    assert methods == {name.split()[0] for name in RECORD_CALLS}


def add_job_with_children(store: FineTuningStore, organization_id: str) -> tuple[FineTuningJob, CheckpointPermission]:
    """Add a job with an event, a checkpoint and a permission, and return the job and the permission."""
    job = stored(store, organization_id=organization_id, status="succeeded", fine_tuned_model="ft:final")
    store.events.import_many(job.id, [AN_EVENT])
    store.checkpoints.add(
        FineTuningJobCheckpoint(
            id="ftckpt_other", created_at=1, fine_tuned_model_checkpoint="ft:c", fine_tuning_job_id=job.id, step_number=1
        )
    )
    (permission,) = store.checkpoint_permissions.create("ft:c", ["proj_1"], organization_id=organization_id)
    return job, permission


def read_all(store: FineTuningStore, job: FineTuningJob) -> list[object]:
    """Return a job with all its events, checkpoints and permissions."""
    assert job.organization_id is not None
    permissions = [
        store.checkpoint_permissions.list(model, organization_id=job.organization_id, limit=1000) for model in ("ft:c", "ft:final")
    ]
    others = [store.events.tail(job.id), store.checkpoints.list(job.id), store.transitions.list(job.id)]
    return [store.jobs.get(job.id), *others, *permissions]


@each("name", RECORD_CALLS)
def test_records_of_another_organizations_job_are_not_found_and_not_changed(store: FineTuningStore, name: str) -> None:
    other, permission = add_job_with_children(store, "org-other")
    before = read_all(store, other)
    error, call = RECORD_CALLS[name]
    scoped = store.for_organization("org-own")

    with pytest.raises(error):
        call(scoped, other, permission)
    with scoped.begin() as unit, pytest.raises(error):
        call(unit, other, permission)

    assert read_all(store, other) == before


def test_models_with_the_same_name_have_separate_permissions(store: FineTuningStore) -> None:
    other, permission = add_job_with_children(store, "org-other")
    _, own_permission = add_job_with_children(store, "org-own")
    before = read_all(store, other)
    scoped = store.for_organization("org-own")

    assert scoped.checkpoint_permissions.list("ft:c").data == (own_permission,)
    assert scoped.checkpoint_permissions.create("ft:c", ["proj_1"]) == (own_permission,)
    with pytest.raises(CursorNotFoundError):
        scoped.checkpoint_permissions.list("ft:c", after=permission.id)
    for call in (
        lambda: scoped.checkpoint_permissions.create("ft:c", ["proj_1"], organization_id="org-other"),
        lambda: scoped.checkpoint_permissions.list("ft:c", organization_id="org-other"),
    ):
        with pytest.raises(InvalidValueError, match="organization_id"):
            call()
    scoped.checkpoint_permissions.delete(own_permission.id)
    assert read_all(store, other) == before

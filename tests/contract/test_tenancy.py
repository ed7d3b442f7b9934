"""A store of one organization: no other one's row can be seen or touched through it."""

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
)
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from tests.support.factories import a_job, stored, transition
from tests.support.tables import each

pytestmark = pytest.mark.every_driver


def _transition(verb: str, jobs: FineTuningJobRepository, id: str) -> FineTuningJob:
    return transition(jobs, verb, id)


TOUCHES: dict[str, Callable[[FineTuningJobRepository, str], object]] = {
    "get": lambda jobs, id: jobs.get(id),
    "get_many": lambda jobs, id: jobs.get_many([id]),
    **{verb: partial(_transition, verb) for verb in TRANSITIONS},
    "start": lambda jobs, id: jobs.start(id, hyperparameters=Hyperparameters(n_epochs=9)),
    "update": lambda jobs, id: jobs.update(id, trained_tokens=1, metadata={"stolen": "yes"}),
    "update metadata": lambda jobs, id: jobs.update(id, metadata={"stolen": "yes"}),
    "delete": lambda jobs, id: jobs.delete(id),
}
#: Methods that take no id of a stored job; what they see of others is tested below.
OTHERS = {"create", "add", "add_many", "list", "iterate", "count"}


def test_every_public_method_is_covered_here() -> None:
    methods = {name for name in dir(FineTuningJobRepository) if not name.startswith("_")}

    assert methods == {name.split()[0] for name in TOUCHES} | OTHERS


@each("touch", TOUCHES)
@each("status", ["validating_files", "queued", "running", "paused", "succeeded", "cancelled"])
def test_a_job_of_another_organization_is_not_found_and_not_changed(store: FineTuningStore, touch: str, status: str) -> None:
    theirs = stored(store, organization_id="org-theirs", status=status, metadata={"a": "b"}, result_files=("file-1",))
    ours = store.for_organization("org-ours")

    with pytest.raises(JobNotFoundError):
        TOUCHES[touch](ours.jobs, theirs.id)
    with pytest.raises(JobNotFoundError), ours.begin() as unit:
        TOUCHES[touch](unit.jobs, theirs.id)

    assert store.jobs.get(theirs.id) == theirs


@each("touch", ["start", "succeed", "fail", "update", "delete"])
def test_a_store_of_the_organization_reaches_children_too(store: FineTuningStore, touch: str) -> None:
    status = {"start": "queued", "succeed": "running", "delete": "failed"}.get(touch, "running")
    job = stored(store, status=status, metadata={"a": "b"}, result_files=("file-1",), error=JobError(code="old"))
    same = a_job(status=status, metadata={"a": "b"}, result_files=("file-1",), error=JobError(code="old"))
    store.jobs.add(same)

    scoped, free = (TOUCHES[touch](jobs, id) for jobs, id in ((store.for_organization("org-1").jobs, job.id), (store.jobs, same.id)))

    if isinstance(scoped, FineTuningJob) and isinstance(free, FineTuningJob):
        assert (scoped.hyperparameters, scoped.result_files, scoped.error, scoped.metadata) == (
            free.hyperparameters,
            free.result_files,
            free.error,
            free.metadata,
        )
    else:
        assert store.jobs.list().data == ()


def test_lists_and_walks_show_the_own_jobs_only(store: FineTuningStore) -> None:
    theirs = stored(store, organization_id="org-theirs", metadata={"a": "b"}, model="m")
    ours = store.for_organization("org-ours")
    job = ours.jobs.create(model="m", training_file="f", metadata={"a": "b"})

    for filters in ({}, {"metadata": {"a": "b"}}, {"model": "m"}, {"organization_id": "org-ours"}, {"has_metadata": True}):
        assert ours.jobs.list(**filters).data == (job,)
        assert list(ours.jobs.iterate(**filters)) == [job]
    with pytest.raises(CursorNotFoundError):
        ours.jobs.list(after=theirs.id)
    for call in (ours.jobs.list, ours.jobs.iterate):
        with pytest.raises(InvalidValueError, match="organization_id"):
            call(organization_id="org-theirs")


def test_new_jobs_belong_to_the_organization_of_the_store(store: FineTuningStore) -> None:
    ours = store.for_organization("org-ours")

    created = ours.jobs.create(model="m", training_file="f")
    added = ours.jobs.add(a_job(organization_id=None))
    many = ours.jobs.add_many([a_job(organization_id="org-ours"), a_job(organization_id=None)])

    assert {job.organization_id for job in (created, added, *many)} == {"org-ours"}
    for call in (
        lambda: ours.jobs.create(organization_id="org-theirs", model="m", training_file="f"),
        lambda: ours.jobs.add(a_job(organization_id="org-theirs")),
        lambda: ours.jobs.add_many([a_job(organization_id=None), a_job(organization_id="org-theirs")]),
    ):
        with pytest.raises(InvalidValueError, match="organization_id"):
            call()
    assert len(store.jobs.list()) == 4


def test_an_id_that_is_taken_elsewhere_is_refused_and_says_nothing_more(store: FineTuningStore) -> None:
    theirs = stored(store, organization_id="org-theirs", model="secret-model")
    ours = store.for_organization("org-ours")

    for call in (
        lambda: ours.jobs.add(a_job(id=theirs.id, organization_id=None)),
        lambda: ours.jobs.add_many([a_job(organization_id=None), a_job(id=theirs.id, organization_id=None)]),
    ):
        with pytest.raises(JobAlreadyExistsError) as caught:
            call()
        assert str(caught.value) == f"a fine-tuning job with the id {theirs.id!r} is already stored"
    assert list(ours.jobs.iterate()) == []
    assert store.jobs.get(theirs.id) == theirs


def test_a_store_of_one_organization_cannot_be_turned_to_another(store: FineTuningStore) -> None:
    ours = store.for_organization("org-ours")

    assert ours.for_organization("org-ours").organization_id == "org-ours"
    with pytest.raises(InvalidValueError, match="org-ours"):
        ours.for_organization("org-theirs")


def test_organizations_compare_bytewise(store: FineTuningStore) -> None:
    stored(store, organization_id="org-A")

    for name in ("org-a", "org-A ", "org-Á"):
        assert store.for_organization(name).jobs.list().data == ()


def test_a_repository_in_a_hosts_transaction_can_be_held_to_an_organization(store: FineTuningStore, url: str) -> None:
    theirs = stored(store, organization_id="org-theirs")
    engine = create_engine(url)

    with engine.begin() as connection:
        jobs = FineTuningJobRepository(connection, organization_id="org-ours")
        with pytest.raises(JobNotFoundError):
            jobs.get(theirs.id)
        created = jobs.create(model="m", training_file="f")
    engine.dispose()

    assert store.jobs.get(created.id).organization_id == "org-ours"


# Events, checkpoints and permissions


AN_EVENT = FineTuningJobEvent(id="ftevent-theirs", created_at=1, message="theirs")
RECORD_TOUCHES: dict[str, tuple[type[FineTuningStoreError], Callable[[Any, FineTuningJob, CheckpointPermission], object]]] = {
    "events.append": (JobNotFoundError, lambda ours, job, _: ours.events.append(job.id, "stolen")),
    "events.append_many": (JobNotFoundError, lambda ours, job, _: ours.events.append_many(job.id, [{"message": "stolen"}])),
    "events.append_many of none": (JobNotFoundError, lambda ours, job, _: ours.events.append_many(job.id, [])),
    "events.import_many": (JobNotFoundError, lambda ours, job, _: ours.events.import_many(job.id, [AN_EVENT])),
    "events.import_many of none": (JobNotFoundError, lambda ours, job, _: ours.events.import_many(job.id, [])),
    "events.list": (JobNotFoundError, lambda ours, job, _: ours.events.list(job.id)),
    "events.list after": (JobNotFoundError, lambda ours, job, _: ours.events.list(job.id, after="ftevent-theirs")),
    "events.tail": (JobNotFoundError, lambda ours, job, _: ours.events.tail(job.id)),
    "checkpoints.create": (
        JobNotFoundError,
        lambda ours, job, _: ours.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint="ft:stolen"),
    ),
    "checkpoints.add": (
        JobNotFoundError,
        lambda ours, job, _: ours.checkpoints.add(
            FineTuningJobCheckpoint(
                id="ftckpt_ours", created_at=1, fine_tuned_model_checkpoint="ft:c", fine_tuning_job_id=job.id, step_number=1
            )
        ),
    ),
    "checkpoints.list": (JobNotFoundError, lambda ours, job, _: ours.checkpoints.list(job.id)),
    "checkpoints.list after": (JobNotFoundError, lambda ours, job, _: ours.checkpoints.list(job.id, after="ftckpt_theirs")),
    "checkpoint_permissions.create": (CheckpointNotFoundError, lambda ours, _, __: ours.checkpoint_permissions.create("ft:c", ["proj_1"])),
    "checkpoint_permissions.create final": (
        CheckpointNotFoundError,
        lambda ours, _, __: ours.checkpoint_permissions.create("ft:final", ["proj_9"]),
    ),
    "checkpoint_permissions.list": (CheckpointNotFoundError, lambda ours, _, __: ours.checkpoint_permissions.list("ft:c")),
    "checkpoint_permissions.list after": (
        CheckpointNotFoundError,
        lambda ours, _, permission: ours.checkpoint_permissions.list("ft:c", after=permission.id, project_id="proj_1"),
    ),
    "checkpoint_permissions.delete": (
        CheckpointPermissionNotFoundError,
        lambda ours, _, permission: ours.checkpoint_permissions.delete(permission.id),
    ),
    "checkpoint_permissions.delete of a model": (
        CheckpointPermissionNotFoundError,
        lambda ours, _, permission: ours.checkpoint_permissions.delete(permission.id, fine_tuned_model_checkpoint="ft:c"),
    ),
}


def test_every_public_method_of_the_other_repositories_is_covered_here() -> None:
    repositories = {
        "events": FineTuningJobEventRepository,
        "checkpoints": FineTuningJobCheckpointRepository,
        "checkpoint_permissions": CheckpointPermissionRepository,
    }
    methods = {f"{name}.{method}" for name, kind in repositories.items() for method in vars(kind) if not method.startswith("_")}

    assert methods == {name.split()[0] for name in RECORD_TOUCHES}


def a_whole_job(store: FineTuningStore, organization_id: str) -> tuple[FineTuningJob, CheckpointPermission]:
    """A job with an event, a checkpoint and a permission."""
    job = stored(store, organization_id=organization_id, status="succeeded", fine_tuned_model="ft:final")
    store.events.import_many(job.id, [AN_EVENT])
    store.checkpoints.add(
        FineTuningJobCheckpoint(
            id="ftckpt_theirs", created_at=1, fine_tuned_model_checkpoint="ft:c", fine_tuning_job_id=job.id, step_number=1
        )
    )
    (permission,) = store.checkpoint_permissions.create("ft:c", ["proj_1"], organization_id=organization_id)
    return job, permission


def whole(store: FineTuningStore, job: FineTuningJob) -> list[object]:
    """All that belongs to a job."""
    assert job.organization_id is not None
    permissions = [
        store.checkpoint_permissions.list(model, organization_id=job.organization_id, limit=1000) for model in ("ft:c", "ft:final")
    ]
    return [store.jobs.get(job.id), store.events.tail(job.id), store.checkpoints.list(job.id), *permissions]


@each("touch", RECORD_TOUCHES)
def test_what_belongs_to_a_job_of_another_organization_is_not_found_and_not_changed(store: FineTuningStore, touch: str) -> None:
    theirs, permission = a_whole_job(store, "org-theirs")
    before = whole(store, theirs)
    error, call = RECORD_TOUCHES[touch]
    ours = store.for_organization("org-ours")

    with pytest.raises(error):
        call(ours, theirs, permission)
    with ours.begin() as unit, pytest.raises(error):
        call(unit, theirs, permission)

    assert whole(store, theirs) == before


def test_models_of_one_name_keep_their_permissions_apart(store: FineTuningStore) -> None:
    theirs, permission = a_whole_job(store, "org-theirs")
    _, own = a_whole_job(store, "org-ours")
    before = whole(store, theirs)
    ours = store.for_organization("org-ours")

    assert ours.checkpoint_permissions.list("ft:c").data == (own,)
    assert ours.checkpoint_permissions.create("ft:c", ["proj_1"]) == (own,)
    with pytest.raises(CursorNotFoundError):
        ours.checkpoint_permissions.list("ft:c", after=permission.id)
    for call in (
        lambda: ours.checkpoint_permissions.create("ft:c", ["proj_1"], organization_id="org-theirs"),
        lambda: ours.checkpoint_permissions.list("ft:c", organization_id="org-theirs"),
    ):
        with pytest.raises(InvalidValueError, match="organization_id"):
            call()
    ours.checkpoint_permissions.delete(own.id)
    assert whole(store, theirs) == before

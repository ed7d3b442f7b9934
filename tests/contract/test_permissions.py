"""Permissions of projects to use a model: creating, listing in both orders, deleting, also with their job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import event

from fine_tuning_store import (
    CheckpointNotFoundError,
    CheckpointPermission,
    CheckpointPermissionNotFoundError,
    CursorNotFoundError,
    FineTuningJob,
    FineTuningStore,
    InvalidValueError,
)
from tests.support.factories import stored
from tests.support.parallel import at_once
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

NOW = 1_800_000_000
MODEL = "ft:gpt-4o-mini:org 1/2::abc:ckpt-step-10"
FINAL = "ft:gpt-4o-mini:org::abc"


def with_models(store: FineTuningStore, checkpoint: str = MODEL, final: str | None = FINAL, **members: Any) -> FineTuningJob:
    job = stored(store, **{"fine_tuned_model": final, "status": "succeeded", **members})
    store.checkpoints.create(job.id, step_number=10, fine_tuned_model_checkpoint=checkpoint)
    return job


@pytest.mark.parametrize("model", [MODEL, FINAL])
def test_a_permission_belongs_to_the_job_and_the_organization_of_its_model(url: str, model: str) -> None:
    with FineTuningStore.from_url(url, clock=lambda: NOW) as store:
        job = with_models(store)
        (permission,) = store.checkpoint_permissions.create(model, ["proj_1"])

        assert permission.id.startswith("cp_")
        assert permission == CheckpointPermission(
            id=permission.id,
            created_at=NOW,
            project_id="proj_1",
            fine_tuned_model_checkpoint=model,
            organization_id=job.organization_id,
            job_id=job.id,
        )
        assert permission.object == "checkpoint.permission"
        assert store.checkpoint_permissions.list(model).data == (permission,)


def test_create_returns_one_permission_per_project_in_the_given_order(store: FineTuningStore) -> None:
    with_models(store)

    created = store.checkpoint_permissions.create(MODEL, iter(["proj_b", "proj_a", "proj_b", "proj_c", "PROJ_A", "proj_a "]))

    assert [permission.project_id for permission in created] == ["proj_b", "proj_a", "proj_c", "PROJ_A", "proj_a "]
    assert len({permission.id for permission in created}) == 5


def test_a_project_that_already_has_a_permission_keeps_it(store: FineTuningStore) -> None:
    with_models(store)
    first = store.checkpoint_permissions.create(MODEL, ["proj_1", "proj_2"])

    second = store.checkpoint_permissions.create(MODEL, ["proj_3", "proj_2", "proj_1"])

    assert second[1:] == first[::-1]
    assert set(store.checkpoint_permissions.list(MODEL)) == {*first, second[0]}


def test_models_are_compared_bytewise(store: FineTuningStore) -> None:
    with_models(store, "ft:m", "ft:M")
    with_models(store, "ft:m ", "ft:\U0001f600" + "\U0001f600" * 200)
    for model in ("ft:m", "ft:M", "ft:m ", "ft:\U0001f600" + "\U0001f600" * 200):
        (permission,) = store.checkpoint_permissions.create(model, ["proj_1"])
        assert store.checkpoint_permissions.list(model).data == (permission,)


@each("model", ["ft:none", MODEL.upper(), f"{MODEL} ", "\U0001f600"])
def test_an_unknown_model_is_refused(store: FineTuningStore, model: str) -> None:
    with_models(store)
    calls: list[Callable[[], object]] = [
        lambda: store.checkpoint_permissions.create(model, ["proj_1"]),
        lambda: store.checkpoint_permissions.list(model),
        lambda: store.checkpoint_permissions.list(model, project_id="proj_1"),
        lambda: store.checkpoint_permissions.list(model, after="cp_1"),
    ]
    for call in calls:
        with pytest.raises(CheckpointNotFoundError) as caught:
            call()
        assert caught.value.fine_tuned_model_checkpoint == model


def test_a_permission_belongs_to_the_newest_of_several_jobs_of_the_same_model(store: FineTuningStore) -> None:
    with_models(store, created_at=5)
    newest = with_models(store, created_at=7)
    with_models(store, created_at=6)

    assert store.checkpoint_permissions.create(MODEL, ["proj_1"])[0].job_id == newest.id


# Lists


def list_in_pages(store: FineTuningStore, limit: int, **filters: Any) -> list[CheckpointPermission]:
    """Return the permissions of all pages, checking each page."""
    found: list[CheckpointPermission] = []
    after = None
    while True:
        page = store.checkpoint_permissions.list(MODEL, after=after, limit=limit, **filters)
        assert (page.first_id, page.last_id) == ((page.data[0].id, page.data[-1].id) if page.data else (None, None))
        assert len(page) == limit or not page.has_more
        found += page
        after = page.last_id
        if not page.has_more:
            return found


@each("limit", [1, 2, 3, 5, 6, 7, 1000])
def test_pages_contain_every_permission_once_in_either_order(url: str, limit: int) -> None:
    times = iter([9.0, 9.0, 5.0, 5.0, 7.0, 9.0, *[1.0] * 9])
    with FineTuningStore.from_url(url, clock=lambda: next(times)) as store:
        job = stored(store)
        store.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint=MODEL)
        for number in range(6):
            store.checkpoint_permissions.create(MODEL, [f"proj_{number}"])
        expected = sorted(
            store.checkpoint_permissions.list(MODEL, limit=1000), key=lambda permission: (permission.created_at, permission.id)
        )

        assert len(expected) == 6
        assert list_in_pages(store, limit, order="asc") == expected
        assert list_in_pages(store, limit) == list_in_pages(store, limit, order="desc") == expected[::-1]
        last = store.checkpoint_permissions.list(MODEL, after=expected[0].id, limit=limit)
        assert (last.data, last.has_more) == ((), False)


def test_a_list_has_ten_permissions_by_default(store: FineTuningStore) -> None:
    with_models(store)
    created = store.checkpoint_permissions.create(MODEL, [f"proj_{number}" for number in range(11)])

    page = store.checkpoint_permissions.list(MODEL)
    assert (page.data, page.has_more) == (created[:0:-1], True)


def test_a_list_can_be_filtered_by_project(store: FineTuningStore) -> None:
    with_models(store)
    created = store.checkpoint_permissions.create(MODEL, ["proj_1", "proj_2", "proj_3"])

    for permission in created:
        assert store.checkpoint_permissions.list(MODEL, project_id=permission.project_id).data == (permission,)
    assert store.checkpoint_permissions.list(MODEL, project_id="proj_1", after=created[2].id).data == (created[0],)
    assert store.checkpoint_permissions.list(MODEL, project_id="proj_1", after=created[0].id).data == ()
    assert store.checkpoint_permissions.list(MODEL, project_id="proj_3", after=created[0].id, order="asc").data == (created[2],)
    assert store.checkpoint_permissions.list(MODEL, project_id="PROJ_1").data == ()


def test_a_model_without_permissions_has_an_empty_page(store: FineTuningStore) -> None:
    with_models(store)

    page = store.checkpoint_permissions.list(MODEL)
    assert (page.data, page.has_more, page.first_id, page.last_id) == ((), False, None, None)


def test_a_cursor_that_is_not_a_permission_of_the_model_is_refused(store: FineTuningStore) -> None:
    with_models(store)
    store.checkpoint_permissions.create(MODEL, ["proj_1"])
    (other,) = store.checkpoint_permissions.create(FINAL, ["proj_1"])

    for after in (other.id, "cp_none", "\U0001f600"):
        with pytest.raises(CursorNotFoundError) as caught:
            store.checkpoint_permissions.list(MODEL, after=after)
        assert caught.value.after == after


# Deleting


def test_a_permission_is_deleted_once(store: FineTuningStore) -> None:
    with_models(store)
    one, other = store.checkpoint_permissions.create(MODEL, ["proj_1", "proj_2"])

    store.checkpoint_permissions.delete(one.id)

    assert store.checkpoint_permissions.list(MODEL).data == (other,)
    for id in (one.id, "cp_none", other.id.upper()):
        with pytest.raises(CheckpointPermissionNotFoundError) as caught:
            store.checkpoint_permissions.delete(id)
        assert caught.value.permission_id == id
    (again,) = store.checkpoint_permissions.create(MODEL, ["proj_1"])
    assert again.id != one.id


def test_a_permission_that_is_deleted_while_it_is_permitted_again_is_returned(store: FineTuningStore, url: str) -> None:
    with_models(store)
    (permission,) = store.checkpoint_permissions.create(MODEL, ["proj_1"])
    deletions: list[threading.Thread] = []

    def delete() -> None:
        with FineTuningStore.from_url(url) as other:
            other.checkpoint_permissions.delete(permission.id)

    def delete_before_it_is_read(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "permissions_of_projects" in statement and not deletions:
            deletions.append(threading.Thread(target=delete))
            deletions[0].start()
            deletions[0].join(1)  # long enough for PostgreSQL; on the others it waits for the end of the create

    engine = store._transactions.engine
    event.listen(engine, "before_cursor_execute", delete_before_it_is_read)
    permitted = store.checkpoint_permissions.create(MODEL, ["proj_0", "proj_1"])
    event.remove(engine, "before_cursor_execute", delete_before_it_is_read)
    deletions[0].join()

    assert [each.project_id for each in permitted] == ["proj_0", "proj_1"]
    assert {each for each in permitted if each != permission} == set(store.checkpoint_permissions.list(MODEL).data)


def test_a_permission_is_deleted_only_if_the_model_matches(store: FineTuningStore) -> None:
    with_models(store)
    (permission,) = store.checkpoint_permissions.create(MODEL, ["proj_1"])

    for model in (FINAL, "ft:none"):
        with pytest.raises(CheckpointPermissionNotFoundError):
            store.checkpoint_permissions.delete(permission.id, fine_tuned_model_checkpoint=model)
    assert store.checkpoint_permissions.list(MODEL).data == (permission,)
    store.checkpoint_permissions.delete(permission.id, fine_tuned_model_checkpoint=MODEL)
    assert store.checkpoint_permissions.list(MODEL).data == ()


def test_permissions_are_deleted_with_their_job(store: FineTuningStore) -> None:
    job = with_models(store)
    (permission,) = store.checkpoint_permissions.create(MODEL, ["proj_1"])
    store.checkpoint_permissions.create(FINAL, ["proj_1"])

    store.jobs.delete(job.id)

    with pytest.raises(CheckpointNotFoundError):
        store.checkpoint_permissions.list(MODEL)
    with pytest.raises(CheckpointPermissionNotFoundError):
        store.checkpoint_permissions.delete(permission.id)
    with_models(store)
    assert store.checkpoint_permissions.list(MODEL).data == store.checkpoint_permissions.list(FINAL).data == ()


def test_changes_of_permissions_in_a_unit_are_rolled_back_with_it(store: FineTuningStore) -> None:
    with_models(store)
    (permission,) = store.checkpoint_permissions.create(MODEL, ["proj_1"])
    with pytest.raises(RuntimeError), store.begin() as unit:
        unit.checkpoint_permissions.create(MODEL, ["proj_2"])
        unit.checkpoint_permissions.delete(permission.id)
        assert [found.project_id for found in unit.checkpoint_permissions.list(MODEL)] == ["proj_2"]
        raise RuntimeError

    assert store.checkpoint_permissions.list(MODEL).data == (permission,)


# Organizations


def test_a_model_of_several_organizations_requires_an_organization_id(store: FineTuningStore) -> None:
    jobs = {name: with_models(store, organization_id=name) for name in ("org-a", "org-b")}
    calls: list[Callable[[], object]] = [
        lambda: store.checkpoint_permissions.create(MODEL, ["proj_1"]),
        lambda: store.checkpoint_permissions.list(MODEL),
    ]
    for call in calls:
        with pytest.raises(InvalidValueError) as caught:
            call()
        assert caught.value.field == "organization_id"

    for name, job in jobs.items():
        (permission,) = store.checkpoint_permissions.create(MODEL, ["proj_1"], organization_id=name)
        assert (permission.organization_id, permission.job_id) == (name, job.id)
        assert store.checkpoint_permissions.list(MODEL, organization_id=name).data == (permission,)
        assert store.for_organization(name).checkpoint_permissions.list(MODEL).data == (permission,)
        assert store.for_organization(name).checkpoint_permissions.create(MODEL, ["proj_1"]) == (permission,)
    with pytest.raises(CheckpointNotFoundError):
        store.checkpoint_permissions.create(MODEL, ["proj_1"], organization_id="org-c")
    with pytest.raises(CheckpointNotFoundError):
        store.checkpoint_permissions.list(MODEL, organization_id="org-c")


def test_listing_a_model_of_several_organizations_requires_an_organization_id_even_if_it_has_permissions(store: FineTuningStore) -> None:
    for name in ("org-a", "org-b"):
        with_models(store, organization_id=name)
        store.checkpoint_permissions.create(MODEL, ["proj_1"], organization_id=name)

    with pytest.raises(InvalidValueError, match="organization_id"):
        store.checkpoint_permissions.list(MODEL)


def test_a_cursor_of_another_organization_is_refused(store: FineTuningStore) -> None:
    created: list[CheckpointPermission] = []
    for name in ("org-a", "org-b"):
        with_models(store, organization_id=name)
        created += store.checkpoint_permissions.create(MODEL, ["proj_1"], organization_id=name)

    with pytest.raises(CursorNotFoundError):
        store.checkpoint_permissions.list(MODEL, after=created[1].id, organization_id="org-a")


def test_a_model_is_found_despite_many_jobs_of_another_organization(store: FineTuningStore) -> None:
    job = with_models(store, organization_id="org-a", created_at=1)
    for _ in range(101):
        stored(store, organization_id="org-b", fine_tuned_model=FINAL, status="succeeded")

    (permission,) = store.checkpoint_permissions.create(FINAL, ["proj_1"], organization_id="org-a")

    assert permission.job_id == job.id
    with pytest.raises(InvalidValueError, match="organization_id"):
        store.checkpoint_permissions.create(FINAL, ["proj_1"])


# Wrong input

MODELS: list[Any] = [None, 5, "", "a" * 513, "\U0001f600" * 257, "\0", "\ud800"]
IDS: list[Any] = [5, "", "a" * 256, "\0", "\ud800"]
Call = Callable[[FineTuningStore, Any], object]
WRONG: list[tuple[str, Call, Sequence[Any]]] = [
    ("fine_tuned_model_checkpoint", lambda store, value: store.checkpoint_permissions.create(value, ["proj_1"]), MODELS),
    ("fine_tuned_model_checkpoint", lambda store, value: store.checkpoint_permissions.list(value), MODELS),
    (
        "fine_tuned_model_checkpoint",
        lambda store, value: store.checkpoint_permissions.delete("cp_1", fine_tuned_model_checkpoint=value),
        MODELS[1:],
    ),
    (
        "project_ids",
        lambda store, value: store.checkpoint_permissions.create(MODEL, value),
        [None, 5, "proj_1", [], [str(number) for number in range(1001)]],
    ),
    ("project_ids[1]", lambda store, value: store.checkpoint_permissions.create(MODEL, ["proj_1", value]), [None, *IDS]),
    ("organization_id", lambda store, value: store.checkpoint_permissions.create(MODEL, ["p"], organization_id=value), ["", 5, "a" * 129]),
    ("organization_id", lambda store, value: store.checkpoint_permissions.list(MODEL, organization_id=value), ["", 5, "a" * 129, "\0"]),
    ("project_id", lambda store, value: store.checkpoint_permissions.list(MODEL, project_id=value), IDS),
    ("after", lambda store, value: store.checkpoint_permissions.list(MODEL, after=value), IDS),
    ("limit", lambda store, value: store.checkpoint_permissions.list(MODEL, limit=value), [0, -1, 1001, None, "5", 5.0, True]),
    ("order", lambda store, value: store.checkpoint_permissions.list(MODEL, order=value), [None, "", "DESC", "ascending", 5]),
    ("id", lambda store, value: store.checkpoint_permissions.delete(value), [None, *IDS]),
]


def test_the_error_for_a_wrong_argument_names_it(store: FineTuningStore) -> None:
    with_models(store)
    for field, call, values in WRONG:
        for value in values:
            with pytest.raises(InvalidValueError) as caught:
                call(store, value)
            assert caught.value.field == field
    assert store.checkpoint_permissions.list(MODEL).data == ()


def test_a_call_may_have_a_thousand_projects(store: FineTuningStore) -> None:
    with_models(store)
    projects = [f"proj_{number}" for number in range(1000)]

    assert [permission.project_id for permission in store.checkpoint_permissions.create(MODEL, projects)] == projects


# Processes


def permit(wait: Callable[[], object], url: str, rounds: int, direction: int) -> list[tuple[CheckpointPermission, ...]]:
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        results = []
        for number in range(rounds):
            projects = [f"proj_{number}_{index}" for index in range(5)][::direction]
            results.append(store.checkpoint_permissions.create(MODEL, projects)[::direction])
        return results


@pytest.mark.slow
@pytest.mark.parametrize("direction", [1, -1])
def test_two_processes_that_permit_the_same_projects_get_the_same_permissions(
    store: FineTuningStore, url: str, rounds: int, direction: int
) -> None:
    with_models(store)

    (one, one_error), (other, other_error) = at_once((permit, (url, 10 * rounds, 1)), (permit, (url, 10 * rounds, direction)))

    assert (one_error, other_error) == (None, None)
    assert one == other
    assert set(store.checkpoint_permissions.list(MODEL, limit=1000)) == {permission for created in one for permission in created}

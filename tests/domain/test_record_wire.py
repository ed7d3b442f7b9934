"""The wire formats of events, checkpoints and permissions: recorded payloads are read, stored in every database and written again."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from fine_tuning_store import (
    CheckpointPermission,
    FineTuningJobCheckpoint,
    FineTuningJobEvent,
    FineTuningStore,
    InvalidValueError,
    Page,
    checkpoint_from_wire,
    checkpoint_to_wire,
    event_from_wire,
    event_to_wire,
    page_from_wire,
    page_to_wire,
    permission_from_wire,
    permission_to_wire,
)
from tests.domain.test_wire import on_databases, without_databases, without_empty
from tests.support.factories import stored
from tests.support.strategies import checkpoints, events, mutations, recorded

EVENTS = recorded("events")
CHECKPOINT_PAGES = recorded("checkpoints")
PERMISSION_PAGES = {name: payload for name, payload in recorded("permissions").items() if payload["object"] == "list"}
CHECKPOINTS = [row for page in CHECKPOINT_PAGES.values() for row in page["data"]]
PERMISSIONS = [row for page in PERMISSION_PAGES.values() for row in page["data"]]
FULL: dict[str, dict[str, Any]] = {"event": EVENTS["metrics"], "checkpoint": CHECKPOINTS[0], "permission": PERMISSIONS[0]}
READ: dict[str, Callable[[Any], Any]] = {"event": event_from_wire, "checkpoint": checkpoint_from_wire, "permission": permission_from_wire}
WRITE: dict[str, Callable[[Any], dict[str, Any]]] = {
    "event": event_to_wire,
    "checkpoint": checkpoint_to_wire,
    "permission": permission_to_wire,
}


@pytest.mark.parametrize("payload", EVENTS.values(), ids=EVENTS)
def test_a_recorded_event_is_read_and_written_without_loss(payload: dict[str, Any]) -> None:
    event = event_from_wire(payload)

    assert without_empty(event_to_wire(event)) == without_empty(payload)
    assert event_from_wire(event_to_wire(event)) == event
    assert (event.job_id, event.position) == (None, None)
    assert event.data == payload.get("data")


@pytest.mark.parametrize(
    ("pages", "from_wire", "to_wire"),
    [(CHECKPOINT_PAGES, checkpoint_from_wire, checkpoint_to_wire), (PERMISSION_PAGES, permission_from_wire, permission_to_wire)],
    ids=["checkpoints", "permissions"],
)
def test_a_recorded_page_is_read_and_written_without_loss(
    pages: dict[str, Any], from_wire: Callable[[Any], Any], to_wire: Callable[[Any], dict[str, Any]]
) -> None:
    for payload in pages.values():
        page = page_from_wire(payload, from_wire)
        written = page_to_wire(page, to_wire)

        first_and_last = {name: payload.get(name, written[name]) for name in ("first_id", "last_id")}
        assert without_empty({**written, **first_and_last}) == without_empty(written)
        assert without_empty(written["data"]) == without_empty(payload["data"])
        assert written["has_more"] is payload["has_more"]
        assert list(written) == ["object", "data", "first_id", "last_id", "has_more"]
        assert page_from_wire(written, from_wire) == page


def test_every_recorded_event_comes_back_from_the_database(store: FineTuningStore) -> None:
    job = stored(store)
    store.events.import_many(job.id, [event_from_wire(payload) for payload in EVENTS.values()])

    written = page_to_wire(store.events.tail(job.id), event_to_wire)

    assert without_empty(written["data"]) == without_empty([*EVENTS.values()])
    assert [repr(row["data"]) for row in written["data"]] == [repr(payload.get("data")) for payload in EVENTS.values()]


def test_every_recorded_checkpoint_comes_back_from_the_database(store: FineTuningStore) -> None:
    for payload in CHECKPOINT_PAGES.values():
        for id in {row["fine_tuning_job_id"] for row in payload["data"]}:
            stored(store, id=f"{id} of {len(payload['data'])}")
        rows = [{**row, "fine_tuning_job_id": f"{row['fine_tuning_job_id']} of {len(payload['data'])}"} for row in payload["data"]]
        for row in rows[::-1]:
            store.checkpoints.add(checkpoint_from_wire(row))
        if rows:
            page = page_to_wire(store.checkpoints.list(rows[0]["fine_tuning_job_id"]), checkpoint_to_wire)
            assert page["data"] == rows
            assert (page["first_id"], page["last_id"]) == (rows[0]["id"], rows[-1]["id"])
            for job in store.jobs.iterate():
                store.jobs.cancel(job.id)
                store.jobs.delete(job.id)


def test_a_stored_permission_is_written_with_the_recorded_members(store: FineTuningStore) -> None:
    stored(store, fine_tuned_model="ft:m", status="succeeded")
    (permission,) = store.checkpoint_permissions.create("ft:m", ["proj_1"])
    written = permission_to_wire(permission)

    assert {name: type(member) for name, member in written.items()} == {name: type(member) for name, member in PERMISSIONS[0].items()}
    assert permission_from_wire(written) == CheckpointPermission(id=permission.id, created_at=permission.created_at, project_id="proj_1")


def test_an_empty_page_has_no_first_and_last_id() -> None:
    assert page_to_wire(Page((), has_more=False), event_to_wire) == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_a_page_whose_rows_are_null_is_empty() -> None:
    assert page_from_wire({"object": "list", "data": None}, event_from_wire) == Page((), has_more=False)


@pytest.mark.parametrize("payload", [None, [], "list", 5, {}, {"data": {}}, {"data": "rows"}, {"object": "page", "data": []}])
def test_a_payload_that_is_not_a_page_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidValueError):
        page_from_wire(payload, event_from_wire)


@pytest.mark.parametrize("kind", READ)
def test_a_payload_that_is_not_an_object_of_its_kind_is_refused(kind: str) -> None:
    payload: Any
    name: Any
    for payload in (None, [], "text", 5, b"{}"):
        with pytest.raises(InvalidValueError) as caught:
            READ[kind](payload)
        assert caught.value.field == "payload"
    for name in ("fine_tuning.job", "", 5, []):
        with pytest.raises(InvalidValueError) as caught:
            READ[kind]({**FULL[kind], "object": name})
        assert caught.value.field == "object"
    assert READ[kind]({**FULL[kind], "object": None}) == READ[kind](FULL[kind])


REQUIRED = {
    "event": ("id", "created_at", "message"),
    "checkpoint": ("id", "created_at", "fine_tuned_model_checkpoint", "fine_tuning_job_id", "step_number"),
    "permission": ("id", "created_at", "project_id"),
}


@pytest.mark.parametrize(("kind", "member"), [(kind, member) for kind, members in REQUIRED.items() for member in members])
def test_the_error_for_a_missing_or_wrong_required_member_names_it(kind: str, member: str) -> None:
    wrong: list[Any] = [None, [], {}, True, "\0", 1.5]
    for payload in [{**FULL[kind], member: value} for value in wrong] + [{k: v for k, v in FULL[kind].items() if k != member}]:
        with pytest.raises(InvalidValueError) as caught:
            READ[kind](payload)
        assert caught.value.field == member


@pytest.mark.parametrize("kind", READ)
def test_floats_without_a_fraction_are_read_as_integers(kind: str) -> None:
    read = READ[kind]({**FULL[kind], "created_at": 1724012781.0})

    assert repr(read.created_at) == "1724012781"


@pytest.mark.parametrize("kind", ["event", "checkpoint"])
def test_unknown_members_are_written_back(kind: str) -> None:
    payload = {**FULL[kind], "new": {"a": [1, None]}, "other": "x"}

    assert WRITE[kind](READ[kind](payload)) == payload


@pytest.mark.parametrize("kind", ["event", "checkpoint"])
def test_changing_a_payload_does_not_change_the_object(kind: str) -> None:
    payload = deepcopy({**FULL[kind], "new": {"a": [1]}})
    read = READ[kind](payload)
    before = deepcopy(read)
    payload["new"]["a"].append(2)
    payload["data" if kind == "event" else "metrics"]["step"] = "changed"
    written = WRITE[kind](read)
    written["new"]["a"].append(3)
    written["data" if kind == "event" else "metrics"]["step"] = "changed"

    assert read == before


@without_databases
@given(event=events())
def test_any_event_comes_back_from_the_wire(event: FineTuningJobEvent) -> None:
    assert event_from_wire(event_to_wire(event)) == event


@without_databases
@given(checkpoint=checkpoints())
def test_any_checkpoint_comes_back_from_the_wire(checkpoint: FineTuningJobCheckpoint) -> None:
    assert checkpoint_from_wire(checkpoint_to_wire(checkpoint)) == checkpoint


@on_databases
@given(event=events())
def test_any_event_comes_back_from_the_database(store: FineTuningStore, event: FineTuningJobEvent) -> None:
    job = stored(store)
    (imported,) = store.events.import_many(job.id, [event])

    assert imported == replace(event, job_id=job.id, position=1)
    (found,) = store.events.list(job.id)
    assert (found, repr(found)) == (imported, repr(imported))


@on_databases
@given(checkpoint=checkpoints())
def test_any_checkpoint_comes_back_from_the_database(store: FineTuningStore, checkpoint: FineTuningJobCheckpoint) -> None:
    added = store.checkpoints.add(replace(checkpoint, fine_tuning_job_id=stored(store).id))

    (found,) = store.checkpoints.list(added.fine_tuning_job_id)
    assert (found, repr(found)) == (added, repr(added))


@on_databases
@given(payload=mutations("events"))
def test_any_payload_of_an_event_is_stored_or_its_error_names_the_member(store: FineTuningStore, payload: dict[str, Any]) -> None:
    try:
        event = event_from_wire(payload)
    except InvalidValueError as error:
        assert error.field  # noqa: PT017 - both outcomes are valid
        return
    job = stored(store)
    store.events.import_many(job.id, [event])

    assert without_empty(event_to_wire(store.events.list(job.id).data[0])) == without_empty(event_to_wire(event))


@pytest.mark.parametrize(
    ("read", "payload"),
    [
        (event_from_wire, {"id": "e", "message": "m"}),
        (checkpoint_from_wire, {"id": "c", "fine_tuned_model_checkpoint": "m", "fine_tuning_job_id": "j", "step_number": 1}),
        (permission_from_wire, {"id": "p", "project_id": "proj"}),
    ],
)
def test_times_in_iso_8601_are_read_in_every_record(read: Any, payload: dict[str, Any]) -> None:
    assert read({**payload, "created_at": "2025-09-02T02:50:54.9Z"}).created_at == 1756781454
    with pytest.raises(InvalidValueError, match=r"created_at: .*time zone"):
        read({**payload, "created_at": "2025-09-02T02:50:54"})

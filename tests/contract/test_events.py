"""Events of jobs: positions without gaps, pages in both directions, imports, events of transitions, and concurrent access."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from fine_tuning_store import (
    CursorNotFoundError,
    FineTuningJobEvent,
    FineTuningStore,
    FineTuningStoreError,
    IllegalTransitionError,
    InvalidValueError,
    JobNotFoundError,
    JobStatus,
    NewEvent,
)
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from tests.support.factories import in_status, stored, transition
from tests.support.parallel import at_once
from tests.support.tables import each

pytestmark = pytest.mark.every_driver

NOW = 1_800_000_000
CALLS: dict[str, Callable[[FineTuningStore, str], object]] = {
    "append": lambda store, id: store.events.append(id, "hello"),
    "append_many": lambda store, id: store.events.append_many(id, [{"message": "hello"}]),
    "append_many of none": lambda store, id: store.events.append_many(id, []),
    "import_many": lambda store, id: store.events.import_many(id, [an_event(1)]),
    "import_many of none": lambda store, id: store.events.import_many(id, []),
    "list": lambda store, id: store.events.list(id),
    "list after": lambda store, id: store.events.list(id, after="ftevent-1"),
    "tail": lambda store, id: store.events.tail(id),
    "tail after": lambda store, id: store.events.tail(id, 5),
}


def an_event(number: int, **members: Any) -> FineTuningJobEvent:
    return FineTuningJobEvent(
        **{"id": f"ftevent-{number:04d}", "created_at": 1_700_000_000 - number, "message": f"event {number}", **members}
    )


def all_events(store: FineTuningStore, job_id: str) -> tuple[FineTuningJobEvent, ...]:
    page = store.events.tail(job_id, limit=1000)
    assert not page.has_more
    assert [event.position for event in page] == list(range(1, len(page) + 1))
    return page.data


def messages(store: FineTuningStore, job_id: str) -> list[str]:
    return [event.message for event in all_events(store, job_id)]


# Appending


def test_an_appended_event_is_returned_as_it_is_stored(url: str) -> None:
    with FineTuningStore.from_url(url, clock=lambda: NOW) as store:
        job = stored(store)
        event = store.events.append(job.id, "Step 1/2", level="warn", type="metrics", data={"step": 1})

        assert event.id.startswith("ftevent-")
        assert event == FineTuningJobEvent(
            id=event.id, created_at=NOW, message="Step 1/2", level="warn", type="metrics", data={"step": 1}, job_id=job.id, position=1
        )
        assert event.object == "fine_tuning.job.event"
        assert store.events.list(job.id).data == (event,)


def test_an_event_is_an_info_message_without_data_by_default(store: FineTuningStore) -> None:
    event = store.events.append(stored(store).id, "hello")

    assert (event.level, event.type, event.data, event.extra) == ("info", "message", None, {})


def test_positions_count_the_events_of_each_job_from_one(store: FineTuningStore) -> None:
    one, other = stored(store), stored(store)
    for number in range(3):
        store.events.append(one.id, f"one {number}")
        store.events.append(other.id, f"other {number}")

    assert messages(store, one.id) == ["one 0", "one 1", "one 2"]
    assert messages(store, other.id) == ["other 0", "other 1", "other 2"]


@each("data", [None, {}, [], 0, False, "", {"a": None}, {"a": {"b": [1, 2.5, None, {"c": "\U0001f600"}]}}, [None], 1e-300])
def test_data_is_stored_unchanged(store: FineTuningStore, data: Any) -> None:
    job = stored(store)
    event = store.events.append(job.id, "hello", data=data)

    found = store.events.list(job.id).data[0]
    assert (found, repr(found.data)) == (event, repr(data))


@each(("level", "type"), [("", None), ("warning", ""), ("Fatal \U0001f600", "moderation_checks"), ("a" * 64, "b" * 64)])
def test_levels_and_types_are_stored_unchanged(store: FineTuningStore, level: str, type: str | None) -> None:
    job = stored(store)
    event = store.events.append(job.id, "", level=level, type=type)

    assert (event.message, event.level, event.type) == ("", level, type)
    assert all_events(store, job.id) == (event,)


def test_a_long_message_is_stored(store: FineTuningStore) -> None:
    job = stored(store)
    event = store.events.append(job.id, "\U0001f600" * 100_000)

    assert all_events(store, job.id) == (event,)


@each("status", list(JobStatus))
def test_a_job_of_any_status_accepts_events(store: FineTuningStore, status: JobStatus) -> None:
    job = in_status(store, status)
    store.events.append(job.id, "Training tokens billed: 5000")

    assert messages(store, job.id) == ["Training tokens billed: 5000"]
    assert store.jobs.get(job.id) == job


def test_the_time_of_an_event_is_read_inside_its_transaction(url: str) -> None:
    """Ids and times therefore increase with the positions, even if an event waited for another transaction."""
    times = itertools.count(NOW)
    with FineTuningStore.from_url(url, clock=lambda: next(times)) as store:
        job = stored(store, status="queued")
        with store.begin() as unit:
            first = unit.events.append(job.id, "one")
        store.jobs.start(job.id, message="two")
        second = store.events.list(job.id).data[0]

    assert (first.position, second.position) == (1, 2)
    assert first.id < second.id


def test_append_many_appends_events_in_their_order(url: str) -> None:
    with FineTuningStore.from_url(url, clock=lambda: NOW) as store:
        job = stored(store)
        store.events.append(job.id, "before")

        new: list[NewEvent] = [{"message": "one"}, {"message": "two", "level": "warn", "type": "metrics", "data": {"step": 2}}]
        events = store.events.append_many(job.id, iter(new))

        assert [(event.message, event.level, event.type, event.data) for event in events] == [
            ("one", "info", "message", None),
            ("two", "warn", "metrics", {"step": 2}),
        ]
        assert [(event.position, event.job_id, event.created_at) for event in events] == [(2, job.id, NOW), (3, job.id, NOW)]
        assert len({event.id for event in events}) == 2
        assert all_events(store, job.id)[1:] == events
        assert store.events.append_many(job.id, []) == ()


# Importing


def test_imported_events_keep_their_ids_times_and_order(store: FineTuningStore) -> None:
    job = stored(store)
    store.events.append(job.id, "before")
    events = [an_event(2, extra={"new": {"a": [1]}}), an_event(1, type=None, data=[1], position=77, job_id="ftjob-other"), an_event(3)]

    imported = store.events.import_many(job.id, iter(events))

    assert imported == tuple(replace(event, job_id=job.id, position=position) for position, event in enumerate(events, 2))
    assert all_events(store, job.id)[1:] == imported
    assert store.events.append(job.id, "after").position == 5


def test_an_import_of_no_events_does_nothing(store: FineTuningStore) -> None:
    job = stored(store)

    assert store.events.import_many(job.id, []) == ()
    assert store.events.append(job.id, "hello").position == 1


def test_an_import_may_have_up_to_ten_thousand_events(store: FineTuningStore) -> None:
    job = stored(store)

    imported = store.events.import_many(job.id, (an_event(number) for number in range(10_000)))

    assert [event.position for event in imported] == list(range(1, 10_001))
    assert store.events.list(job.id, limit=1).data == imported[-1:]
    with pytest.raises(InvalidValueError) as caught:
        store.events.import_many(job.id, [an_event(10_000 + number) for number in range(10_001)])
    assert caught.value.field == "events"


@each("index", [0, 1, 2, 1500])
def test_an_import_with_an_id_that_the_job_already_has_writes_nothing(store: FineTuningStore, index: int) -> None:
    job = stored(store)
    store.events.import_many(job.id, [an_event(7)])
    events = [an_event(100 + number) for number in range(index + 2)]
    events[index] = an_event(7, message="again")

    with pytest.raises(InvalidValueError) as caught:
        store.events.import_many(job.id, events)

    assert (caught.value.field, caught.value.value) == (f"events[{index}].id", "ftevent-0007")
    assert messages(store, job.id) == ["event 7"]
    assert store.events.append(job.id, "next").position == 2


def test_a_refused_import_leaves_the_unit_usable(store: FineTuningStore) -> None:
    job = stored(store)
    with store.begin() as unit:
        unit.events.import_many(job.id, [an_event(1)])
        with pytest.raises(InvalidValueError, match="new to its job"):
            unit.events.import_many(job.id, [an_event(2), an_event(1, message="other")])
        unit.events.append(job.id, "last")

    assert messages(store, job.id) == ["event 1", "last"]


def test_an_import_that_is_repeated_and_goes_on_stores_what_is_missing(store: FineTuningStore) -> None:
    job = stored(store)
    events = [an_event(number, data={"a": [1.5, None]}, extra={"b": number}) for number in range(1200)]
    first = store.events.import_many(job.id, events[:1100])
    appended = store.events.append(job.id, "own")

    assert store.events.import_many(job.id, events[:1100]) == first
    assert store.events.import_many(job.id, [replace(event, job_id="other", position=7) for event in first]) == first
    again = store.events.import_many(job.id, events[::-1])

    assert [event.position for event in again] == [*range(1102, 1202), *range(1100, 0, -1)]
    assert [event.id for event in again] == [event.id for event in events[::-1]]
    assert store.events.tail(job.id, 1100, limit=1).data == (appended,)
    assert store.events.append(job.id, "next").position == 1202


def test_a_duplicate_id_in_one_import_is_refused(store: FineTuningStore) -> None:
    job = stored(store)

    with pytest.raises(InvalidValueError) as caught:
        store.events.import_many(job.id, [an_event(1), an_event(2), an_event(1)])

    assert caught.value.field == "events[2].id"
    assert all_events(store, job.id) == ()


def test_two_jobs_may_have_events_of_the_same_id(store: FineTuningStore) -> None:
    one, other = stored(store), stored(store)
    store.events.import_many(one.id, [an_event(1), an_event(2)])
    store.events.import_many(other.id, [an_event(2)])

    assert [event.id for event in store.events.list(other.id)] == ["ftevent-0002"]
    with pytest.raises(CursorNotFoundError):
        store.events.list(other.id, after="ftevent-0001")


def test_ids_of_events_are_compared_bytewise(store: FineTuningStore) -> None:
    job = stored(store)
    ids = ["ev", "EV", "ev ", "év", "e\u0301v"]
    store.events.import_many(job.id, [an_event(1, id=id) for id in ids])

    assert [event.id for event in all_events(store, job.id)] == ids
    assert [event.id for event in store.events.list(job.id, after="EV")] == ["ev"]


# Reading


def test_a_list_is_ordered_by_position_descending_regardless_of_times_and_ids(store: FineTuningStore) -> None:
    job = stored(store)
    imported = store.events.import_many(job.id, [an_event(5), an_event(1), an_event(9), an_event(3)])

    page = store.events.list(job.id)

    assert page.data == imported[::-1]
    assert (page.first_id, page.last_id, page.has_more) == ("ftevent-0003", "ftevent-0005", False)


@each("limit", [1, 2, 3, 6, 7, 1000])
def test_pages_contain_every_event_once_and_whether_more_follow(store: FineTuningStore, limit: int) -> None:
    job = stored(store)
    expected = store.events.import_many(job.id, [an_event(number) for number in range(6)])[::-1]
    after, start = None, 0
    while True:
        page = store.events.list(job.id, after=after, limit=limit)
        assert page.data == expected[start : start + limit]
        assert page.has_more == (start + limit < 6)
        assert (page.first_id, page.last_id) == (page.data[0].id, page.data[-1].id)
        after, start = page.last_id, start + limit
        if not page.has_more:
            break
    last = store.events.list(job.id, after=after, limit=limit)
    assert (last.data, last.has_more, last.first_id, last.last_id) == ((), False, None, None)


def test_a_list_has_twenty_events_and_a_tail_a_hundred_by_default(store: FineTuningStore) -> None:
    job = stored(store)
    store.events.import_many(job.id, [an_event(number) for number in range(101)])

    assert (len(store.events.list(job.id)), len(store.events.tail(job.id))) == (20, 100)
    assert store.events.list(job.id).has_more
    assert store.events.tail(job.id).has_more


@each("limit", [1, 4, 5, 6])
def test_a_tail_is_oldest_first_after_a_position(store: FineTuningStore, limit: int) -> None:
    job = stored(store)
    imported = store.events.import_many(job.id, [an_event(number) for number in range(5)])

    for position in range(7):
        page = store.events.tail(job.id, position, limit=limit)
        assert page.data == imported[position : position + limit]
        assert page.has_more == (position + limit < 5)


def test_a_job_without_events_has_empty_pages(store: FineTuningStore) -> None:
    job = stored(store)

    for page in (store.events.list(job.id), store.events.tail(job.id), store.events.tail(job.id, 2**63 - 1)):
        assert (page.data, page.has_more, page.first_id, page.last_id) == ((), False, None, None)


@each("after", ["ftevent-none", "ftevent-0001 ", "FTEVENT-0001", "\U0001f600"])
def test_a_cursor_that_is_not_an_event_of_the_job_is_refused(store: FineTuningStore, after: str) -> None:
    job = stored(store)
    store.events.import_many(job.id, [an_event(1)])

    with pytest.raises(CursorNotFoundError) as caught:
        store.events.list(job.id, after=after)
    assert caught.value.after == after


@each("call", CALLS)
@each("id", ["ftjob-unknown", "\U0001f600"])
def test_every_method_refuses_an_unknown_job(store: FineTuningStore, call: str, id: str) -> None:
    with pytest.raises(JobNotFoundError) as caught:
        CALLS[call](store, id)
    assert caught.value.job_id == id


def test_events_are_deleted_with_their_job(store: FineTuningStore) -> None:
    job, other = stored(store, status="failed"), stored(store, status="failed")
    for id in (job.id, other.id):
        store.events.import_many(id, [an_event(1), an_event(2)])

    store.jobs.delete(job.id)

    with pytest.raises(JobNotFoundError):
        store.events.list(job.id)
    assert len(all_events(store, other.id)) == 2
    stored(store, id=job.id)
    assert all_events(store, job.id) == ()
    assert store.events.append(job.id, "first").position == 1


# Units


def test_events_of_a_unit_that_is_rolled_back_leave_no_gap(store: FineTuningStore) -> None:
    job = stored(store)
    store.events.append(job.id, "first")
    with pytest.raises(RuntimeError), store.begin() as unit:
        assert unit.events.append(job.id, "lost").position == 2
        unit.events.import_many(job.id, [an_event(1), an_event(2)])
        raise RuntimeError

    assert store.events.append(job.id, "second").position == 2
    assert store.events.import_many(job.id, [an_event(1)])[0].position == 3
    assert messages(store, job.id) == ["first", "second", "event 1"]


def test_a_unit_sees_its_own_events_and_commits_them_with_its_transitions(store: FineTuningStore) -> None:
    job = stored(store)
    with store.begin() as unit:
        unit.events.append(job.id, "one")
        unit.jobs.start(job.id, message="two")
        unit.events.append(job.id, "three")
        assert [event.message for event in unit.events.tail(job.id)] == ["one", "two", "three"]

    assert messages(store, job.id) == ["one", "two", "three"]


# Events of transitions


@each("verb", TRANSITIONS)
@each("status", list(JobStatus))
def test_a_transition_appends_its_event_when_it_is_applied_and_only_then(store: FineTuningStore, verb: str, status: JobStatus) -> None:
    job = in_status(store, status)
    store.events.append(job.id, "before")
    if status in TRANSITIONS[verb].sources:
        updated = transition(store.jobs, verb, job.id, message="It changed.")
        event = all_events(store, job.id)[1]
        assert (event.message, event.level, event.type, event.data) == ("It changed.", "info", "message", None)
        assert store.jobs.get(job.id) == updated
    elif verb == "cancel" and status is JobStatus.CANCELLED:
        assert transition(store.jobs, verb, job.id, message="It changed.") == job
        assert messages(store, job.id) == ["before"]
    else:
        with pytest.raises(IllegalTransitionError):
            transition(store.jobs, verb, job.id, message="It changed.")
        assert messages(store, job.id) == ["before"]


def test_a_transition_without_a_message_appends_no_event(store: FineTuningStore) -> None:
    job = stored(store)
    store.jobs.enqueue(job.id)

    assert all_events(store, job.id) == ()


def test_a_transition_and_its_event_are_rolled_back_together(store: FineTuningStore) -> None:
    job = stored(store)
    with pytest.raises(RuntimeError), store.begin() as unit:
        unit.jobs.enqueue(job.id, message="lost")
        raise RuntimeError

    assert store.jobs.get(job.id) == job
    assert all_events(store, job.id) == ()


@each("verb", TRANSITIONS)
@each("message", [5, b"bytes", "\0", "\ud800", "a" * 1_000_001, ["hello"]])
def test_a_transition_with_a_wrong_message_is_not_applied(store: FineTuningStore, verb: str, message: Any) -> None:
    job = in_status(store, TRANSITIONS[verb].sources[0])
    with pytest.raises(InvalidValueError) as caught:
        transition(store.jobs, verb, job.id, message=message)

    assert caught.value.field == "message"
    assert store.jobs.get(job.id) == job


@each("verb", TRANSITIONS)
def test_a_transition_with_a_wrong_message_leaves_no_trace_in_a_unit(store: FineTuningStore, verb: str) -> None:
    job = in_status(store, TRANSITIONS[verb].sources[0])
    with store.begin() as unit:
        with pytest.raises(InvalidValueError, match="message"):
            transition(unit.jobs, verb, job.id, message="\0")

    assert store.jobs.get(job.id) == job


# Wrong input

WRONG_NAMES = [None, 5, b"x", "a" * 65, "\0", "\ud800", ["info"]]
WRONG_IDS = [None, 5, "", "a" * 256, "\0", "\ud800"]
WRONG_LIMITS = [0, -1, 1001, None, "5", 5.0, True]
WRONG_JSON = [float("nan"), float("inf"), {1: 2}, {"a": b"x"}, [object()], 2**63, "\0", {"\ud800": 1}, {1, 2}]


def wrong_calls() -> Iterator[tuple[str, Callable[..., object]]]:  # noqa: C901, PLR0912 - a table, written as loops
    value: Any
    for value in WRONG_IDS:
        yield "job_id", lambda store, _, value=value: store.events.append(value, "hello")
        yield "job_id", lambda store, _, value=value: store.events.import_many(value, [])
        yield "job_id", lambda store, _, value=value: store.events.list(value)
        yield "job_id", lambda store, _, value=value: store.events.list(value, after="e")
        yield "job_id", lambda store, _, value=value: store.events.tail(value)
        yield "events[1].id", lambda store, id, value=value: store.events.import_many(id, [an_event(1), an_event(2, id=value)])
        if value is not None:
            yield "after", lambda store, id, value=value: store.events.list(id, after=value)
    for value in WRONG_LIMITS:
        yield "limit", lambda store, id, value=value: store.events.list(id, limit=value)
        yield "limit", lambda store, id, value=value: store.events.tail(id, limit=value)
    for value in (-1, None, "0", 0.0, False, 2**63):
        yield "after_position", lambda store, id, value=value: store.events.tail(id, value)
    for value in WRONG_NAMES:
        yield "level", lambda store, id, value=value: store.events.append(id, "hello", level=value)
        yield "events[0].level", lambda store, id, value=value: store.events.import_many(id, [an_event(1, level=value)])
        if value is not None:
            yield "type", lambda store, id, value=value: store.events.append(id, "hello", type=value)
            yield "events[0].type", lambda store, id, value=value: store.events.import_many(id, [an_event(1, type=value)])
    for value in (None, 5, b"x", "a" * 1_000_001, "\0", "\ud800"):
        yield "message", lambda store, id, value=value: store.events.append(id, value)
        yield "events[0].message", lambda store, id, value=value: store.events.import_many(id, [an_event(1, message=value)])
    for value in WRONG_JSON:
        yield "data", lambda store, id, value=value: store.events.append(id, "hello", data=value)
        yield "events[0].data", lambda store, id, value=value: store.events.import_many(id, [an_event(1, data=value)])
        yield "events[0].extra", lambda store, id, value=value: store.events.import_many(id, [an_event(1, extra={"a": value})])
    for value in (None, "1", 1.0, True, 2**63, -(2**63) - 1):
        yield "events[0].created_at", lambda store, id, value=value: store.events.import_many(id, [an_event(1, created_at=value)])
    for member in ("object", "id", "created_at", "message", "level", "type", "data"):
        yield f"events[0].extra.{member}", lambda store, id, member=member: store.events.import_many(id, [an_event(1, extra={member: 1})])
    for value in (None, 5, "events", an_event(1)):
        yield "events", lambda store, id, value=value: store.events.import_many(id, value)
    for value in (None, {}, "event"):
        yield "events[0]", lambda store, id, value=value: store.events.import_many(id, [value])
        yield "events[1]", lambda store, id, value=value: store.events.append_many(id, [{"message": "hello"}, value])
    for value in (None, 5, "events", [{"message": "hello"}] * 10_001):
        yield "events", lambda store, id, value=value: store.events.append_many(id, value)
    yield "events[0]", lambda store, id: store.events.append_many(id, [{"message": "hello", "unknown": "red"}])
    yield "events[1].message", lambda store, id: store.events.append_many(id, [{"message": "hello"}, {"message": "\0"}])
    yield "events[0].level", lambda store, id: store.events.append_many(id, [{"message": "hello", "level": "a" * 65}])
    yield "events[0].data", lambda store, id: store.events.append_many(id, [{"message": "hello", "data": float("nan")}])


WRONG = list(wrong_calls())


def test_the_error_for_wrong_input_names_the_argument(store: FineTuningStore) -> None:
    job = stored(store)
    for number, (field, call) in enumerate(WRONG):
        with pytest.raises(FineTuningStoreError) as caught:
            call(store, job.id)
        assert isinstance(caught.value, InvalidValueError), (number, field, caught.value)
        assert caught.value.field == field or caught.value.field.startswith((f"{field}.", f"{field}[", f"{field} (")), (number, field)
    assert all_events(store, job.id) == ()


# Processes


def append_in(wait: Callable[[], object], url: str, job_id: str, name: str, number: int) -> list[int | None]:
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        positions = []
        for step in range(number):
            if step % 5 == 4:
                positions += [event.position for event in store.events.import_many(job_id, [an_event(step, id=f"{name}-{step}")])]
            else:
                positions.append(store.events.append(job_id, f"{name} {step}").position)
        return positions


def follow(wait: Callable[[], object], url: str, job_id: str, number: int) -> list[int | None]:
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        positions: list[int | None] = []
        while len(positions) < number:
            positions += [event.position for event in store.events.tail(job_id, positions[-1] or 0 if positions else 0, limit=7)]
        return positions


@pytest.mark.slow
def test_a_reader_that_follows_two_writers_misses_no_event(store: FineTuningStore, url: str, rounds: int) -> None:
    job, number = stored(store), 30 * rounds

    (one, one_error), (other, other_error), (read, reader_error) = at_once(
        (append_in, (url, job.id, "one", number)), (append_in, (url, job.id, "other", number)), (follow, (url, job.id, 2 * number))
    )

    assert (one_error, other_error, reader_error) == (None, None, None)
    assert sorted(one + other) == read == list(range(1, 2 * number + 1))
    assert one == sorted(one)
    assert len({event.id for event in all_events(store, job.id)}) == 2 * number


def import_in(wait: Callable[[], object], url: str, job_id: str) -> int:
    with FineTuningStore.from_url(url) as store:
        store.schema.require_usable()
        wait()
        return len(store.events.import_many(job_id, [an_event(number) for number in range(50)]))


@pytest.mark.slow
def test_two_imports_of_the_same_events_store_each_once(store: FineTuningStore, url: str) -> None:
    job = stored(store)

    results = at_once(*[(import_in, (url, job.id))] * 2)

    assert results == [(50, None)] * 2
    assert [event.position for event in all_events(store, job.id)] == list(range(1, 51))

"""The log of transitions, and what a job knows of its history: attempts, times, and seconds in the queue and in training."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, get_ident
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from fine_tuning_store import (
    CursorNotFoundError,
    FineTuningJob,
    FineTuningStore,
    Hyperparameters,
    IllegalTransitionError,
    InvalidValueError,
    JobNotFoundError,
    JobStatus,
    JobTransition,
)
from fine_tuning_store.domain.ids import Clock
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from tests.support.factories import created, in_status, stored, transition
from tests.support.tables import each

pytestmark = pytest.mark.every_driver


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(store: FineTuningStore, monkeypatch: pytest.MonkeyPatch) -> Time:
    """The clock of the store."""
    time = Time()
    monkeypatch.setattr(store._transactions, "clock", Clock(time))
    return time


@each("verb", TRANSITIONS)
def test_a_transition_is_logged_with_its_actor_and_reason(store: FineTuningStore, verb: str) -> None:
    job = in_status(store, TRANSITIONS[verb].sources[-1])

    after = transition(store.jobs, verb, job.id, actor="user-7", reason="wrong file \U0001f600", message="hello")

    (logged,) = store.transitions.list(job.id)
    assert logged == JobTransition(
        id=logged.id,
        job_id=job.id,
        position=1,
        transition=verb,
        from_status=job.status,
        to_status=after.status,
        at=after.updated_at or -1,
        actor="user-7",
        reason="wrong file \U0001f600",
        attempt=after.attempt,
    )
    assert [event.message for event in store.events.list(job.id)] == ["hello"]


def test_a_refused_transition_is_not_logged(store: FineTuningStore) -> None:
    job = created(store)
    store.jobs.cancel(job.id, actor="first")
    store.jobs.cancel(job.id, actor="second")
    with pytest.raises(IllegalTransitionError):
        store.jobs.start(job.id, actor="third")

    assert [logged.actor for logged in store.transitions.list(job.id)] == ["first"]


def test_a_transition_that_is_rolled_back_is_not_logged(store: FineTuningStore) -> None:
    job = created(store)
    with pytest.raises(ZeroDivisionError), store.begin() as unit:
        unit.jobs.start(job.id)
        assert len(unit.transitions.list(job.id)) == 1
        raise ZeroDivisionError

    assert (store.transitions.list(job.id).data, store.jobs.get(job.id)) == ((), job)


def test_pages_are_oldest_first_and_begin_after_a_transition(store: FineTuningStore) -> None:
    job = created(store)
    for verb in ("enqueue", "start", "requeue", "start", "pause"):
        transition(store.jobs, verb, job.id)

    first = store.transitions.list(job.id, limit=2)
    second = store.transitions.list(job.id, after=first.last_id, limit=2)
    third = store.transitions.list(job.id, after=second.last_id, limit=2)

    assert [[logged.transition for logged in page] for page in (first, second, third)] == [
        ["enqueue", "start"],
        ["requeue", "start"],
        ["pause"],
    ]
    assert (first.has_more, second.has_more, third.has_more) == (True, True, False)
    assert store.transitions.list(job.id, after=third.last_id).data == ()
    with pytest.raises(CursorNotFoundError):
        store.transitions.list(created(store).id, after=first.last_id)
    with pytest.raises(JobNotFoundError):
        store.transitions.list("ftjob-none")


def test_another_organization_can_neither_write_nor_read_the_log(store: FineTuningStore) -> None:
    job = created(store)
    other = store.for_organization("org-2")

    for verb in TRANSITIONS:
        with pytest.raises(JobNotFoundError):
            transition(other.jobs, verb, job.id)
    assert store.jobs.get(job.id) == job
    store.jobs.cancel(job.id)

    (logged,) = store.transitions.list(job.id)
    assert logged.position == 1
    for after in (None, logged.id):
        with pytest.raises(JobNotFoundError):
            other.transitions.list(job.id, after=after)
    assert store.for_organization(job.organization_id or "").transitions.list(job.id).data == (logged,)


@each(
    ("notes", "field"),
    [
        ({"actor": ""}, "actor"),
        ({"actor": "a" * 256}, "actor"),
        ({"actor": 7}, "actor"),
        ({"actor": "a\0"}, "actor"),
        ({"reason": b"why"}, "reason"),
        ({"reason": "a\0"}, "reason"),
        ({"message": 7}, "message"),
    ],
)
def test_wrong_notes_are_refused_and_change_nothing(store: FineTuningStore, notes: dict[str, Any], field: str) -> None:
    job = in_status(store, JobStatus.RUNNING)
    for verb in ("requeue", "succeed", "fail", "cancel"):
        with pytest.raises(InvalidValueError) as caught:
            transition(store.jobs, verb, job.id, **notes)
        assert caught.value.field == field
    with pytest.raises(InvalidValueError):
        store.jobs.start(job.id, hyperparameters=Hyperparameters(n_epochs=1), **notes)

    assert store.jobs.get(job.id) == job


def test_an_unknown_note_is_a_type_error_that_names_those_that_exist(store: FineTuningStore) -> None:
    job = created(store)

    with pytest.raises(TypeError, match=r"enqueue\(\) has no argument 'author': use message, actor, reason"):
        store.jobs.enqueue(job.id, author="me")  # type: ignore[call-arg]


def test_an_update_sets_the_time_of_the_last_change(store: FineTuningStore, time: Time) -> None:
    job = created(store)
    time.now += 5
    assert store.jobs.update(job.id).updated_at is None
    assert store.jobs.update(job.id, metadata={"a": "b"}).updated_at == time.now
    time.now += 5
    assert store.jobs.update(job.id, trained_tokens=1).updated_at == time.now


def test_the_totals_are_unknown_after_a_transition_by_code_that_does_not_log(store: FineTuningStore, time: Time) -> None:
    """Such as the release before this one, which requeues its jobs when it is stopped for an upgrade."""
    job = created(store)
    store.jobs.enqueue(job.id)
    time.now += 3
    assert store.jobs.start(job.id).queued_seconds == 3
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE fine_tuning_jobs SET status = 'queued'"))

    again = store.jobs.start(job.id)

    assert (again.attempt, again.queued_seconds, again.running_seconds) == (2, None, None)
    assert [(logged.from_status, logged.to_status) for logged in store.transitions.list(job.id)] == [
        ("validating_files", "queued"),
        ("queued", "running"),
        ("queued", "running"),
    ]
    time.now += 3
    assert store.jobs.requeue(job.id).running_seconds is None


def test_a_clock_that_is_behind_adds_nothing(store: FineTuningStore, time: Time) -> None:
    job = created(store)
    store.jobs.enqueue(job.id)
    time.now -= 100
    started = store.jobs.start(job.id)
    done = store.jobs.succeed(job.id, fine_tuned_model="m")

    assert (started.queued_seconds, done.running_seconds) == (0, 0)
    assert started.started_at == done.finished_at == job.created_at  # not before the job was created


LIVES = st.lists(st.tuples(st.sampled_from(sorted(TRANSITIONS)), st.integers(0, 1000), st.none() | st.just("me")), max_size=12)


def lived(job: FineTuningJob, verb: str, now: int) -> FineTuningJob:
    """The history of a job after a transition, in plain Python."""
    since = {JobStatus.QUEUED: ("queued_seconds", job.queued_at), JobStatus.RUNNING: ("running_seconds", job.started_at)}
    changes: dict[str, Any] = {"status": TRANSITIONS[verb].target, "updated_at": now}
    if job.status in since:
        name, start = since[job.status]
        changes[name] = getattr(job, name) + now - start
    target = TRANSITIONS[verb].target
    if target is JobStatus.QUEUED:
        changes["queued_at"] = now
    elif target is JobStatus.RUNNING:
        changes |= {"started_at": now, "attempt": job.attempt + 1}
    elif target.is_ended:
        changes["finished_at"] = now
    return replace(job, **changes)


def test_random_lives_are_logged_and_counted_as_plain_python_does(store: FineTuningStore, time: Time) -> None:
    @settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
    @given(LIVES)
    def live(steps: list[tuple[str, int, str | None]]) -> None:
        job = created(store)
        expected: list[tuple[Any, ...]] = []
        for verb, seconds, actor in steps:
            time.now += seconds
            if job.status not in TRANSITIONS[verb].sources:
                continue
            after = lived(job, verb, time.now)
            expected.append((len(expected) + 1, verb, job.status, after.status, time.now, actor, after.attempt))
            shown = transition(store.jobs, verb, job.id, actor=actor)
            results = ("error", "fine_tuned_model", "trained_tokens", "result_files", "available_at")  # of the database's clock
            job = replace(after, **{name: getattr(shown, name) for name in results})
            assert shown == job
        logged = store.transitions.list(job.id, limit=1000)
        assert [
            (row.position, row.transition, row.from_status, row.to_status, row.at, row.actor, row.attempt) for row in logged
        ] == expected
        assert store.jobs.get(job.id) == job

    live()


@pytest.mark.parametrize("round_", range(3))
def test_racing_transitions_leave_a_log_without_gaps_or_breaks(url: str, round_: int) -> None:
    workers = 6
    barrier = Barrier(workers)
    with FineTuningStore.from_url(url) as store:
        job = stored(store, status="queued", queued_seconds=0, running_seconds=0, queued_at=1)

        def toggle(verbs: Iterator[str]) -> int:
            done = 0
            barrier.wait()
            for verb in verbs:
                try:
                    transition(store.jobs, verb, job.id, actor=str(get_ident()))
                    done += 1
                except IllegalTransitionError:
                    pass
            return done

        verbs = ["start", "requeue", "pause", "resume"]
        with ThreadPoolExecutor(workers) as pool:
            done = sum(pool.map(toggle, [iter(verbs[number % 4 :] * 4) for number in range(workers)]))
        logged = store.transitions.list(job.id, limit=1000).data
        after = store.jobs.get(job.id)

    assert [row.position for row in logged] == list(range(1, done + 1))
    chain = [JobStatus.QUEUED, *(row.to_status for row in logged)]
    assert [row.from_status for row in logged] == chain[:-1]
    assert (after.status, after.attempt) == (chain[-1], sum(row.transition == "start" for row in logged))
    assert after.queued_seconds is not None

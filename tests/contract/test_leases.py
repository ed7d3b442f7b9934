"""Leases: which job a worker gets, for how long, and that no write takes effect with a lease that no longer holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from fine_tuning_store import (
    FineTuningJob,
    FineTuningStore,
    Hyperparameters,
    InvalidValueError,
    JobError,
    JobStatus,
    ReadOnlyStoreError,
    StaleLeaseError,
)
from tests.support.factories import created

pytestmark = pytest.mark.every_driver


def queued(store: Any, **members: Any) -> FineTuningJob:
    job = created(store, **members)
    return store.jobs.enqueue(job.id)  # type: ignore[no-any-return]


def set_columns(store: Any, id: str, **values: Any) -> None:
    """Change columns of a job as only the passing of time, or another release, does."""
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    with store.engine.begin() as connection:
        connection.execute(text(f"UPDATE fine_tuning_jobs SET {assignments} WHERE id = :id"), {"id": id, **values})


def expire(store: Any, lease: Any) -> None:
    set_columns(store, lease.job.id, lease_expires_at=1)


def claimed(store: Any, worker_id: str = "worker-1", **options: Any) -> Any:
    lease = store.leases.claim(worker_id, **options)
    assert lease is not None
    return lease


#: Every write of a lease.
WRITES: dict[str, Callable[[Any], object]] = {
    "append_event": lambda lease: lease.append_event("m"),
    "append_events": lambda lease: lease.append_events([{"message": "m"}]),
    "add_checkpoint": lambda lease: lease.add_checkpoint(step_number=1, fine_tuned_model_checkpoint="m"),
    "update": lambda lease: lease.update(trained_tokens=1),
    "update hyperparameters": lambda lease: lease.update(hyperparameters=Hyperparameters(n_epochs=7)),
    "succeed": lambda lease: lease.succeed(fine_tuned_model="wrong", result_files=["wrong"]),
    "fail": lambda lease: lease.fail(JobError(code="wrong")),
    "requeue": lambda lease: lease.requeue(delay=1),
}
WHILE_PAUSED = {"append_event", "append_events", "add_checkpoint"}


def heartbeat(lease: Any) -> object:
    return lease.heartbeat()


def assert_stale(store: Any, lease: Any) -> None:
    """Every call on the lease is refused, and changes nothing."""

    def state() -> Any:
        id = lease.job.id
        others = (store.events.list(id).data, store.checkpoints.list(id).data, store.transitions.list(id).data)
        return store.jobs.get(id), *others

    before = state()
    for name, call in {**WRITES, "heartbeat": heartbeat}.items():
        with pytest.raises(StaleLeaseError, match="stop this attempt"):
            call(lease)
            pytest.fail(name)
        assert lease.status is None
    assert state() == before


def test_a_claim_starts_the_job_for_its_worker(store: FineTuningStore) -> None:
    job = queued(store)

    lease = claimed(store, "worker-1", seconds=30)

    found = store.jobs.get(job.id)
    assert lease.job == found
    assert (found.status, found.attempt, found.worker_id, found.lost_leases) == (JobStatus.RUNNING, 1, "worker-1", 0)
    assert (lease.attempt, lease.worker_id, lease.seconds, lease.status) == (1, "worker-1", 30, "running")
    assert found.lease_expires_at == lease.expires_at
    assert found.started_at is not None
    assert abs(lease.expires_at - found.started_at - 30) <= 2  # of two clocks
    last = store.transitions.list(job.id).data[-1]
    assert (last.transition, last.from_status, last.actor, last.attempt) == ("start", "queued", "worker-1", 1)
    assert store.leases.claim("worker-2") is None


def test_jobs_are_claimed_in_the_order_in_which_they_became_available(store: FineTuningStore) -> None:
    first, second, third = (queued(store) for _ in range(3))
    set_columns(store, third.id, available_at=0)  # queued by an earlier release
    set_columns(store, second.id, available_at=2)
    set_columns(store, first.id, available_at=1)
    paused = queued(store)
    store.jobs.pause(paused.id)
    created(store)  # still validating_files

    order = [claimed(store).job.id for _ in range(3)]

    assert order == [third.id, first.id, second.id]
    assert store.leases.claim("worker-1") is None


def test_a_requeued_or_resumed_job_goes_to_the_end(store: FineTuningStore) -> None:
    first, second, third = (queued(store) for _ in range(3))
    for number, job in enumerate((first, second, third)):
        set_columns(store, job.id, available_at=number)
    claimed(store).requeue()
    store.jobs.pause(second.id)
    store.jobs.resume(second.id)

    assert claimed(store).job.id == third.id
    assert {claimed(store).job.id, claimed(store).job.id} == {first.id, second.id}


def test_a_job_is_not_available_before_its_delay_is_over(store: FineTuningStore) -> None:
    job = queued(store)
    requeued = claimed(store).requeue(delay=100)

    assert (requeued.status, requeued.worker_id, requeued.lease_expires_at) == ("queued", None, None)
    assert requeued.queued_at is not None
    assert abs(requeued.available_at - requeued.queued_at - 100) <= 2
    assert store.leases.claim("worker-1") is None
    assert not store.leases.wait(0)
    set_columns(store, job.id, available_at=1)
    assert store.leases.wait(0)
    assert claimed(store).attempt == 2


def test_a_claim_takes_only_what_it_is_restricted_to(store: FineTuningStore) -> None:
    one = queued(store, model="a", organization_id="org-1")
    two = queued(store, model="b", organization_id="org-2")
    three = queued(store, model="c", organization_id="org-3")

    assert store.leases.claim("w", models=["x"]) is None
    assert store.leases.claim("w", methods=["dpo"]) is None
    assert store.leases.claim("w", models=["a"], organization_ids=["org-2"]) is None
    assert not store.leases.wait(0, models=["x"])
    assert claimed(store, models=["b", "x"]).job.id == two.id
    assert claimed(store, organization_ids=["org-3"], methods=["supervised"]).job.id == three.id
    assert claimed(store, models=["a"]).job.id == one.id


def test_several_jobs_are_claimed_in_one_transaction(store: FineTuningStore) -> None:
    ids = [queued(store).id for _ in range(3)]

    leases = store.leases.claim_many("worker-1", limit=2, seconds=5)

    assert sorted(lease.job.id for lease in leases) == ids[:2]
    assert [lease.job.id for lease in store.leases.claim_many("worker-1", limit=2)] == ids[2:]
    assert store.leases.claim_many("worker-1", limit=2) == ()


def test_an_organization_claims_waits_and_rescues_for_itself_only(store: FineTuningStore) -> None:
    queued(store, organization_id="org-1")
    mine = store.for_organization("org-2")

    assert mine.leases.claim("worker-1") is None
    assert not mine.leases.wait(0)
    with pytest.raises(InvalidValueError, match="organization"):
        mine.leases.claim("worker-1", organization_ids=["org-1"])
    lease = claimed(store)
    expire(store, lease)
    assert mine.leases.rescue() == ()
    own = queued(store, organization_id="org-2")
    assert claimed(mine).job.id == own.id
    assert mine.leases.claim("worker-1") is None


def test_a_worker_writes_with_its_lease(store: FineTuningStore) -> None:
    queued(store)
    lease = claimed(store)
    id = lease.job.id

    assert lease.append_event("one", level="warn").position == 1
    assert [event.message for event in lease.append_events([{"message": "two"}, {"message": "three"}])] == ["two", "three"]
    assert lease.add_checkpoint(step_number=1, fine_tuned_model_checkpoint="ft:1", metrics={"loss": 0.5}).fine_tuning_job_id == id
    updated = lease.update(trained_tokens=5, hyperparameters=Hyperparameters(n_epochs=7))
    assert (updated.trained_tokens, updated.hyperparameters.n_epochs) == (5, 7)
    done = lease.succeed(fine_tuned_model="ft:2", trained_tokens=9, result_files=["f"], message="done", reason="because")

    assert done == store.jobs.get(id)
    assert (done.status, done.fine_tuned_model, done.result_files, done.worker_id) == ("succeeded", "ft:2", ("f",), None)
    assert lease.status == "succeeded"
    last = store.transitions.list(id).data[-1]
    assert (last.actor, last.reason) == ("worker-1", "because")
    assert_stale_writes_only(lease)


def assert_stale_writes_only(lease: Any) -> None:
    for call in WRITES.values():
        with pytest.raises(StaleLeaseError):
            call(lease)


def test_a_worker_fails_its_job(store: FineTuningStore) -> None:
    queued(store)
    lease = claimed(store)

    failed = lease.fail(JobError(code="oom", message="out of memory"), actor="trainer")

    assert (failed.status, failed.error) == ("failed", JobError(code="oom", message="out of memory"))
    assert store.transitions.list(failed.id).data[-1].actor == "trainer"


def test_a_heartbeat_renews_the_lease(store: FineTuningStore) -> None:
    queued(store)
    lease = claimed(store, seconds=50)
    set_columns(store, lease.job.id, lease_expires_at=lease.expires_at - 40)
    before = store.jobs.get(lease.job.id)

    assert lease.heartbeat() is JobStatus.RUNNING

    after = store.jobs.get(lease.job.id)
    assert after.lease_expires_at == lease.expires_at
    assert before.lease_expires_at is not None
    assert after.lease_expires_at is not None
    assert after.lease_expires_at >= before.lease_expires_at + 40
    assert after.updated_at == before.updated_at


def test_nothing_is_written_with_an_expired_lease(store: FineTuningStore) -> None:
    queued(store)
    lease = claimed(store)
    expire(store, lease)

    assert_stale(store, lease)


def test_a_worker_that_was_presumed_dead_leaves_the_job_of_its_successor_alone(store: FineTuningStore) -> None:
    queued(store)
    lost = claimed(store, "a")
    expire(store, lost)
    (rescued,) = store.leases.rescue()
    set_columns(store, rescued.id, available_at=0)
    successor = claimed(store, "b")

    assert successor.job.id == lost.job.id
    assert successor.attempt == 2
    assert_stale(store, lost)
    assert successor.heartbeat() == "running"
    store.jobs.pause(rescued.id)
    assert_stale(store, lost)
    assert successor.heartbeat() == "paused"
    store.jobs.resume(rescued.id)
    assert_stale(store, lost)
    assert_stale(store, successor)
    third = claimed(store, "a")  # the same worker, in another attempt
    assert_stale(store, lost)
    assert third.succeed(fine_tuned_model="ft:3").fine_tuned_model == "ft:3"
    assert_stale_writes_only(lost)


@pytest.mark.parametrize("end", ["requeue", "start again", "succeed", "fail", "cancel", "delete"])
def test_whoever_else_changes_the_job_ends_the_lease(store: FineTuningStore, end: str) -> None:
    job = queued(store)
    lease = claimed(store)
    if end in ("requeue", "start again"):
        store.jobs.requeue(job.id)
        if end == "start again":
            assert store.jobs.start(job.id).worker_id is None
        assert_stale(store, lease)
    elif end == "delete":
        store.jobs.cancel(job.id)
        store.jobs.delete(job.id)
        for call in (*WRITES.values(), heartbeat):
            with pytest.raises(StaleLeaseError, match="was deleted"):
                call(lease)
    else:
        arguments: dict[str, dict[str, Any]] = {"succeed": {"fine_tuned_model": "m"}, "fail": {"error": JobError(code="c")}}
        ended = getattr(store.jobs, end)(job.id, **arguments.get(end, {}))
        assert (ended.worker_id, ended.lease_expires_at) == (None, None)
        assert_stale_writes_only(lease)
        assert lease.heartbeat() == ended.status


def test_while_a_job_is_paused_its_worker_adds_events_and_checkpoints_only(store: FineTuningStore) -> None:
    job = queued(store)
    lease = claimed(store)
    paused = store.jobs.pause(job.id)

    assert (paused.worker_id, paused.lease_expires_at) == ("worker-1", lease.expires_at)
    assert lease.heartbeat() is JobStatus.PAUSED
    assert store.jobs.get(job.id).lease_expires_at == lease.expires_at
    for name, call in WRITES.items():
        if name in WHILE_PAUSED:
            call(lease)
        else:
            with pytest.raises(StaleLeaseError, match="is paused now"):
                call(lease)
    expire(store, lease)
    for call in WRITES.values():
        with pytest.raises(StaleLeaseError):
            call(lease)
    assert lease.heartbeat() == "paused"
    assert store.leases.rescue() == ()


def test_a_bound_lease_writes_in_the_transaction_of_a_unit(store: FineTuningStore) -> None:
    queued(store)
    lease = claimed(store)
    with pytest.raises(RuntimeError, match="undone"), store.begin() as unit:
        bound = unit.leases.bind(lease)
        assert bound.heartbeat() == "running"
        bound.append_event("one")
        assert bound.succeed(fine_tuned_model="ft:1").status == "succeeded"
        raise RuntimeError("undone")
    assert store.jobs.get(lease.job.id).status == "running"
    assert store.events.list(lease.job.id).data == ()

    with store.begin() as unit:
        unit.leases.bind(lease).succeed(fine_tuned_model="ft:1")
        unit.events.append(lease.job.id, "of the service")
    assert store.jobs.get(lease.job.id).status == "succeeded"

    with store.begin() as unit:
        with pytest.raises(StaleLeaseError):
            unit.leases.bind(lease).append_event("late")
        unit.events.append(lease.job.id, "the unit goes on")
    assert len(store.events.list(lease.job.id).data) == 2


def test_a_unit_claims_and_may_roll_back(store: FineTuningStore) -> None:
    job = queued(store)
    with pytest.raises(RuntimeError, match="undone"), store.begin() as unit:
        assert claimed(unit).job.id == job.id
        raise RuntimeError("undone")

    assert claimed(store).attempt == 1


def test_running_jobs_without_a_live_lease_are_stuck(store: FineTuningStore) -> None:
    expired, alive, paused, without = (queued(store).id for _ in range(4))
    leases = {lease.job.id: lease for lease in store.leases.claim_many("worker-1", limit=3)}
    store.jobs.start(without)
    queued(store)
    assert [job.id for job in store.leases.stuck()] == [without]

    for id in (expired, paused):
        expire(store, leases[id])
    store.jobs.pause(paused)

    assert store.leases.stuck() == store.jobs.get_many([expired, without])
    assert store.leases.stuck(limit=1) == store.jobs.get_many([expired])
    assert store.for_organization("org-2").leases.stuck() == ()
    assert store.jobs.get(alive).lease_expires_at == leases[alive].expires_at
    with pytest.raises(InvalidValueError, match="limit"):
        store.leases.stuck(limit=0)


def test_rescue_returns_jobs_to_the_queue_and_fails_them_in_the_end(store: FineTuningStore) -> None:
    job = queued(store)
    delays = []
    for number in (1, 2):
        lease = claimed(store, "worker-1")
        expire(store, lease)
        (rescued,) = store.leases.rescue(max_attempts=3)
        assert rescued == store.jobs.get(job.id)
        assert (rescued.status, rescued.worker_id, rescued.lost_leases, rescued.attempt) == ("queued", None, number, number)
        assert rescued.queued_at is not None
        delays.append(rescued.available_at - rescued.queued_at)
        last = store.transitions.list(job.id).data[-1]
        assert (last.transition, last.actor) == ("requeue", "rescue")
        assert last.reason is not None
        assert "worker-1" in last.reason
        assert store.events.list(job.id).data[0].level == "warn"
        set_columns(store, job.id, available_at=1)
    assert 3 <= delays[0] <= 12
    assert 8 <= delays[1] <= 22

    expire(store, claimed(store))
    (failed,) = store.leases.rescue(max_attempts=3)

    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "worker_lost"
    assert (failed.worker_id, failed.lost_leases) == (None, 3)
    assert store.events.list(job.id).data[0].level == "error"
    assert store.leases.rescue() == ()


def test_attempts_that_ended_otherwise_do_not_count_as_lost(store: FineTuningStore) -> None:
    job = queued(store)
    for _ in range(3):
        claimed(store).requeue()
    store.jobs.start(job.id)
    assert store.leases.rescue() == ()  # it has no lease
    store.jobs.requeue(job.id)
    lease = claimed(store)
    assert store.leases.rescue() == ()  # it holds
    expire(store, lease)

    assert [found.status for found in store.leases.rescue(max_attempts=2)] == ["queued"]
    assert store.jobs.get(job.id).lost_leases == 1


def test_rescue_takes_so_many_jobs_at_most(store: FineTuningStore) -> None:
    for _ in range(3):
        queued(store)
    for lease in store.leases.claim_many("worker-1", limit=3):
        expire(store, lease)

    assert len(store.leases.rescue(limit=2)) == 2
    assert len(store.leases.rescue(limit=2)) == 1


def test_wait_ends_when_a_job_can_be_claimed(store: FineTuningStore) -> None:
    assert not store.leases.wait(0.2)
    queued(store)
    assert store.leases.wait(10)


def test_an_imported_job_has_no_lease(store: FineTuningStore) -> None:
    queued(store)
    lease = claimed(store)
    store.jobs.cancel(lease.job.id)
    store.jobs.delete(lease.job.id)

    added = store.jobs.add(lease.job)

    assert (added.status, added.worker_id, added.lease_expires_at) == ("running", None, None)
    assert store.jobs.get(added.id) == added
    assert_stale_writes_only(lease)


WRONG: list[tuple[str, Callable[[Any], object]]] = [
    ("worker_id", lambda leases: leases.claim("")),
    ("worker_id", lambda leases: leases.claim("w" * 256)),
    ("worker_id", lambda leases: leases.claim(5)),
    ("seconds", lambda leases: leases.claim("w", seconds=0)),
    ("seconds", lambda leases: leases.claim("w", seconds=1.5)),
    ("seconds", lambda leases: leases.claim("w", seconds=10**9)),
    ("models", lambda leases: leases.claim("w", models="m")),
    ("models", lambda leases: leases.claim("w", models=[])),
    (r"models\[1\]", lambda leases: leases.claim("w", models=["m", ""])),
    (r"methods\[0\]", lambda leases: leases.claim("w", methods=["other"])),
    ("organization_id", lambda leases: leases.claim("w", organization_ids=[None])),
    ("limit", lambda leases: leases.claim_many("w", limit=0)),
    ("limit", lambda leases: leases.claim_many("w", limit=101)),
    ("timeout", lambda leases: leases.wait(-1)),
    ("timeout", lambda leases: leases.wait(float("nan"))),
    ("timeout", lambda leases: leases.wait("5")),
    ("max_attempts", lambda leases: leases.rescue(max_attempts=0)),
    ("limit", lambda leases: leases.rescue(limit=0)),
]


@pytest.mark.parametrize(("field", "call"), WRONG, ids=[f"{number}-{field}" for number, (field, _) in enumerate(WRONG)])
def test_a_wrong_value_is_refused_by_name(store: FineTuningStore, field: str, call: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidValueError, match=field):
        call(store.leases)


def test_wrong_values_leave_the_lease_and_the_job_as_they_are(store: FineTuningStore) -> None:
    queued(store)
    lease = claimed(store)
    wrong: list[Callable[[], object]] = [
        lambda: lease.append_event(5),
        lambda: lease.append_events("m"),
        lambda: lease.update(trained_tokens=-1),
        lambda: lease.update(hyperparameters=Hyperparameters(beta=1.0)),
        lambda: lease.succeed(fine_tuned_model=""),
        lambda: lease.succeed(fine_tuned_model="m", result_files="f"),
        lambda: lease.fail(JobError()),
        lambda: lease.requeue(delay=-1),
    ]
    for call in wrong:
        with pytest.raises(InvalidValueError):
            call()
    with pytest.raises(TypeError):
        lease.succeed(fine_tuned_model="m", other=1)
    with pytest.raises(TypeError):
        store.leases.bind("lease")  # type: ignore[arg-type]

    assert store.jobs.get(lease.job.id) == lease.job
    assert lease.heartbeat() == "running"


def test_a_read_only_store_claims_nothing(store: FineTuningStore, url: str, database: Any) -> None:
    queued(store)
    with FineTuningStore.from_url(url, read_only=True) as reader:
        assert reader.leases.wait(0)
        for call in (lambda: reader.leases.claim("w"), lambda: reader.leases.claim_many("w", limit=1)):
            with pytest.raises(ReadOnlyStoreError):
                call()

"""COMMITs that are lost with the connection, or whose answer is: the caller gets the right result, and nothing is stored twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fine_tuning_store import (
    FineTuningJobEvent,
    FineTuningStore,
    JobNotFoundError,
    JobStatus,
    OutcomeUnknownError,
    PurgeResult,
    StoreBusyError,
    Timeouts,
)
from tests.contract.test_leases import queued
from tests.support.async_store import run_with_store
from tests.support.databases import Database
from tests.support.factories import a_job, a_transition, created
from tests.support.forwarder import Forwarder, forwarding

ROUNDS = int(os.environ.get("FINE_TUNING_STORE_TEST_ROUNDS", "2"))
MODEL = "ft:m"

pytestmark = [
    pytest.mark.timeout(60 + ROUNDS * 10),
    pytest.mark.parametrize(
        ("database", "driver"),
        [
            ("postgresql", None),
            ("mariadb", None),
            *[pytest.param("postgresql", driver, marks=pytest.mark.slow) for driver in ("psycopg2", "asyncpg", "psycopg_async")],
            pytest.param("mariadb", "aiomysql", marks=pytest.mark.slow),
        ],
        indirect=True,
    ),
]


@pytest.fixture
def path(url: str) -> Iterator[tuple[Forwarder, str]]:
    """A forwarder to the server, and the URL of the migrated database through it."""
    with forwarding(url) as (forwarder, through):
        yield forwarder, through.render_as_string(hide_password=False)


def cut(forwarder: Forwarder, where: str, what: bytes = b"COMMIT") -> None:
    """Lose the next COMMIT, or the answer to it."""
    if where == "answer":
        forwarder.cuts_answer_to = what
    else:
        forwarder.loses_once_at = what


#: Calls that write, with a job in the status that they need, and what they must have left, once.
CALLS: dict[str, Callable[[Any, Any], None]] = {}


def writes(call: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    CALLS[call.__name__] = call
    return call


@writes
def add_many(store: Any, cut_next: Callable[[], None]) -> None:
    before = store.jobs.count()
    cut_next()
    added = store.jobs.add_many([a_job(), a_job()])
    assert list(store.jobs.get_many([job.id for job in added])) == list(added)
    assert store.jobs.count() == before + 2


@writes
def replace_many(store: Any, cut_next: Callable[[], None]) -> None:
    old, new = store.jobs.add(a_job()), a_job(metadata={"a": "b"})
    before = store.jobs.count()
    for model in ("m-1", "m-2"):  # the second time both are stored
        cut_next()
        replaced = store.jobs.replace_many([replace(job, model=model) for job in (old, new)])
        assert store.jobs.get_many([old.id, new.id]) == replaced
    assert store.jobs.count() == before + 1


@writes
def imports(store: Any, cut_next: Callable[[], None]) -> None:
    job = store.jobs.add(a_job())
    events = [FineTuningJobEvent(id=f"ftevent-{number}", created_at=1, message="m") for number in range(3)]
    log = [a_transition(job.id, position) for position in (1, 2, 3)]
    for imported, given in ((store.events, events), (store.transitions, log)):
        for number in (2, 3, 3):
            store.jobs.get(job.id)  # on a connection of the pool: a new one commits, too
            cut_next()
            assert len(imported.import_many(job.id, given[:number])) == number
    assert [event.position for event in store.events.tail(job.id)] == [1, 2, 3]
    assert list(store.transitions.list(job.id)) == log


@writes
def purge(store: Any, cut_next: Callable[[], None]) -> None:
    jobs = store.jobs.add_many([a_job(status="failed", finished_at=1) for _ in range(3)])
    for job in jobs:
        store.events.append(job.id, "m")
    cut_next()
    results: list[PurgeResult] = []
    while not results or results[-1].locked:  # by the lost transaction, until the server notices that its connection is gone
        results.append(store.retention.purge(finished_before=2, dry_run=False))
    assert (sum(result.jobs for result in results), sum(result.events for result in results)) == (3, 3)
    assert store.jobs.count(status="failed") == 0


@writes
def transition(store: Any, cut_next: Callable[[], None]) -> None:
    job = queued(store)
    cut_next()
    paused = store.jobs.pause(job.id, message="paused", actor="user")
    assert paused == store.jobs.get(job.id)
    assert [entry.transition for entry in store.transitions.list(job.id)] == ["enqueue", "pause"]
    assert [event.message for event in store.events.tail(job.id)] == ["paused"]


@writes
def append(store: Any, cut_next: Callable[[], None]) -> None:
    job = created(store)
    cut_next()
    assert store.events.append(job.id, "once").position == 1
    assert [event.message for event in store.events.tail(job.id)] == ["once"]


@writes
def checkpoint(store: Any, cut_next: Callable[[], None]) -> None:
    job = created(store)
    cut_next()
    store.checkpoints.create(job.id, step_number=1, fine_tuned_model_checkpoint=f"ft:{job.id}")
    assert len(store.checkpoints.list(job.id)) == 1
    cut_next()
    assert len(store.checkpoint_permissions.create(f"ft:{job.id}", ["p-1", "p-2"])) == 2
    assert len(store.checkpoint_permissions.list(f"ft:{job.id}")) == 2


@writes
def unit(store: Any, cut_next: Callable[[], None]) -> None:
    runs = []

    def work(unit: Any) -> Any:
        runs.append(1)
        job = created(unit)
        unit.jobs.enqueue(job.id)
        unit.events.append(job.id, "once")
        return job.id

    before = store.jobs.count()
    cut_next()
    id = store.run_in_transaction(work)
    assert store.jobs.get(id).status == "queued"
    assert store.jobs.count() == before + 1


@writes
def lease(store: Any, cut_next: Callable[[], None]) -> None:
    job = queued(store)
    cut_next()
    lease = store.leases.claim_many("worker-1", limit=1)[0]
    assert lease.job == store.jobs.get(job.id)
    cut_next()
    lease.append_event("once")
    cut_next()
    assert lease.succeed(fine_tuned_model="m") == store.jobs.get(job.id)
    assert [entry.transition for entry in store.transitions.list(job.id)] == ["enqueue", "start", "succeed"]
    assert len(store.events.tail(job.id)) == 1


@writes
def idempotent_create(store: Any, cut_next: Callable[[], None]) -> None:
    before = store.jobs.count()
    cut_next()
    first = created(store, idempotency_key=f"key-{before}")
    cut_next()  # which writes nothing
    assert created(store, idempotency_key=f"key-{before}") == first
    assert store.jobs.count() == before + 1


@pytest.mark.parametrize("where", ["answer", "commit"])
@pytest.mark.parametrize("name", CALLS)
def test_a_write_happens_once_and_returns_its_result(path: tuple[Forwarder, str], driver: str | None, name: str, where: str) -> None:
    forwarder, url = path

    def lose(store: Any) -> None:
        for _ in range(ROUNDS):
            CALLS[name](store, lambda: cut(forwarder, where))
            assert_cut(forwarder)
        assert store.engine.pool.checkedout() == 0

    run_with_store(lose, url, driver)


def assert_cut(forwarder: Forwarder) -> None:
    assert (forwarder.cuts_answer_to, forwarder.loses_once_at) == (None, None)


def create(store: Any, cut_next: Callable[[], None]) -> None:
    before = store.jobs.count()
    cut_next()
    job = created(store, metadata={"a": "b"})
    assert store.jobs.get(job.id) == job
    assert store.jobs.count() == before + 1


def enqueue(store: Any, cut_next: Callable[[], None]) -> None:
    job = created(store)
    cut_next()
    assert store.jobs.enqueue(job.id, actor="validator") == store.jobs.get(job.id)
    assert [entry.transition for entry in store.transitions.list(job.id)] == ["enqueue"]
    store.jobs.cancel(job.id)


def claim(store: Any, cut_next: Callable[[], None]) -> None:
    job = queued(store)
    cut_next()
    lease = store.leases.claim("worker-1")
    assert lease.job.id == job.id
    assert lease.job == store.jobs.get(job.id)
    assert lease.attempt == 1
    lease.succeed(fine_tuned_model="m")


#: Calls that are single statements on PostgreSQL, without a COMMIT, by the names of these.
SINGLE_STATEMENTS = {"insert_job": create, "enqueue": enqueue, "claim": claim}


@pytest.mark.parametrize("where", ["answer", "statement"])
@pytest.mark.parametrize("name", SINGLE_STATEMENTS)
def test_a_single_statement_happens_once_and_returns_its_result(
    path: tuple[Forwarder, str], driver: str | None, database: Database, name: str, where: str
) -> None:
    forwarder, url = path
    what = f"fine_tuning_store.{name}".encode() if database.name == "postgresql" else b"COMMIT"

    def lose(store: Any) -> None:
        def cut_next() -> None:
            with_new_connection(store)  # on which nothing is prepared
            cut(forwarder, where, what)

        for _ in range(ROUNDS):
            SINGLE_STATEMENTS[name](store, cut_next)
            assert_cut(forwarder)

    run_with_store(lose, url, driver)


def with_new_connection(store: Any) -> None:
    pooled = store.engine.raw_connection()
    pooled.invalidate()
    store.jobs.count(limit=1)


def test_a_block_that_was_committed_ends_as_usual_and_another_one_raises(path: tuple[Forwarder, str], driver: str | None) -> None:
    forwarder, url = path

    def lose(store: Any) -> None:
        created(store)  # on a connection of the pool: a new one commits, too
        cut(forwarder, "answer")
        with store.begin() as unit:
            job = created(unit)
        assert store.jobs.get(job.id) == job

        cut(forwarder, "commit")
        with pytest.raises(DBAPIError) as lost, store.begin() as unit:
            job = created(unit)
        assert lost.value.connection_invalidated
        with pytest.raises(JobNotFoundError):
            store.jobs.get(job.id)

        cut(forwarder, "answer")
        with store.begin() as unit:  # only reads
            unit.jobs.count()

    run_with_store(lose, url, driver)


def test_what_cannot_be_looked_up_raises_an_error_of_its_own(path: tuple[Forwarder, str], driver: str | None) -> None:
    forwarder, url = path

    def lose(store: Any) -> None:
        job = created(store)
        cut(forwarder, "answer")
        with pytest.raises(OutcomeUnknownError, match="no ids to look for"):
            store.jobs.update(job.id, trained_tokens=5)
        assert store.jobs.get(job.id).trained_tokens == 5

        cut(forwarder, "answer")
        with pytest.raises(OutcomeUnknownError), store.begin() as unit:
            unit.connection.execute(text("UPDATE fine_tuning_jobs SET seed = 7"))

    run_with_store(lose, url, driver)


def test_the_row_of_the_lost_transaction_is_waited_for(path: tuple[Forwarder, str], url: str, driver: str | None) -> None:
    """As if the server were still at work on it. It waits as long as for any lock, then the outcome is unknown."""
    forwarder, through = path
    with FineTuningStore.from_url(url) as other:

        def lose(store: Any) -> None:
            job = created(store)
            with other.begin() as holder:

                def write(unit: Any) -> None:
                    unit.events.append(job.id, "once")
                    forwarder.after_cut = lambda: holder.jobs.enqueue(job.id)
                    cut(forwarder, "answer")

                with pytest.raises(OutcomeUnknownError, match="ftevent-") as unknown:
                    store.run_in_transaction(write)
            assert isinstance(unknown.value.__cause__, StoreBusyError)
            assert [event.id for event in store.events.tail(job.id)] == list(unknown.value.ids)

        run_with_store(lose, through, driver, timeouts=Timeouts(lock=1))


def test_a_restarted_server_costs_no_call_its_result(path: tuple[Forwarder, str], driver: str | None) -> None:
    """All connections are lost at once, while they are idle."""
    forwarder, url = path

    def lose(store: Any) -> None:
        job = created(store)
        calls: list[Callable[[], Any]] = [
            lambda: store.jobs.get(job.id),
            lambda: created(store),
            lambda: store.jobs.enqueue(job.id),
            lambda: store.run_in_transaction(lambda unit: unit.events.append(job.id, "m")),
            lambda: store.leases.claim("worker-1"),
            lambda: store.jobs.list(),
        ]
        for call in calls:
            forwarder.lose_connections()
            call()
        assert store.jobs.get(job.id).status is JobStatus.RUNNING
        assert store.jobs.count() == 2

    run_with_store(lose, url, driver)

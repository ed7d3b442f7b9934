"""Leases on a Galera cluster: the row locks of a node are unknown to the others, whose transactions meet at COMMIT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from sqlalchemy.exc import OperationalError

from fine_tuning_store import FineTuningStore, IllegalTransitionError, JobStatus, Lease, StaleLeaseError
from fine_tuning_store.sql.waiting import poll
from tests.contract.test_leases import queued
from tests.support import galera
from tests.support.databases import Server
from tests.support.parallel import at_once

pytestmark = pytest.mark.timeout(300)

JOBS, ROUNDS = 60, 10


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[str]]:
    """The URLs of a migrated database on each node."""
    with galera.cluster() as servers, Server("mariadb", servers[0], "Galera").empty() as url:
        name = url.rpartition("/")[2]
        urls = [server.set(database=name).render_as_string(hide_password=False) for server in servers]
        with FineTuningStore.from_url(urls[0]) as store:
            store.schema.upgrade()
        for each in urls:
            assert poll(partial(is_migrated, each), 30, is_async=False)
        yield urls


def is_migrated(url: str) -> bool:
    with FineTuningStore.from_url(url) as store:
        return bool(store.schema.state().is_usable)


def has_queued(url: str, number: int) -> bool:
    with FineTuningStore.from_url(url) as store:
        return store.jobs.count(status="queued") == number


def has_ended(store: FineTuningStore, id: str) -> bool:
    return store.jobs.get(id).status.is_ended


def drain(wait: Callable[[], object], url: str, worker_id: str) -> list[str]:
    """Claim and finish jobs until there is none, and return their ids."""
    with FineTuningStore.from_url(url) as store:
        store.jobs.count()
        wait()
        finished = []
        while (lease := claimed(store, worker_id)) is not None:
            lease.append_event("training")
            lease.succeed(fine_tuned_model=worker_id)
            finished.append(lease.job.id)
        return finished


def claimed(store: FineTuningStore, worker_id: str) -> Lease | None:
    """Claim a job, again if the workers of other nodes were faster more often than the store tries."""
    while True:
        try:
            return store.leases.claim(worker_id)
        except OperationalError as error:
            if error.orig is None or error.orig.args[0] != 1213:
                raise


def test_workers_on_all_nodes_claim_each_job_once(nodes: list[str]) -> None:
    with FineTuningStore.from_url(nodes[0]) as store:
        ids = {queued(store).id for _ in range(JOBS)}
        for url in nodes:
            assert poll(partial(has_queued, url, JOBS), 30, is_async=False)

        results = at_once(*[(drain, (url, f"worker-{number}-{copy}")) for number, url in enumerate(nodes) for copy in range(2)])

        assert [error for _, error in results if error] == []
        finished = Counter(id for found, _ in results for id in found)
        assert set(finished) == ids
        assert set(finished.values()) == {1}
        assert poll(lambda: store.jobs.count(status="succeeded") == JOBS, 30, is_async=False)
        for id in ids:
            assert [entry.transition for entry in store.transitions.list(id)] == ["enqueue", "start", "succeed"]
            assert store.jobs.get(id).attempt == 1


def finish(wait: Callable[[], object], url: str, lease_of: str) -> str:
    """Claim the job on the node, wait for the other one, and finish it. Returns the status that the worker learns."""
    with FineTuningStore.from_url(url) as store:
        lease = store.leases.claim(lease_of)
        assert lease is not None
        wait()
        try:
            return str(lease.succeed(fine_tuned_model="ft:m").status)
        except StaleLeaseError as error:
            return str(error.status)


def cancel(wait: Callable[[], object], url: str, id: str) -> str:
    with FineTuningStore.from_url(url) as store:
        assert store.jobs.get(id).status.is_ended is False
        wait()
        try:
            return str(store.jobs.cancel(id).status)
        except IllegalTransitionError as error:
            return str(error.status)


def test_a_worker_and_a_user_on_two_nodes_agree_on_how_a_job_ended(nodes: list[str]) -> None:
    with FineTuningStore.from_url(nodes[0]) as store:
        for _ in range(ROUNDS):
            job = queued(store)
            for url in nodes[1:]:
                assert poll(partial(has_queued, url, 1), 30, is_async=False)

            (learned, first), (returned, second) = at_once((finish, (nodes[1], "worker")), (cancel, (nodes[2], job.id)))

            assert (first, second) == (None, None)
            assert poll(partial(has_ended, store, job.id), 30, is_async=False)
            ended = store.jobs.get(job.id)
            assert learned == returned == ended.status
            assert ended.status in (JobStatus.SUCCEEDED, JobStatus.CANCELLED)
            ends = [entry.transition for entry in store.transitions.list(job.id) if entry.to_status.is_ended]
            assert len(ends) == 1

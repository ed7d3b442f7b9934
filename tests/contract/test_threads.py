"""One store in several threads."""

from __future__ import annotations

import threading
from typing import Any

from fine_tuning_store import FineTuningStore, JobStatus, Timeouts, UnitOfWork
from tests.support.factories import stored


def test_another_thread_may_use_the_store_while_a_unit_is_open(store: FineTuningStore, database: Any) -> None:
    job = stored(store)
    read: list[JobStatus] = []

    with store.begin() as unit:
        unit.jobs.start(job.id)
        reader = threading.Thread(target=lambda: read.append(store.jobs.get(job.id).status))
        reader.start()
        reader.join()

    assert read == [JobStatus.VALIDATING_FILES]


def test_a_function_is_retried_when_its_transaction_loses_a_conflict(store: FineTuningStore, database: Any) -> None:
    """The error is a real one of the driver, from a deadlock or a lock. Nothing of an attempt that lost is kept."""
    first, second = stored(store), stored(store)
    runs: list[str] = []
    both_updated = threading.Barrier(2, timeout=20)

    def crosswise(name: str, one: str, other: str) -> None:
        def work(unit: UnitOfWork) -> None:
            runs.append(name)
            unit.jobs.update(one, trained_tokens=len(runs))
            if runs.count(name) == 1 and database.name != "sqlite":  # SQLite allows one writer at a time
                both_updated.wait()
            unit.jobs.update(other, metadata={"by": name})

        patient.run_in_transaction(work)

    threads = [threading.Thread(target=crosswise, args=arguments) for arguments in (("a", first.id, second.id), ("b", second.id, first.id))]
    with FineTuningStore.from_url(store.engine.url, timeouts=Timeouts(lock=20)) as patient:  # the machine may stall between the updates
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(runs) >= (2 if database.name == "sqlite" else 3)
    assert {job.metadata["by"] for job in store.jobs.iterate() if job.metadata} == {"a", "b"}

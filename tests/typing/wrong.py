"""User code that a type checker must reject: an unused `type: ignore` is an error itself. Checked, never executed."""

from sqlalchemy.ext.asyncio import AsyncEngine

from fine_tuning_store import AsyncFineTuningStore, FineTuningStore, UnitOfWork


async def work(unit: UnitOfWork) -> None:
    unit.jobs.get("ftjob-1")


async def async_(store: AsyncFineTuningStore, engine: AsyncEngine) -> None:
    await store.jobs.get(1)  # type: ignore[arg-type]
    await store.jobs.get()  # type: ignore[call-arg]
    await store.jobs.list(color="red")  # type: ignore[call-arg]
    await store.jobs.list(limit="many")  # type: ignore[arg-type]
    await store.jobs.iterate()  # type: ignore[misc]
    await store.run_in_transaction(work)  # type: ignore[arg-type]
    FineTuningStore(engine)  # type: ignore[arg-type]
    for job in store.jobs.iterate():  # type: ignore[attr-defined]
        assert job

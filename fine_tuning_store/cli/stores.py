"""The store of a command, on a sync or an async driver."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from fine_tuning_store.cli.database import engine_for_command, reach
from fine_tuning_store.cli.output import report_failures
from fine_tuning_store.sql.engine import for_constructor
from fine_tuning_store.store import FineTuningStore

T = TypeVar("T")


class OpenStore:
    """A store that a command has open. Only what runs in `call` uses the database: the command prints and waits outside of it."""

    def __init__(self, store: FineTuningStore, run: Callable[[Callable[[], object]], object], *, as_json: bool) -> None:
        self._store = store
        self._run = run
        self._as_json = as_json

    def call(self, work: Callable[[FineTuningStore], T]) -> T:
        """Return the result of a function of the store. If it fails, the command ends with a message, or JSON."""
        with report_failures(as_json=self._as_json):
            return self.attempt(work)

    def attempt(self, work: Callable[[FineTuningStore], T]) -> T:
        """Do the same, and raise what the function raises."""
        return self._run(lambda: work(self._store))  # type: ignore[return-value]


@contextmanager
def open_store(url: str, schema: str | None, host_version_table: str | None, *, as_json: bool, read_only: bool) -> Iterator[OpenStore]:
    """Open a store as a block, and end the command if its database cannot be reached.

    With an async driver its calls run in one event loop, which is only entered by them: Ctrl-C interrupts a command as with a sync driver.
    """
    with report_failures(as_json=as_json):
        engine = engine_for_command(url, read_only=read_only)
        store = FineTuningStore._on(for_constructor(engine, read_only=read_only), time.time, schema, host_version_table)
    with _runner(is_async=engine.dialect.is_async) as run:
        opened = OpenStore(store, run, as_json=as_json)
        try:
            opened.call(lambda _: reach(engine))
            yield opened
        finally:
            run(engine.dispose)


@contextmanager
def _runner(*, is_async: bool) -> Iterator[Callable[[Callable[[], object]], object]]:
    """Return a function that calls a function, in a greenlet of an event loop if the driver is async."""
    if not is_async:
        yield lambda function: function()
        return
    import asyncio

    from sqlalchemy.util import greenlet_spawn

    with asyncio.Runner() as runner:
        yield lambda function: runner.run(greenlet_spawn(function))

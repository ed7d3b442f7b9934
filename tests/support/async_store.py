"""A synchronous wrapper around the async store, so that the contract suite also runs against async drivers.

A test runs in a greenlet inside one task, and each call on the store is awaited there, as application code would await it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from inspect import isawaitable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import await_only, greenlet_spawn

from fine_tuning_store import AsyncFineTuningStore, AsyncUnitOfWork, FineTuningStore
from fine_tuning_store.aio.bridge import Bridge
from tests.support.databases import with_driver


class Awaited:
    """Wrap an object of the async API. Each call on it is awaited."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        return _plain(getattr(self.target, name))

    def run_in_transaction(self, function: Callable[[Any], Any]) -> Any:
        """Call `store.run_in_transaction` with a synchronous function."""

        async def call(unit: AsyncUnitOfWork) -> Any:
            return await greenlet_spawn(function, _plain(unit))

        return await_only(self.target.run_in_transaction(call))

    def __repr__(self) -> str:
        return repr(self.target)


class AwaitedStore(Awaited):
    """An async store with its own event loop, used like a sync store."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(AsyncFineTuningStore.from_url(url, **options))
        self.loop = asyncio.Runner(debug=False)

    @property
    def _transactions(self) -> Any:
        return self.target._sync._transactions

    def run_test(self, test: Callable[[], Any]) -> None:
        """Run a test function in one task."""
        self.loop.run(greenlet_spawn(test))

    def close_all(self) -> None:
        """Close the store and its event loop."""
        self.loop.run(self.target.close())
        self.loop.close()


def run_with_store(test: Callable[[Any], Any], url: str, driver: str | None, **options: Any) -> None:
    """Call a test function with a new store of a driver, None for the sync one of the URL, and close the store."""
    if driver is None:
        with FineTuningStore.from_url(url, **options) as store:
            test(store)
    else:
        awaited = AwaitedStore(with_driver(url, driver), **options)
        try:
            awaited.run_test(partial(test, awaited))
        finally:
            awaited.close_all()


def _plain(value: Any) -> Any:
    if isinstance(value, AsyncEngine):
        return value.sync_engine
    if isinstance(value, AsyncConnection):
        return value.sync_connection
    if isinstance(value, (Bridge, AsyncFineTuningStore, AsyncUnitOfWork)):
        return Awaited(value)
    return partial(_call, value) if callable(value) else value


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = function(*(arg.target if isinstance(arg, Awaited) else arg for arg in args), **kwargs)
    if isawaitable(result):
        result = await_only(result)
        return tuple(map(_plain, result)) if isinstance(result, tuple) else _plain(result)
    if hasattr(result, "__anext__"):
        return _iterated(result)
    if isinstance(result, AbstractAsyncContextManager) and not isinstance(result, AsyncFineTuningStore):
        return _block(result)
    return _plain(result)


def _iterated(rows: Any) -> Iterator[Any]:
    try:
        while True:
            yield await_only(anext(rows))
    except StopAsyncIteration:
        return


@contextmanager
def _block(block: AbstractAsyncContextManager[Any]) -> Iterator[Any]:
    unit = await_only(block.__aenter__())
    try:
        yield _plain(unit)
    except BaseException as error:
        if not await_only(block.__aexit__(type(error), error, error.__traceback__)):
            raise
    else:
        await_only(block.__aexit__(None, None, None))

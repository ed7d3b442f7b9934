"""An async store in the clothes of a sync one, so that the contract suite, written once, runs on it too.

A test on such a store runs as one task, inside a greenlet; each call on the store is awaited there, as a task of the host's would.
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

from fine_tuning_store import AsyncFineTuningStore, AsyncUnitOfWork
from fine_tuning_store.aio.bridge import Bridge


class Awaited:
    """Any object of the async face, each call on it awaited."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        return _plain(getattr(self.target, name))

    def run_in_transaction(self, function: Callable[[Any], Any]) -> Any:
        """`store.run_in_transaction` of a sync function."""

        async def call(unit: AsyncUnitOfWork) -> Any:
            return await greenlet_spawn(function, _plain(unit))

        return await_only(self.target.run_in_transaction(call))

    def __repr__(self) -> str:
        return repr(self.target)


class AwaitedStore(Awaited):
    """A store with an event loop of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(AsyncFineTuningStore.from_url(url, **options))
        self.loop = asyncio.Runner(debug=False)

    @property
    def _transactions(self) -> Any:
        return self.target._sync._transactions

    def run_test(self, test: Callable[[], Any]) -> None:
        """Run a test function as one task."""
        self.loop.run(greenlet_spawn(test))

    def close_all(self) -> None:
        """Close the store and its loop."""
        self.loop.run(self.target.close())
        self.loop.close()


def _plain(value: Any) -> Any:
    if isinstance(value, AsyncEngine):
        return value.sync_engine
    if isinstance(value, AsyncConnection):
        return value.sync_connection
    if isinstance(value, (Bridge, AsyncFineTuningStore, AsyncUnitOfWork)):
        return Awaited(value)
    return partial(_call, value) if callable(value) else value


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    answer = function(*args, **kwargs)
    if isawaitable(answer):
        return await_only(answer)
    if hasattr(answer, "__anext__"):
        return _iterated(answer)
    if isinstance(answer, AbstractAsyncContextManager) and not isinstance(answer, AsyncFineTuningStore):
        return _block(answer)
    return _plain(answer)


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

"""How a synchronous method is awaited: it runs in a greenlet of SQLAlchemy, which passes what the async driver awaits to the event loop.

So the behaviour is written once. No thread is involved. When a task is cancelled, CancelledError is raised where the method waits for its
database, and rolls back and returns the connection as any other exception does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from sqlalchemy.util import greenlet_spawn

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")


class Bridge(Generic[S]):
    """An object whose methods are those of a synchronous object, awaited."""

    _sync: S


def bridged(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[Bridge[S], P], Coroutine[Any, Any, T]]:
    """Return an async method with the same arguments and the same result."""

    @functools.wraps(method)
    async def call(self: Bridge[S], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await greenlet_spawn(functools.partial(method, self._sync, *args, **kwargs))

    return call

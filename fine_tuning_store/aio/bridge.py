"""How a sync method is awaited: it runs in a greenlet of SQLAlchemy's, which hands what the async driver awaits to the event loop.

So the behaviour is written once. Nothing runs in a thread, and a task that is cancelled has the exception raised where the sync
method waits for its database, which rolls back and gives the connection back as for any other exception.
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
    """The async face of an object whose methods are sync."""

    _sync: S


def bridged(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[Bridge[S], P], Coroutine[Any, Any, T]]:
    """The method, awaited, with the same arguments and answer."""

    @functools.wraps(method)
    async def call(self: Bridge[S], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await greenlet_spawn(functools.partial(method, self._sync, *args, **kwargs))

    return call

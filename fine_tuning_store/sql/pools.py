"""The pools of engines made from URLs, and the options of create_engine that the caller of from_url may give."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, PoolProxiedConnection, QueuePool

from fine_tuning_store.errors import EngineConfigurationError, InvalidValueError


class ForkedPool(QueuePool):
    """A pool that begins anew in a forked process: its connections are the parent's, and are neither used nor closed there."""

    __module__ = QueuePool.__module__  # after which SQLAlchemy names the logger, for which sqlalchemy.pool is configured

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._process = os.getpid()

    def connect(self) -> PoolProxiedConnection:
        """Return a connection that this process has opened."""
        if self._process != os.getpid():
            self._begin_anew()
        return super().connect()

    def dispose(self) -> None:
        """Close the connections that this process has opened."""
        if self._process != os.getpid():
            self._begin_anew()
        super().dispose()

    def _begin_anew(self) -> None:
        parents = vars(self).copy()  # kept: some drivers end the session of a connection that is collected
        vars(self).update({name: value for name, value in vars(self.recreate()).items() if name != "dispatch"}, _parents=parents)


class AsyncForkedPool(ForkedPool, AsyncAdaptedQueuePool):
    """The same for async drivers."""

    __module__ = QueuePool.__module__


class SQLitePool(ForkedPool):
    """A pool that refuses to connect in a forked process if it had connections before.

    While SQLite has a file of the parent open, it takes the parent's locks for its own. Connections of the child's own would then lose
    what they commit, once the parent closes the file.
    """

    __module__ = QueuePool.__module__

    def _begin_anew(self) -> None:
        if self.checkedin() + self.checkedout():
            raise EngineConfigurationError(
                "this process was forked while the store had the SQLite file open, which SQLite does not allow: close the store before the "
                "fork and open it after it, or start processes with the method 'spawn'"
            )
        super()._begin_anew()

    def dispose(self) -> None:
        """Close the connections, unless they are the parent's."""
        if self._process == os.getpid():
            super().dispose()

    def recreate(self) -> QueuePool:
        """Return a pool of the same kind, in a forked process with the same restriction."""
        if self._process != os.getpid() and self.checkedin() + self.checkedout():
            return self
        return super().recreate()


class AsyncSQLitePool(SQLitePool, AsyncAdaptedQueuePool):
    """The same for aiosqlite."""

    __module__ = QueuePool.__module__


def _at_least(least: int) -> tuple[Callable[[object], bool], str]:
    return lambda value: type(value) is int and value >= least, f"must be a whole number of at least {least}"


_FLAG: Final = (lambda value: isinstance(value, bool), "must be True or False")
_ECHO: Final = (lambda value: isinstance(value, bool) or value == "debug", "must be True, False or 'debug'")
_NAME: Final = (lambda value: isinstance(value, str), "must be a text")

#: What each option of create_engine may be.
_POSSIBLE: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "echo": _ECHO,
    "echo_pool": _ECHO,
    "logging_name": _NAME,
    "max_overflow": _at_least(-1),
    "pool_logging_name": _NAME,
    "pool_pre_ping": _FLAG,
    "pool_recycle": _at_least(-1),
    "pool_size": _at_least(1),
    "pool_use_lifo": _FLAG,
    "query_cache_size": _at_least(0),
}
_ADVICE: Final[Mapping[str, str]] = {
    "pool_timeout": "use timeouts=Timeouts(pool=...)",
    "connect_args": "use parameters of the URL, or an engine of your own",
}
_OF_QUEUES: Final = frozenset({"max_overflow", "pool_size", "pool_use_lifo"})


def checked_engine_options(given: object, own: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the options of create_engine that the caller of from_url has given.

    Args:
        given: The options, or None.
        own: The arguments that the store gives to create_engine for the URL.

    Raises:
        EngineConfigurationError: An option is not possible. The message lists those that are, and contains no value.
        InvalidValueError: A value is not possible.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"engine_options must be a mapping, as in {{'pool_size': 20}}, not {type(given).__name__}")
    fixed = own.keys() | (_OF_QUEUES if own.get("poolclass") is NullPool else ())
    for name, value in given.items():
        if name in _ADVICE:
            raise EngineConfigurationError(f"engine_options cannot have {name!r}: {_ADVICE[name]}")
        if name not in _POSSIBLE or name in fixed:
            possible = ", ".join(each for each in _POSSIBLE if each not in fixed)
            raise EngineConfigurationError(
                f"engine_options cannot have {name!r} for this URL: possible are {possible}; for others use an engine of your own"
            )
        is_possible, rule = _POSSIBLE[name]
        if not is_possible(value):
            raise InvalidValueError(f"engine_options.{name}", value, rule)
    return dict(given)

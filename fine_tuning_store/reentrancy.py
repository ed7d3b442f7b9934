"""What keeps a task or thread from waiting for a transaction of its own."""

from __future__ import annotations

from contextvars import ContextVar
from weakref import ref

from sqlalchemy import Engine

from fine_tuning_store.errors import UnitAlreadyOpenError
from fine_tuning_store.sql.dialects.sqlite_writers import has_writer, task_of

#: The guards of this task or thread, innermost last. They are weak references: an exception of a signal handler may keep `__exit__` from
#: being called.
_guards: ContextVar[tuple[ref[ReentrancyGuard], ...]] = ContextVar("fine_tuning_store_guards", default=())


class ReentrancyGuard:
    """A block in which a store has a transaction open in this task or thread.

    It refuses a second one of the same store, and of any store one that would wait for the first, or for a transaction of the host, as the
    only writer of a SQLite file. A task or thread that is started inside the block inherits its context, but may open a transaction of its
    own.
    """

    __slots__ = ("__weakref__", "is_open", "state", "task", "writes_to")

    def __init__(self, state: object, engine: Engine, writes_to: object = None) -> None:
        self.state = state
        self.task = task_of(engine.dialect)
        self.writes_to = writes_to  #: see `Database.sole_writer_of`; None if the transaction only reads, or others can write, too
        self.is_open = False

    def __enter__(self) -> None:
        outer = _open_guards()
        if any(guard.task == self.task and self._would_wait_for(guard) for guard in outer):
            raise UnitAlreadyOpenError
        if self.writes_to is not None and has_writer(self.task, self.writes_to):
            raise UnitAlreadyOpenError
        self.is_open = True
        _guards.set((*map(ref, outer), ref(self)))

    def _would_wait_for(self, outer: ReentrancyGuard) -> bool:
        return outer.state is self.state or (self.writes_to is not None and outer.writes_to == self.writes_to)

    def __exit__(self, *_: object) -> None:
        self.is_open = False
        _guards.set(tuple(map(ref, _open_guards())))


def _open_guards() -> list[ReentrancyGuard]:
    """Return the open guards: blocks may end out of order, and a task inherits those of the task that started it."""
    return [guard for reference in _guards.get() if (guard := reference()) is not None and guard.is_open]

"""What keeps a store from opening a transaction inside one of its own."""

from __future__ import annotations

from contextvars import ContextVar

from fine_tuning_store.errors import UnitAlreadyOpenError

#: The guards of this task or thread, innermost last.
_guards: ContextVar[tuple[ReentrancyGuard, ...]] = ContextVar("fine_tuning_store_guards", default=())


class ReentrancyGuard:
    """A block in which a store has a transaction open in this task or thread, and refuses a second one.

    On SQLite the second one would wait for the first for ever. A task or thread that is started inside the block inherits its context, but
    may open a transaction of its own.
    """

    __slots__ = ("is_open", "state", "task")

    def __init__(self, state: object, task: object) -> None:
        self.state = state
        self.task = task
        self.is_open = False

    def __enter__(self) -> None:
        outer = _guards.get()
        if outer:  # blocks may end out of order, and a task inherits those of the task that started it
            outer = tuple(guard for guard in outer if guard.is_open)
            if any(guard.state is self.state and guard.task == self.task for guard in outer):
                raise UnitAlreadyOpenError
        self.is_open = True
        _guards.set((*outer, self))

    def __exit__(self, *_: object) -> None:
        self.is_open = False
        remaining = _guards.get()
        _guards.set(() if len(remaining) == 1 else tuple(guard for guard in remaining if guard.is_open))

"""Which stores have a unit open in this task or thread, so that a call that would wait for itself is refused."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from fine_tuning_store.errors import UnitAlreadyOpenError

#: The own units that are open in this task or thread, innermost last.
_open: ContextVar[tuple[ReentrancyGuard, ...]] = ContextVar("fine_tuning_store_open_units", default=())


@dataclass(slots=True, eq=False)
class StoreState:
    """What scoped views of one store share; its identity is the store's."""

    ready: bool = False


class ReentrancyGuard:
    """A block in which a unit of the store is open in this task or thread; another one inside it is refused.

    A task or thread that is started inside the block inherits its context, but may open a unit of its own.
    """

    __slots__ = ("is_open", "state", "task")

    def __init__(self, state: StoreState, task: object) -> None:
        self.state = state
        self.task = task
        self.is_open = False

    def __enter__(self) -> None:
        outer = _open.get()
        if outer:  # blocks may end out of order, and a task inherits those of its maker
            outer = tuple(block for block in outer if block.is_open)
            if any(block.state is self.state and block.task == self.task for block in outer):
                raise UnitAlreadyOpenError
        self.is_open = True
        _open.set((*outer, self))

    def __exit__(self, *_: object) -> None:
        self.is_open = False
        left = _open.get()
        _open.set(() if len(left) == 1 else tuple(block for block in left if block.is_open))

"""The losses of a job by step, from its metrics events and its checkpoints, for pictures of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.store import FineTuningStore, UnitOfWork

#: Values by step, in the order of the steps.
Points = list[tuple[float, float]]

#: The metrics that are read: losses, or the rewards of a reinforcement job, which has no losses.
LOSSES: Final = ("train_loss", "valid_loss", "full_valid_loss")
REWARDS: Final = ("train_reward_mean", "valid_reward_mean", "full_valid_reward_mean")
#: The most pages of 1,000 events that are read, the newest ones, and the most checkpoints.
_EVENT_PAGES, _CHECKPOINTS = 20, 1000


def read_losses(store: FineTuningStore | UnitOfWork, id: str) -> dict[str, Points]:
    """Return the points of each loss of a job, or of each reward if it has no loss. Raises JobNotFoundError."""
    events: list[FineTuningJobEvent] = []
    after = None
    for _ in range(_EVENT_PAGES):
        page = store.events.list(id, after=after, limit=1000)
        events += page.data
        after = page.last_id
        if not page.has_more:
            break
    return losses_of(events[::-1], store.checkpoints.list(id, limit=_CHECKPOINTS).data[::-1])


def losses_of(events: Iterable[FineTuningJobEvent], checkpoints: Iterable[FineTuningJobCheckpoint]) -> dict[str, Points]:
    """Return the points of each metric that has any. A later event of the same step, as of a later attempt, goes first."""
    values: dict[str, dict[float, Any]] = {}
    metrics: list[tuple[Any, Mapping[str, Any]]] = [
        (event.data.get("step"), event.data) for event in events if isinstance(event.data, Mapping)
    ]
    metrics += [(checkpoint.step_number, checkpoint.metrics) for checkpoint in checkpoints]
    for step, members in metrics:
        for name in (*LOSSES, *REWARDS):
            value = members.get(name)
            if _is_number(step) and _is_number(value):
                values.setdefault(name, {})[step] = value
    names = LOSSES if any(name in values for name in LOSSES) else REWARDS
    return {name: sorted(values[name].items()) for name in names if name in values}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)

"""Ids that rise with time, and the clock that they share with `created_at`.

The part after the prefix is a UUIDv7 (RFC 9562) in lower-case hexadecimal digits: its width is fixed, so the order of bytes is the order
of creation. `uuid_utils` promises no order within one millisecond of a given time. There, and when the clock runs back, the next id is the
last one plus a random step (section 6.2 of the RFC, method 2). The step is random so that two forks of a process make different ids.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from uuid_utils import uuid7

JOB = "ftjob-"
EVENT = "ftevent-"
CHECKPOINT = "ftckpt_"
PERMISSION = "cp_"
TRANSITION = "fttransition-"


class Clock:
    """A source of the time in Unix seconds and of ids made from it. Safe to share between threads."""

    def __init__(self, time: Callable[[], float] = time.time) -> None:
        self._time = time
        self._lock = threading.Lock()
        self._last = 0

    def now(self) -> int:
        """Return the time in Unix seconds."""
        return int(self._time())

    def new_id(self, prefix: str) -> tuple[str, int]:
        """Return an id that is larger than all earlier ones of this clock, and the Unix second that it was made at."""
        seconds = self._time()
        number = uuid7(nanoseconds=int(seconds * 1_000_000_000)).int
        with self._lock:
            if number <= self._last:
                number = self._last + random.randint(1, 1 << 32)
            self._last = number
        return f"{prefix}{number:032x}", int(seconds)


#: Used by every store and repository without a clock of its own, so that ids rise within the process.
SYSTEM_CLOCK = Clock()

"""Ids that rise with time, and the clock that they share with `created_at`.

A tail is a UUIDv7 (RFC 9562) in lower-case hex: fixed width, so that bytewise order is order of creation. The library gives
no order inside one millisecond for a given time; there, and where the clock runs back, the tail is raised by a random step,
as section 6.2 of the RFC (method 2) has it. The step is random so that two forks of one process part ways.
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


class Clock:
    """Tells the time in Unix seconds and makes ids from the same reading. Safe to share between threads."""

    def __init__(self, time: Callable[[], float] = time.time) -> None:
        self._time = time
        self._lock = threading.Lock()
        self._last = 0

    def now(self) -> int:
        """The time in Unix seconds."""
        return int(self._time())

    def new_id(self, prefix: str) -> tuple[str, int]:
        """A new id, larger than any before it from this clock, and the Unix second of the reading it was made from."""
        seconds = self._time()
        tail = uuid7(nanoseconds=int(seconds * 1_000_000_000)).int
        with self._lock:
            if tail <= self._last:
                tail = self._last + random.randint(1, 1 << 32)
            self._last = tail
        return f"{prefix}{tail:032x}", int(seconds)


#: Shared by every store and repository that was given no clock of its own, so that ids rise within the process.
SYSTEM_CLOCK = Clock()

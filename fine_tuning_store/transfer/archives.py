"""Archives: the histories of jobs that are about to be deleted, appended to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.repositories.histories import JobHistoryRepository
from fine_tuning_store.store import FineTuningStore
from fine_tuning_store.transfer.exports import json_lines
from fine_tuning_store.transfer.targets import checked_target


@contextmanager
def appending_histories(store: FineTuningStore, path: str | os.PathLike[str]) -> Iterator[Callable[[Sequence[FineTuningJob]], None]]:
    """Open a file of JSON lines as a block, and yield a function that appends the histories of jobs, for `purge(before_delete=...)`.

    What it has appended is on the disk. After an interruption some jobs may be in the file twice; `import_jobs` stores them once.

    Args:
        store: The store of the jobs.
        path: The file. It is created if it does not exist.
    """
    repository = JobHistoryRepository(store._transactions)
    with checked_target(store, path).open("ab") as file:
        end_line(file)

        def append(jobs: Sequence[FineTuningJob]) -> None:
            stored = repository.stored([job.id for job in jobs])
            file.write(json_lines(stored.values()).encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())

        yield append


def end_line(file: IO[bytes]) -> None:
    """End a line that was cut off when a process was killed, so that the next one is not lost with it."""
    if file.tell():
        with Path(file.name).open("rb") as written:
            written.seek(-1, os.SEEK_END)
            if written.read() != b"\n":
                file.write(b"\n")

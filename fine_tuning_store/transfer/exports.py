"""Exports: the histories of jobs as JSON lines, or the jobs alone as CSV or Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, Literal, Unpack, get_args

from fine_tuning_store.domain.history import JobHistory
from fine_tuning_store.domain.validation import check_choice
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.repositories.base import with_keywords_of
from fine_tuning_store.repositories.histories import JobHistoryRepository
from fine_tuning_store.repositories.job_filters import JobFilters
from fine_tuning_store.sql.urls import shown
from fine_tuning_store.store import FineTuningStore
from fine_tuning_store.transfer.tables import csv_lines, open_parquet
from fine_tuning_store.transfer.targets import checked_target
from fine_tuning_store.wire.histories import history_to_wire

Format = Literal["jsonl", "csv", "parquet"]
_SUFFIXES: Final[Mapping[str, Format]] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


@with_keywords_of(JobFilters)
def export_jobs(
    store: FineTuningStore,
    path: str | os.PathLike[str],
    *,
    format: Format | None = None,
    progress: Callable[[int], object] | None = None,
    words: Iterable[str] | None = None,
    **filters: Unpack[JobFilters],
) -> int:
    """Write the jobs that match to a file, the oldest first, and return how many there are in it.

    A line of JSONL is the history of a job: `import_jobs` reads it back. CSV and Parquet have one row for each job, without its events,
    checkpoints, permissions and transitions. Leases are not exported.

    The file appears when it is complete. Until then there is PATH.part; the same call goes on with it after an interruption (Parquet begins
    anew). At most 100 jobs are in memory, with what belongs to them.

    Args:
        store: A store, also one of an organization or a read-only one.
        path: The file. It is replaced if it exists.
        format: `"jsonl"`, `"csv"` or `"parquet"` (of the extra `export`). By default the suffix of the file says it.
        progress: Called with the number of jobs that are written, again and again.
        words: What an interrupted export is recognised by instead of its filters, for those with times such as a week ago.
        **filters: The members of JobFilters. A job must match all of them.

    Raises:
        InvalidValueError: The format is unknown, a filter is wrong, the path is that of a device or of the database, or PATH.part is of an
            export with other filters or of another database, or of another process.
        MissingExtraError: The extra `export` is not installed.
    """
    chosen = _format_of(Path(path), format)
    target = checked_target(store, path)
    pages = JobHistoryRepository(store._transactions).pages
    if chosen == "parquet":
        return _export_parquet(pages(**filters), target, progress)
    part = _Part(
        target,
        {
            "format": chosen,
            "filters": _described(filters) if words is None else list(words),
            "organization": store.organization_id,
            "database": shown(store._transactions.engine.url),
        },
    )
    with part.appending() as append:
        if chosen == "csv" and part.size == 0:
            append(csv_lines(()), 0, None)
        for page in pages(after=part.after, **filters):
            text = csv_lines(history.job for history in page) if chosen == "csv" else json_lines(page)
            append(text, len(page), page[-1])
            if progress is not None:
                progress(part.jobs)
    return part.jobs


def _format_of(path: Path, format: object) -> Format:
    possible = get_args(Format)
    if format is not None:
        chosen: Format = check_choice("format", format, possible)
        return chosen
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InvalidValueError("path", str(path), f"must end with {', '.join(_SUFFIXES)}, or format must be one of {', '.join(possible)}")
    return found


def _described(filters: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else repr(value)
        for name, value in sorted(filters.items())
        if value is not None
    }


def json_lines(page: Iterable[JobHistory]) -> str:
    """Return the lines of some histories."""
    return "".join(json.dumps(history_to_wire(history), ensure_ascii=False, separators=(",", ":")) + "\n" for history in page)


def _export_parquet(pages: Iterator[tuple[JobHistory, ...]], target: Path, progress: Callable[[int], object] | None) -> int:
    part, jobs = target.with_name(f"{target.name}.part"), 0
    with open_parquet(part) as write:
        for page in pages:
            write([history.job for history in page])
            jobs += len(page)
            if progress is not None:
                progress(jobs)
    part.replace(target)
    return jobs


@dataclass
class _Part:
    """A file that is not complete, and beside it, in PATH.part.json, how far it is."""

    target: Path
    of: Mapping[str, Any]
    size: int = 0
    jobs: int = 0
    after: tuple[int, str] | None = None

    @property
    def path(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def state(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.json")

    @contextmanager
    def appending(self) -> Iterator[Callable[[str, int, JobHistory | None], None]]:
        """Open the file as a block, cut off what is incomplete, and yield a function that appends the text of some jobs.

        At the end of the block the file is complete and gets its name.
        """
        with self.path.open("ab") as file:
            self._lock(file)
            self._go_on()
            file.truncate(self.size)

            def append(text: str, jobs: int, last: JobHistory | None) -> None:
                written = text.encode("utf-8", errors="surrogatepass")
                file.write(written)
                file.flush()
                self.size += len(written)
                self.jobs += jobs
                if last is not None:
                    self.after = (last.job.created_at, last.job.id)
                self._save()

            yield append
            os.fsync(file.fileno())
            self.path.replace(self.target)
            self.state.unlink(missing_ok=True)

    def _lock(self, file: IO[bytes]) -> None:
        """Refuse the file if another process is writing it, where the system has such locks."""
        with suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InvalidValueError("path", str(self.target), "is being written by another export") from None
            if not self.path.exists() or os.fstat(file.fileno()).st_ino != self.path.stat().st_ino:  # it has become complete just now
                raise InvalidValueError("path", str(self.target), "has just been written by another export")

    def _go_on(self) -> None:
        """Take over what an interrupted export has left, if it can be used."""
        try:
            found = json.loads(self.state.read_text(encoding="utf-8"))
            of, size, jobs, after = found["of"], int(found["size"]), int(found["jobs"]), found["after"]
            key = None if after is None else (int(after[0]), str(after[1]))
        except (OSError, ValueError, TypeError, KeyError, IndexError):
            return
        if of != json.loads(json.dumps(self.of)):
            rule = f"is being exported with other filters, or from another database: delete {self.path} to begin anew"
            raise InvalidValueError("path", str(self.target), rule)
        if 0 <= size <= self.path.stat().st_size:
            self.size, self.jobs, self.after = size, jobs, key

    def _save(self) -> None:
        new = self.state.with_name(f"{self.state.name}.new")
        new.write_text(json.dumps({"of": self.of, "size": self.size, "jobs": self.jobs, "after": self.after}), encoding="utf-8")
        new.replace(self.state)

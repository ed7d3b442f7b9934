"""Imports: histories that `export_jobs` wrote, or jobs of the API, back into a store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, Self

from sqlalchemy.exc import IntegrityError

from fine_tuning_store.domain.history import JobHistory
from fine_tuning_store.errors import FineTuningStoreError, OutcomeUnknownError, ReadOnlyStoreError, SchemaVersionError, StoreBusyError
from fine_tuning_store.repositories.histories import JobHistoryRepository
from fine_tuning_store.store import FineTuningStore
from fine_tuning_store.transfer.targets import checked_target
from fine_tuning_store.wire.histories import history_from_wire

#: A transaction stores so many lines at most, or few more bytes than this. Smaller ones take much longer: each writes the pages of indexes.
BATCH_LINES, BATCH_BYTES = 1000, 8_000_000
#: Errors of the store rather than of a line.
_OF_THE_STORE: Final = (StoreBusyError, OutcomeUnknownError, ReadOnlyStoreError, SchemaVersionError)


@dataclass(slots=True)
class ImportReport:
    """What an import has done so far.

    Attributes:
        read: The lines.
        added: The jobs that are new.
        merged: The jobs that were stored already and were replaced, or got what was missing.
        unchanged: The jobs that were stored already as they are in the file.
        rejected: The lines that were refused. They are in the rejects file, each with its number and the reason.
    """

    read: int = 0
    added: int = 0
    merged: int = 0
    unchanged: int = 0
    rejected: int = 0


def import_jobs(
    store: FineTuningStore,
    path: str | os.PathLike[str],
    *,
    rejects: str | os.PathLike[str] | None = None,
    organization_id: str | None = None,
    progress: Callable[[ImportReport], object] | None = None,
) -> ImportReport:
    """Store the jobs of a file of JSON lines, and return what was done.

    A line is a history that `export_jobs` wrote, or a job of the API. Each is stored as a whole or not at all. A job that is stored already
    is replaced as `jobs.replace` does, and what else the line has is added, so an import can be repeated, also after an interruption. A
    line that cannot be stored is written to the rejects file, and the import goes on.

    Args:
        store: A store, also one of an organization.
        path: The file, in UTF-8.
        rejects: The rejects file, a JSON line for each; PATH.rejects.jsonl by default. It is made for the first one; that of an earlier
            import is removed.
        organization_id: The organization of all jobs. By default each line says it.
        progress: Called with the report so far, again and again.

    Raises:
        InvalidValueError: The rejects file is the file that is read, a device, or a file of the database.
        OSError: A file cannot be read or written.
        StoreBusyError, SQLAlchemyError, ...: The store failed. What was reported is stored; the same call goes on.
    """
    source = Path(path)
    report = ImportReport()
    wanted = source.with_name(f"{source.name}.rejects.jsonl") if rejects is None else rejects
    rejects_path = checked_target(store, wanted, "rejects", sources=[source])
    with source.open("rb") as lines, _Rejects(rejects_path) as file:
        importer = Importer(store, report, file.write)
        numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        while batch := _batch(numbered):
            file.lines = batch
            importer.store(_parsed(batch, organization_id, importer))
            report.read += len(batch)
            if progress is not None:
                progress(replace(report))
    return report


def _batch(numbered: Iterator[tuple[int, bytes]]) -> dict[int, bytes]:
    """Return the next lines, as many as one transaction stores."""
    batch: dict[int, bytes] = {}
    size = 0
    for number, line in numbered:
        batch[number] = line
        size += len(line)
        if len(batch) == BATCH_LINES or size > BATCH_BYTES:
            break
    return batch


def _parsed(batch: Mapping[int, bytes], organization_id: str | None, importer: Importer) -> Iterator[tuple[int, JobHistory]]:
    for number, line in batch.items():
        try:
            yield number, history_from_wire(json.loads(line), organization_id)
        except FineTuningStoreError as error:
            importer.reject(number, str(error))
        except (ValueError, RecursionError) as error:
            importer.reject(number, f"this is no JSON: {error}")


class _Rejects:
    """The file of the lines that were refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self.lines: Mapping[int, bytes] = {}

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)  # of an earlier import
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, number: int, reason: str) -> None:
        """Write the number of a line, the reason and the line."""
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8")
        line = self.lines[number].decode("utf-8", errors="backslashreplace").rstrip("\r\n")
        self._file.write(json.dumps({"line": number, "reason": reason, "text": line}) + "\n")
        self._file.flush()


class Importer:
    """Stores histories, many at once where they are new, one by one where they are not."""

    def __init__(self, store: FineTuningStore, report: ImportReport, write_reject: Callable[[int, str], None]) -> None:
        self._histories = JobHistoryRepository(store._transactions)
        self._report = report
        self._write_reject = write_reject
        #: True after a batch of which no job was stored: the next one is added without a look, which PostgreSQL plans badly for tables that
        #: were empty a moment ago.
        self._expects_new = False

    def reject(self, number: int, reason: str) -> None:
        """Count and write down what cannot be stored."""
        self._report.rejected += 1
        self._write_reject(number, reason)

    def store(self, numbered: Iterable[tuple[int, JobHistory]]) -> None:
        """Store a batch of histories, each with its number for rejects."""
        given = list(numbered)
        if self._expects_new and self._added([history for _, history in given]):
            return
        stored = self._histories.stored([history.job.id for _, history in given])
        self._expects_new = not stored
        new: dict[str, tuple[int, JobHistory]] = {}
        others: list[tuple[int, JobHistory]] = []
        for number, history in given:
            if history.job.id not in stored and history.job.id not in new:
                new[history.job.id] = (number, history)
            elif _is_same(history, stored.get(history.job.id)):
                self._report.unchanged += 1
            else:
                others.append((number, history))
        if new and not self._added([history for _, history in new.values()]):
            others = [*new.values(), *others]
        for number, history in others:
            self._store_one(number, history, is_new=number == new.get(history.job.id, (None, None))[0])

    def _added(self, histories: list[JobHistory]) -> bool:
        """Add histories all at once. Returns False if one of them is refused, as if its job is stored already."""
        if not all(map(_is_plain, histories)):
            return False
        try:
            self._histories.add_many(histories)
        except _OF_THE_STORE:
            raise
        except (FineTuningStoreError, IntegrityError):  # found out which one, one by one
            return False
        self._report.added += len(histories)
        return True

    def _store_one(self, number: int, history: JobHistory, *, is_new: bool) -> None:
        if is_new and self._added([history]):  # as it is: to replace it would change `updated_at`
            return
        try:
            self._histories.merge(history)
        except _OF_THE_STORE:
            raise
        except (FineTuningStoreError, IntegrityError) as error:
            self.reject(number, str(error) if isinstance(error, FineTuningStoreError) else "a row with the same key is stored already")
        else:
            self._report.merged += 1


def _is_plain(history: JobHistory) -> bool:
    """Return whether the log of a job begins with its first transition, without gaps and equal ids, so that it can be stored as it is."""
    log = history.transitions
    return [each.position for each in log] == list(range(1, len(log) + 1)) and len({each.id for each in log}) == len(log)


def _is_same(history: JobHistory, stored: JobHistory | None) -> bool:
    """Return whether a history is stored already. Its events have no positions yet, and a replaced job was updated here."""
    if stored is None:
        return False
    job = replace(history.job, organization_id=history.job.organization_id or stored.job.organization_id, updated_at=stored.job.updated_at)
    events = tuple(replace(event, job_id=None, position=None) for event in stored.events)
    return replace(stored, events=events) == replace(history, job=job)

"""Jobs as rows of a table, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fine_tuning_store.domain.job import HYPERPARAMETERS, FineTuningJob
from fine_tuning_store.errors import MissingExtraError

_TIMES: Final = ("created_at", "finished_at", "queued_at", "started_at", "updated_at")
_INTEGERS: Final = ("queued_seconds", "running_seconds", "attempt", "trained_tokens", "seed")
_TEXTS: Final = ("id", "status", "organization_id", "model", "fine_tuned_model")
_MORE_TEXTS: Final = ("training_file", "validation_file", "suffix", "method", "error_code", "error_message", "result_files", "metadata")
#: The names of the columns.
COLUMNS: Final = (*_TEXTS, *_TIMES, *_INTEGERS, *_MORE_TEXTS, *HYPERPARAMETERS)


def row_of(job: FineTuningJob) -> list[Any]:
    """Return the values of COLUMNS. Times are in Unix seconds, result files are separated by blanks, metadata is a JSON object.

    A hyperparameter that is `"auto"` is a text.
    """
    error = job.error
    computed = {
        "status": str(job.status),
        "method": None if job.method is None else job.method.type,
        "error_code": None if error is None else error.code,
        "error_message": None if error is None else error.message,
        "result_files": " ".join(job.result_files) or None,
        "metadata": None if job.metadata is None else json.dumps(dict(sorted(job.metadata.items())), ensure_ascii=False),
    }
    computed |= {name: getattr(job.hyperparameters, name) for name in HYPERPARAMETERS}
    return [computed[name] if name in computed else getattr(job, name) for name in COLUMNS]


def csv_lines(jobs: Iterable[FineTuningJob]) -> str:
    """Return the lines of jobs, with times in ISO 8601; of no jobs at all the header."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    rows = [[_cell(name, value) for name, value in zip(COLUMNS, row_of(job), strict=True)] for job in jobs]
    writer.writerows(rows or [list(COLUMNS)])
    return target.getvalue()


def _cell(name: str, value: Any) -> Any:
    if name in _TIMES and value is not None:
        return iso_time(value)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"  # a spreadsheet would run it as a formula
    return value


def iso_time(seconds: int) -> str:
    """Return Unix seconds in ISO 8601, or as they are if Python has no such time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


@contextmanager
def open_parquet(path: Path) -> Iterator[Callable[[Sequence[FineTuningJob]], None]]:
    """Open a Parquet file as a block, and yield a function that adds jobs to it. Raises MissingExtraError."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("export", "Parquet needs pyarrow") from error

    kinds = {**dict.fromkeys(_TIMES, pa.timestamp("s", tz="UTC")), **dict.fromkeys(_INTEGERS, pa.int64())}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])

    def column(name: str, values: tuple[Any, ...]) -> Any:
        return pa.array(values if name in kinds else [None if value is None else str(value) for value in values], schema.field(name).type)

    with parquet.ParquetWriter(path, schema) as writer:

        def write(jobs: Sequence[FineTuningJob]) -> None:
            columns = zip(COLUMNS, zip(*map(row_of, jobs), strict=True), strict=True)
            writer.write_table(pa.table([column(name, values) for name, values in columns], schema=schema))

        yield write

"""Files of tables: CSV and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.errors import MissingExtraError
from fine_tuning_store.job_table import COLUMNS, INTEGERS, TIMES, cells_of, row_of, without_formula


def csv_lines(jobs: Iterable[FineTuningJob]) -> str:
    """Return the lines of jobs; of no jobs at all the header."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    rows = [[without_formula(value) if isinstance(value, str) else value for value in cells_of(job)] for job in jobs]
    writer.writerows(rows or [list(COLUMNS)])
    return target.getvalue()


@contextmanager
def open_parquet(path: Path) -> Iterator[Callable[[Sequence[FineTuningJob]], None]]:
    """Open a Parquet file as a block, and yield a function that adds jobs to it. Raises MissingExtraError."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("export", "Parquet needs pyarrow") from error

    kinds = {**dict.fromkeys(TIMES, pa.timestamp("s", tz="UTC")), **dict.fromkeys(INTEGERS, pa.int64())}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])

    def column(name: str, values: tuple[Any, ...]) -> Any:
        return pa.array(values if name in kinds else [None if value is None else str(value) for value in values], schema.field(name).type)

    with parquet.ParquetWriter(path, schema) as writer:

        def write(jobs: Sequence[FineTuningJob]) -> None:
            columns = zip(COLUMNS, zip(*map(row_of, jobs), strict=True), strict=True)
            writer.write_table(pa.table([column(name, values) for name, values in columns], schema=schema))

        yield write

"""Jobs as rows of a table, for spreadsheets and data frames."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from fine_tuning_store.domain.job import HYPERPARAMETERS, FineTuningJob

#: The columns with times, and those with integers.
TIMES: Final = ("created_at", "finished_at", "queued_at", "started_at", "updated_at")
INTEGERS: Final = ("queued_seconds", "running_seconds", "attempt", "trained_tokens", "seed")
_TEXTS: Final = ("id", "status", "organization_id", "model", "fine_tuned_model")
_MORE_TEXTS: Final = ("training_file", "validation_file", "suffix", "method", "error_code", "error_message", "result_files", "metadata")
#: The names of the columns.
COLUMNS: Final = (*_TEXTS, *TIMES, *INTEGERS, *_MORE_TEXTS, *HYPERPARAMETERS)


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


def cells_of(job: FineTuningJob) -> list[Any]:
    """Return the values of COLUMNS for CSV, with times in ISO 8601."""
    return [iso_time(value) if name in TIMES and value is not None else value for name, value in zip(COLUMNS, row_of(job), strict=True)]


def iso_time(seconds: float) -> str:
    """Return Unix seconds in ISO 8601."""
    return shown_time(seconds, "%Y-%m-%dT%H:%M:%SZ")


def shown_time(seconds: float, form: str) -> str:
    """Return Unix seconds as a time in UTC, or as they are if Python has no such time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def without_formula(text: str) -> str:
    """Return a text for CSV. One that a spreadsheet would run as a formula gets an apostrophe, which makes it a text."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text

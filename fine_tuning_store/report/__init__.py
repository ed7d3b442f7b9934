"""Reports: one HTML page about many jobs, for people who would rather look than read. Its packages are an extra."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from fine_tuning_store.domain.statistics import Bucket
from fine_tuning_store.errors import MissingExtraError
from fine_tuning_store.repositories.base import with_keywords_of
from fine_tuning_store.repositories.job_filters import JobFilters
from fine_tuning_store.store import FineTuningStore


@with_keywords_of(JobFilters)
def html_report(store: FineTuningStore, *, jobs: Iterable[str] = (), bucket: Bucket | None = None, **filters: Unpack[JobFilters]) -> str:
    """Return a self-contained HTML page: charts of the jobs that match, each beside a table of its data.

    It shows the jobs by time and outcome, the success rate of the models, the tokens of the organizations, how long jobs wait and run, the
    error codes, and the losses of chosen jobs. It loads nothing from elsewhere.

    Args:
        store: A store, also one of an organization or a read-only one.
        jobs: The ids of the jobs whose losses are drawn, at most 12.
        bucket: The length of the intervals in UTC. None chooses one by the time between the first and the last job.
        **filters: The members of JobFilters. A job must match all of them.

    Raises:
        MissingExtraError: The extra `report` is not installed.
        InvalidValueError: A filter is wrong, or `bucket` is too short for the time: at most 200 intervals are drawn.
        JobNotFoundError: There is no such job.
    """
    try:
        from fine_tuning_store.report.page import render
    except ModuleNotFoundError as error:
        if error.name not in ("vl_convert", "jinja2", "markupsafe"):
            raise
        raise MissingExtraError("report", f"reports need {error.name}") from error
    from fine_tuning_store.report.sections import sections

    return render(sections(store, tuple(jobs), bucket, filters), store.statistics.queue(**filters), filters)

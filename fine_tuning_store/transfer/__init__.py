"""Copies of the job history: into files and out of them, and from a server of the API into a store."""

from fine_tuning_store.transfer.archives import appending_histories
from fine_tuning_store.transfer.exports import export_jobs
from fine_tuning_store.transfer.imports import ImportReport, import_jobs

__all__ = ["ImportReport", "appending_histories", "export_jobs", "import_jobs"]

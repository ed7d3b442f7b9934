"""The history that a provider of the API has, copied into a store by the official client."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import openai

from fine_tuning_store.domain.history import JobHistory
from fine_tuning_store.domain.job import FineTuningJob
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.errors import FineTuningStoreError, InvalidValueError
from fine_tuning_store.repositories.histories import JobHistoryRepository
from fine_tuning_store.store import FineTuningStore
from fine_tuning_store.transfer.imports import Importer, ImportReport
from fine_tuning_store.transfer.provider_files import FileCopies
from fine_tuning_store.wire.jobs import job_from_wire, job_to_wire
from fine_tuning_store.wire.records import checkpoint_from_wire, event_from_wire, permission_from_wire

#: What is raised for parts of a job that are not what the API sends. A provider that failed is another matter.
_UNREADABLE: Final = (InvalidValueError, TypeError, ValueError, KeyError, AttributeError, RecursionError)
#: The rows of a page that are asked for. A server may return fewer.
PAGE_SIZE: Final = 100


@dataclass(slots=True)
class ProviderReport(ImportReport):
    """What a copy has done so far, besides what ImportReport says of its jobs.

    Attributes:
        events: The events that were read.
        checkpoints: The checkpoints that were read.
        permissions: The permissions that were read.
        files: The files that are in the folder.
        gone: How many of each the provider did not give, such as `{"files": 3}`. `permissions` are those of models whose permissions the
            key may not read.
        reasons: Why jobs were refused, by their ids.
    """

    events: int = 0
    checkpoints: int = 0
    permissions: int = 0
    files: int = 0
    gone: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)


def import_from_provider(
    store: FineTuningStore,
    client: openai.OpenAI,
    *,
    organization_id: str | None = None,
    statuses: Mapping[str, JobStatus | str] | None = None,
    files: str | os.PathLike[str] | None = None,
    again: bool = False,
    progress: Callable[[ProviderReport], object] | None = None,
) -> ProviderReport:
    """Copy the jobs of a provider, with their events, checkpoints and permissions, and return what was done.

    Ids, times and statuses are those of the provider. Each job is stored as a whole or not at all, so the same call goes on after an
    interruption. Later it brings the copy up to date: jobs that have changed are replaced, and what is new is added. A job that had ended
    and has not changed is not read again. Jobs that were created or started in this store are never touched.

    Args:
        store: A store, also one of an organization.
        client: The official client, with the key of the provider; also AzureOpenAI.
        organization_id: The organization of all jobs. By default each job says it, which those of Azure do not.
        statuses: Words of the provider for the status, as in `job_from_wire`.
        files: A folder for the training, validation and result files. Its `manifest.jsonl` has the sizes and the SHA-256 of all files.
        again: True to read unchanged jobs again, for example for events that were added after their end.
        progress: Called with the report so far, after each job.

    Raises:
        openai.OpenAIError: The provider failed, after the retries of the client. What was reported is stored.
        StoreBusyError, SQLAlchemyError, ...: The store failed.
    """
    report = ProviderReport()
    copies = None if files is None else FileCopies(client, Path(files))
    provider = _Provider(client, report)
    repository = JobHistoryRepository(store._transactions)
    for page in provider.jobs():
        jobs = list(_read(page, organization_id, statuses or {}, report))
        stored = repository.stored([job.id for job in jobs])
        for job in jobs:
            known = stored.get(job.id)
            if known is not None and not again and _is_same(job, known.job) and job.status.is_ended:
                report.unchanged += 1
            else:
                importer = Importer(store, report, partial(_note, report.reasons, job.id))
                try:
                    history = provider.history(job, known)
                except _UNREADABLE as error:
                    importer.reject(report.read, f"what the provider sent of it cannot be stored: {error}")
                else:
                    importer.store([(report.read, history)])
            if copies is not None:
                copies.copy(file for file in (job.training_file, job.validation_file, *job.result_files) if file is not None)
                report.files, report.gone["files"] = len(copies.copied), len(copies.gone)
            if progress is not None:
                progress(replace(report))
    return report


def _note(reasons: dict[str, str], id: str, _: int, reason: str) -> None:
    reasons[id] = reason


def _read(
    page: list[Any], organization_id: str | None, statuses: Mapping[str, JobStatus | str], report: ProviderReport
) -> Iterator[FineTuningJob]:
    for payload in page:
        report.read += 1
        try:
            job = job_from_wire(payload, organization_id, statuses=statuses)
            if job.organization_id is None:
                raise InvalidValueError("organization_id", None, "is not in the jobs of this provider: say which organization they are for")
        except FineTuningStoreError as error:
            report.rejected += 1
            report.reasons[str(payload.get("id")) if isinstance(payload, Mapping) else f"job {report.read}"] = str(error)
        else:
            yield job


def _is_same(job: FineTuningJob, stored: FineTuningJob) -> bool:
    return job_to_wire(job) == job_to_wire(stored)


class _Provider:
    """What a provider has, as its JSON: the types of the client would change what they do not know."""

    def __init__(self, client: openai.OpenAI, report: ProviderReport) -> None:
        self._client = client
        self._report = report
        self._may_read_permissions = True

    def jobs(self) -> Iterator[list[Any]]:
        """Iterate over the jobs in pages, newest first."""
        return self._pages(self._client.fine_tuning.jobs.with_raw_response.list)

    def history(self, job: FineTuningJob, known: JobHistory | None) -> JobHistory:
        """Read what belongs to a job. What the provider does not give any more stays as it is known."""
        jobs = self._client.fine_tuning.jobs
        events = self._all("events", jobs.with_raw_response.list_events, job.id)
        checkpoints = self._all("checkpoints", jobs.checkpoints.with_raw_response.list, job.id)
        read_checkpoints = [checkpoint_from_wire({**each, "fine_tuning_job_id": job.id}) for each in checkpoints]
        models = dict.fromkeys(each.fine_tuned_model_checkpoint for each in read_checkpoints)
        models |= {} if job.fine_tuned_model is None else {job.fine_tuned_model: None}
        permissions = [
            replace(permission_from_wire(each), fine_tuned_model_checkpoint=model, job_id=job.id, organization_id=job.organization_id)
            for model in models
            for each in self._permissions(model)
        ]
        self._report.events += len(events)
        self._report.checkpoints += len(checkpoints)
        self._report.permissions += len(permissions)
        return JobHistory(
            job=job,
            events=tuple(event_from_wire(each) for each in reversed(events)),
            checkpoints=tuple(sorted(read_checkpoints, key=lambda each: (each.step_number, each.id))),
            permissions=tuple(sorted(permissions, key=lambda each: (each.created_at, each.id))),
            transitions=() if known is None else known.transitions,
        )

    def _permissions(self, model: str) -> list[Any]:
        if not self._may_read_permissions:
            self._report.gone["permissions"] += 1
            return []
        read = self._client.fine_tuning.checkpoints.permissions.with_raw_response.list
        try:
            return [each for page in self._pages(read, model) for each in page]
        except (openai.AuthenticationError, openai.PermissionDeniedError):  # only the key of an administrator may
            self._may_read_permissions = False
        except openai.NotFoundError:
            pass
        self._report.gone["permissions"] += 1
        return []

    def _all(self, kind: str, read: Callable[..., Any], id: str) -> list[Any]:
        try:
            return [each for page in self._pages(read, id) for each in page]
        except (openai.NotFoundError, openai.BadRequestError):
            self._report.gone[kind] += 1
            return []

    def _pages(self, read: Callable[..., Any], *path: str) -> Iterator[list[Any]]:
        after: Any = openai.omit
        seen: set[str] = set()
        while True:
            page = _list_of(read(*path, limit=PAGE_SIZE, after=after).text)
            rows = page["data"] or []
            yield rows
            after = rows[-1].get("id") if rows and isinstance(rows[-1], Mapping) else None
            if not page.get("has_more") or not isinstance(after, str) or after in seen:
                return
            seen.add(after)


def _list_of(text: str) -> dict[str, Any]:
    try:
        page = json.loads(text)
    except (ValueError, RecursionError):
        page = None
    if not isinstance(page, dict) or not isinstance(page.get("data", ...), (list, type(None))):
        raise openai.OpenAIError("the server sent no list of the API: is its address right? It usually ends with /v1")
    return page

"""Factories for jobs. A test passes only the members that matter to it."""

from __future__ import annotations

import itertools
from typing import Any

from fine_tuning_store import FineTuningJob, FineTuningStore, JobError, JobStatus, JobTransition

ORGANIZATION = "org-1"
_numbers = itertools.count(1)


def a_job(**members: Any) -> FineTuningJob:
    """Return a job with a unique id and the given members. It is not stored."""
    number = next(_numbers)
    return FineTuningJob(
        **{
            "id": f"ftjob-{number:024d}",
            "created_at": 1_700_000_000 + number,
            "organization_id": ORGANIZATION,
            "model": "gpt-4o-mini",
            "training_file": "file-abc",
            **members,
        }
    )


def stored(store: FineTuningStore, **members: Any) -> FineTuningJob:
    """Return a job of `a_job` after adding it to the store."""
    return store.jobs.add(a_job(**members))


def created(store: FineTuningStore, **members: Any) -> FineTuningJob:
    """Create a job with `jobs.create`."""
    return store.jobs.create(**{"organization_id": ORGANIZATION, "model": "gpt-4o-mini", "training_file": "file-abc", **members})


def a_transition(job_id: str, position: int = 1, **members: Any) -> JobTransition:
    """Return a transition of a job with an id of its position. It is not stored."""
    return JobTransition(
        **{
            "id": f"fttransition-{position:024d}",
            "job_id": job_id,
            "position": position,
            "transition": "requeue",
            "from_status": JobStatus.RUNNING,
            "to_status": JobStatus.QUEUED,
            "at": 1_700_000_000 + position,
            "attempt": 1,
            **members,
        }
    )


def transition(jobs: Any, verb: str, id: str, name: str = "m", **options: Any) -> FineTuningJob:
    """Apply a transition by its verb. `succeed` and `fail` get a result or an error named `name`."""
    if verb == "succeed":
        options = {"fine_tuned_model": f"ft:{name}", "trained_tokens": 3, "result_files": [f"file-{name}"], **options}
    needed = (JobError(code=name, message="It broke."),) if verb == "fail" else ()
    job: FineTuningJob = getattr(jobs, verb)(id, *needed, **options)
    return job


def in_status(store: FineTuningStore, status: JobStatus) -> FineTuningJob:
    """Return a stored job in the given status."""
    return stored(store, status=status)

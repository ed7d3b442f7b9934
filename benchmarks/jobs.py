"""The jobs that the database is filled with. Each has hyperparameters, two result files and two metadata pairs."""

from __future__ import annotations

from fine_tuning_store import FineTuningJob, FineTuningStore, Hyperparameters, JobStatus, Method

ORGANIZATIONS = tuple(f"org-{number}" for number in range(10))
METADATA = {"team": "nlp", "purpose": "benchmark"}
FIRST_SECOND = 4_000_000_000  #: in the future, so that jobs added by `create` never appear on a first page
STATUSES = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.RUNNING, JobStatus.QUEUED)


def job_id(number: int) -> str:
    """Return the id of a job by its number. Ids increase with time, as the library's own do."""
    return f"ftjob-{number:032x}"


def job(number: int, status: JobStatus) -> FineTuningJob:
    """Return a job by its number: one per second, in alternating organizations."""
    ended = status in (JobStatus.SUCCEEDED, JobStatus.FAILED)
    return FineTuningJob(
        id=job_id(number),
        created_at=FIRST_SECOND + number,
        finished_at=FIRST_SECOND + number + 3600 if ended else None,
        fine_tuned_model=f"ft:gpt-4o-mini:{number}" if status is JobStatus.SUCCEEDED else None,
        hyperparameters=Hyperparameters(n_epochs=3, batch_size="auto", learning_rate_multiplier=1.8),
        model="gpt-4o-mini",
        organization_id=ORGANIZATIONS[number % len(ORGANIZATIONS)],
        result_files=(f"file-{number}-metrics", f"file-{number}-samples"),
        status=status,
        trained_tokens=5768,
        training_file=f"file-{number}",
        validation_file=f"file-{number}-validation",
        seed=number,
        metadata={**METADATA, "purpose": f"benchmark {number % 100}"},
        method=Method(),
        suffix="benchmark",
        shared_with_openai=False,
    )


def fill(store: FineTuningStore, jobs: int, transitions: int) -> list[str]:
    """Store `jobs` jobs and one more for each transition to be measured. Returns the ids of the latter."""
    for start in range(0, jobs, 1000):
        store.jobs.add_many(job(number, STATUSES[number % len(STATUSES)]) for number in range(start, min(start + 1000, jobs)))
    numbers = range(jobs, jobs + transitions)
    store.jobs.add_many(job(number, JobStatus.VALIDATING_FILES) for number in numbers)
    return [job_id(number) for number in numbers]

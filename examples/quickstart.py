"""Store fine-tuning jobs: import jobs that an API returned, create and end new ones, and print them all.

python quickstart.py                              stores them in fine_tuning.db, a SQLite file in the current folder
python quickstart.py postgresql://user@host/name  stores them in another database
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from fine_tuning_store import (
    FineTuningJob,
    FineTuningStore,
    FineTuningStoreError,
    Hyperparameters,
    JobAlreadyExistsError,
    JobError,
    job_from_wire,
)

LINE = "{:16}  {:38}  {:15}  {:23}  {:13}  {:16}  {}"


def import_jobs(store: FineTuningStore, path: Path) -> None:
    """Store the jobs of a file with one JSON object of the API per line. They keep their ids, so a second import skips them."""
    imported = skipped = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        payload = json.loads(line)
        organization_id = payload.get("organization_id") or "azure"  # Azure's payloads have none, and every stored job needs one
        try:
            store.jobs.add(job_from_wire(payload, organization_id))
            imported += 1
        except JobAlreadyExistsError:
            skipped += 1
    print(f"Imported {imported} jobs; {skipped} were there already.")


def train_a_model(store: FineTuningStore) -> FineTuningJob:
    """Create a job and take it to its end. Each call is a transaction of its own and returns the updated job."""
    job = store.jobs.create(
        organization_id="org-quickstart",
        model="gpt-4.1-mini-2025-04-14",
        training_file="file-conversations",
        hyperparameters=Hyperparameters(n_epochs=3),  # the rest is "auto" until the job starts
        metadata={"team": "docs"},
    )
    store.jobs.enqueue(job.id)  # its files are valid
    store.jobs.start(job.id, hyperparameters=Hyperparameters(batch_size=4, learning_rate_multiplier=1.8))
    model = "ft:gpt-4.1-mini-2025-04-14:quickstart::A1b2C3d4"
    return store.jobs.succeed(job.id, fine_tuned_model=model, trained_tokens=48_300, result_files=["file-metrics"])


def reject_a_file(store: FineTuningStore) -> FineTuningJob:
    """Create a job and fail it, because its training file is invalid."""
    job = store.jobs.create(organization_id="org-quickstart", model="gpt-4.1-nano-2025-04-14", training_file="file-empty")
    reason = JobError(code="invalid_training_file", message="The training file has no examples.", param="training_file")
    return store.jobs.fail(job.id, reason)


def print_history(store: FineTuningStore) -> None:
    """Print every job, newest first. `iterate` reads page by page and takes filters: status="failed", created_since=..."""
    print(LINE.format("created (UTC)", "id", "organization", "model", "method", "status", "tokens or error"))
    statuses: Counter[str] = Counter()
    for job in store.jobs.iterate():
        created = datetime.fromtimestamp(job.created_at, UTC).strftime("%Y-%m-%d %H:%M")
        method = "-" if job.method is None else job.method.type
        outcome = job.trained_tokens if job.error is None else job.error.code
        print(LINE.format(created, job.id, str(job.organization_id), job.model, method, job.status, "-" if outcome is None else outcome))
        statuses[job.status] += 1
    print(f"{statuses.total()} jobs: {', '.join(f'{count} {status}' for status, count in statuses.most_common())}")


def main(url: str = "sqlite:///fine_tuning.db") -> None:
    with FineTuningStore.from_url(url) as store:
        store.schema.upgrade()  # creates the tables or migrates them; no other call does
        import_jobs(store, Path(__file__).with_name("jobs.jsonl"))
        trained, rejected = train_a_model(store), reject_a_file(store)
        print(f"Trained {trained.fine_tuned_model}; {rejected.id} is {rejected.status}.\n")
        print_history(store)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2])
    except FineTuningStoreError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)

"""A worker that pretends to train the jobs that this service has created. A worker of yours would train instead: see worker.py."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fine_tuning_store import FineTuningJob, FineTuningStore, Hyperparameters, IllegalTransitionError, JobNotFoundError, JobStatus
from openai_service.files import folder_of, new_file

logger = logging.getLogger("uvicorn.error")

RESOLVED_HYPERPARAMETERS: dict[str, Any] = {
    "n_epochs": 3,
    "batch_size": 1,
    "learning_rate_multiplier": 2.0,
    "beta": 0.1,
    "compute_multiplier": 1.0,
    "eval_interval": 1,
    "eval_samples": 1,
}


class DemoWorker:
    """Moves each job that was added to it from status to status, twice a second, and no other job of the database."""

    def __init__(self, store: FineTuningStore, files: Path) -> None:
        self.store = store
        self.files = files
        self.ids: dict[str, None] = {}  # in the order in which they were added

    def add(self, id: str) -> None:
        """Let the worker train a job."""
        self.ids[id] = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Work in a thread while the block runs."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(0.5):
            for id in list(self.ids):
                try:
                    job = self.store.jobs.get(id)
                    if job.status.is_ended:
                        del self.ids[id]
                    else:
                        with suppress(IllegalTransitionError):  # its user or another worker changed it first
                            self.step(job)
                except JobNotFoundError:
                    del self.ids[id]
                except Exception:
                    logger.exception("the demo worker failed and retries")

    def step(self, job: FineTuningJob) -> None:
        """Apply the next transition to a job. A paused one waits for its user."""
        if job.status is JobStatus.VALIDATING_FILES:
            self.store.jobs.enqueue(job.id, message="Files validated, moving job to queued state")
        elif job.status is JobStatus.QUEUED:
            numbers = {name: number for name, number in RESOLVED_HYPERPARAMETERS.items() if getattr(job.hyperparameters, name) == "auto"}
            self.store.jobs.start(job.id, hyperparameters=Hyperparameters(**numbers), message="Fine-tuning job started")
        elif job.status is JobStatus.RUNNING:
            self.finish(job)

    def finish(self, job: FineTuningJob) -> None:
        """End a job with a model, a checkpoint and a result file."""
        results, _ = new_file(folder_of(self.files, job.organization_id or ""), "step_metrics.csv", "fine-tune-results")
        results.write_text("step,train_loss\n100,0.25\n")
        model = f"ft:{job.model[:64]}:demo:{job.suffix or ''}:{job.id[-8:]}"
        with self.store.begin() as unit:  # everything, or nothing if the job was cancelled or paused in the meantime
            unit.jobs.succeed(job.id, fine_tuned_model=model, trained_tokens=4_800, result_files=[results.name])
            metrics = {"step": 100, "train_loss": 0.25}
            unit.events.append(job.id, "Step 100/100: training loss=0.25", type="metrics", data=metrics)
            unit.checkpoints.create(job.id, step_number=100, fine_tuned_model_checkpoint=model, metrics=metrics)
            unit.events.append(job.id, f"New fine-tuned model created: {model}")
            unit.events.append(job.id, "The job has successfully completed")

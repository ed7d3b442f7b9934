"""Synthetic jobs, like those of a service of two years, the same for the same number and seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import Any

from sqlalchemy import Table

from benchmarks.histories import History, history
from benchmarks.synthetic_rows import (
    KINDS,
    CheckpointValues,
    ErrorValues,
    EventValues,
    HyperparameterValues,
    JobValues,
    MetadataValues,
    ResultFileValues,
    TransitionValues,
)
from fine_tuning_store import JobStatus
from fine_tuning_store.domain import ids
from fine_tuning_store.sql import models
from fine_tuning_store.sql.queries.job_rows import pair_digest

BATCH = 5000  #: jobs
FIRST_SECOND = 1_725_000_000
TWO_YEARS = 2 * 365 * 86_400

UNKNOWN_SHARE = 0.2  #: the oldest jobs, from before the store knew when a job was queued or started
LOGGED_SHARE = 0.2  #: the newest jobs, whose transitions are in the log
RECENT_SHARE = 0.05  #: the newest jobs, of which some are open
OPEN_SHARE_OF_RECENT = 0.19
EVENTS_EVERY = 20  #: jobs, of which one has events and checkpoints

COMMON_PAIR = ("team", "nlp")  #: of 45 % of the jobs
PAIR_OF_5_PERCENT = ("environment", "staging")
RARE_PAIR = ("experiment", "golden")
RARE_JOBS = 100  #: with the rare pair, in a database of any size, so that its pages are equally long

GRADER = json.dumps({"type": "string_check", "name": "exact", "input": "{{sample.output_text}}", "reference": "{{item.answer}}"})
METRICS = json.dumps({"train_loss": 0.42, "valid_loss": 0.48, "valid_mean_token_accuracy": 0.87})
AUTO = -1


class Skewed:
    """Words with the frequencies of Zipf's law: the second is half as frequent as the first, the third a third."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self._weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))

    def pick(self, random: Random) -> str:
        return random.choices(self.words, cum_weights=self._weights)[0]


ORGANIZATIONS = Skewed([f"org-{number:03d}" for number in range(200)])
MODELS = Skewed(["gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-4.1", "gpt-3.5-turbo", "llama-3.1-8b", "mistral-7b", "qwen-2.5-14b"])
SHARED_FILES = Skewed([f"file-shared{number:03d}" for number in range(500)])
SUFFIXES = Skewed([f"team-{number:02d}" for number in range(50)])
OWNERS = Skewed([f"user-{number:04d}" for number in range(1000)])
ERROR_CODES = Skewed(
    ["server_error", "invalid_training_file", "out_of_memory", "loss_diverged", "quota_exceeded", "timeout", "moderation", "unknown"]
)


def batches(jobs: int, seed: int) -> Iterator[dict[Table, list[Any]]]:
    """Yield the rows of each table, those of 5,000 jobs at once, oldest first."""
    maker = _Maker(jobs, Random(seed))
    times = _creation_times(maker.random, jobs)
    for start in range(0, jobs, BATCH):
        for number in range(start, min(start + BATCH, jobs)):
            maker.make(number, next(times))
        yield maker.take()


def _creation_times(random: Random, jobs: int) -> Iterator[float]:
    """Yield rising Unix times over two years. A tenth of the jobs is created together with the one before, and some in bursts."""
    time: float = FIRST_SECOND
    left_of_burst = 0
    while True:
        yield time
        if left_of_burst:
            left_of_burst -= 1
            time += random.random() / 10
        elif random.random() < 0.1:
            time += random.random() / 1000
        else:
            left_of_burst = random.randrange(100) if random.random() < 0.002 else 0
            time += random.expovariate(jobs * 0.8 / TWO_YEARS)


class _Maker:
    """Makes the rows of one job after the other."""

    def __init__(self, jobs: int, random: Random) -> None:
        self.random = random
        self._first_known = jobs * UNKNOWN_SHARE
        self._first_logged = jobs * (1 - LOGGED_SHARE)
        self._first_recent = jobs * (1 - RECENT_SHARE)
        self._rare_step = max(jobs // RARE_JOBS, 1)
        self._rows: dict[Table, list[Any]] = {}
        self.take()

    def take(self) -> dict[Table, list[Any]]:
        """Return the rows since the last call."""
        taken, self._rows = self._rows, {table: [] for table in KINDS}
        return taken

    def make(self, number: int, time: float) -> None:
        """Make the rows of a job by its number."""
        random = self.random
        id = self._id(ids.JOB, time)
        organization, model, created_at = ORGANIZATIONS.pick(random), MODELS.pick(random), int(time)
        past = history(random, created_at, is_open=number >= self._first_recent and random.random() < OPEN_SHARE_OF_RECENT)
        has_succeeded = past.status is JobStatus.SUCCEEDED
        tuned = f"ft:{model}:{organization}::{number:07d}" if has_succeeded else None
        is_known, is_logged = number >= self._first_known, number >= self._first_logged
        method = random.choices(("supervised", "dpo", "reinforcement"), (85, 10, 5))[0]
        events = self._events(id, past) if number % EVENTS_EVERY == 0 else 0
        self._rows[models.jobs].append(
            JobValues(
                id=id,
                organization_id=organization,
                created_at=created_at,
                status=past.status.value,
                finished_at=past.finished_at,
                model=model,
                fine_tuned_model=tuned,
                training_file=SHARED_FILES.pick(random) if random.random() < 0.3 else f"file-{number:07d}",
                validation_file=f"file-{number:07d}v" if random.random() < 0.3 else None,
                trained_tokens=int(random.lognormvariate(11, 1.5)) if has_succeeded else None,
                seed=random.getrandbits(31),
                suffix=SUFFIXES.pick(random) if random.random() < 0.4 else None,
                shared_with_openai=False,
                method_type=method,
                method_grader=GRADER if method == "reinforcement" else None,
                event_count=events,
                transition_count=len(past.steps) if is_logged else 0,
                logged_status=past.status.value if is_known else None,
                attempt=past.attempt if is_known else 0,
                queued_at=past.queued_at if is_known else None,
                started_at=past.started_at if is_known else None,
                updated_at=past.updated_at if is_known else None,
                queued_seconds=past.queued_seconds if is_known else None,
                running_seconds=past.running_seconds if is_known else None,
            )
        )
        self._rows[models.job_hyperparameters].append(self._hyperparameters(id, method))
        self._metadata(id, number, organization, created_at)
        if is_logged:
            self._log(id, past)
        if has_succeeded:
            files = range(1 + (random.random() < 0.25))
            self._rows[models.job_result_files] += [ResultFileValues(id, place, f"file-{number:07d}r{place}") for place in files]
        if past.status is JobStatus.FAILED:
            code = ERROR_CODES.pick(random)
            param = "training_file" if code == "invalid_training_file" else None
            self._rows[models.job_errors].append(ErrorValues(id, code, f"The job has failed: {code}.", param))
        if tuned is not None and number % EVENTS_EVERY == 0:
            self._checkpoints(id, past, tuned)

    def _id(self, prefix: str, time: float) -> str:
        """Return an id of the form of the store's: a UUIDv7 of the time."""
        bits = self.random.getrandbits(74)
        return f"{prefix}{int(time * 1000):012x}7{bits >> 62:03x}{2 << 62 | bits & (1 << 62) - 1:016x}"

    def _hyperparameters(self, id: str, method: str) -> HyperparameterValues:
        random = self.random
        is_reinforced = method == "reinforcement"
        return HyperparameterValues(
            job_id=id,
            n_epochs=random.choice((AUTO, 1, 2, 3, 3, 4, 5, 10)),
            batch_size=random.choice((AUTO, 1, 4, 8, 16, 32, 64)),
            learning_rate_multiplier=random.choice((AUTO, 0.1, 0.5, 1.0, 1.8, 2.0)),
            beta=random.choice((0.1, 0.2, 0.5)) if method == "dpo" else None,
            compute_multiplier=1.0 if is_reinforced else None,
            eval_interval=10 if is_reinforced else None,
            eval_samples=100 if is_reinforced else None,
            reasoning_effort=random.choice(("low", "medium", "high")) if is_reinforced else None,
        )

    def _metadata(self, id: str, number: int, organization: str, created_at: int) -> None:
        random = self.random
        pairs = [("owner", OWNERS.pick(random))] if random.random() < 0.5 else []
        pairs += [("run", f"run-{number}")] if random.random() < 0.5 else []
        pairs += [COMMON_PAIR] if random.random() < 0.45 else []
        pairs += [PAIR_OF_5_PERCENT] if random.random() < 0.05 else []
        pairs += [RARE_PAIR] if number % self._rare_step == 0 else []
        self._rows[models.job_metadata] += [
            MetadataValues(id, key, value, pair_digest(key, value), organization, created_at) for key, value in pairs
        ]

    def _log(self, id: str, past: History) -> None:
        rows = self._rows[models.job_transitions]
        for position, step in enumerate(past.steps, 1):
            by_user = step.verb in ("cancel", "pause", "resume")
            actor = OWNERS.pick(self.random) if by_user else f"worker-{self.random.randrange(40):02d}"
            reason = "asked for by the user" if step.verb == "cancel" else None
            key = self._id(ids.TRANSITION, step.at)
            rows.append(
                TransitionValues(id, position, key, step.verb, step.source.value, step.target.value, step.at, actor, reason, step.attempt)
            )

    def _events(self, id: str, past: History) -> int:
        """Make an event of the creation and of each transition, and five of metrics while the job runs. Returns their number."""
        messages: list[tuple[int, str, str, str | None]] = [(past.created_at, "message", "Created fine-tuning job", None)]
        for step in past.steps:
            messages.append((step.at, "message", f"The job is {step.target.value}", None))
            if step.verb == "start":
                messages += [(step.at + 10 * place, "metrics", f"Step {place}", METRICS) for place in range(1, 6)]
        self._rows[models.events] += [
            EventValues(id, position, self._id(ids.EVENT, at), at, "info", type, message, data)
            for position, (at, type, message, data) in enumerate(messages, 1)
        ]
        return len(messages)

    def _checkpoints(self, id: str, past: History, model: str) -> None:
        at = past.started_at or past.created_at
        self._rows[models.checkpoints] += [
            CheckpointValues(id, self._id(ids.CHECKPOINT, at), step, at + step, f"{model}:ckpt-step-{step}", METRICS)
            for step in (100, 200, 300)
        ]

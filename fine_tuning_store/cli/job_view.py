"""One job, for people: its members, its transitions, its events and its losses."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from rich.text import Text

from fine_tuning_store.cli import job_events, output
from fine_tuning_store.cli.job_rows import job_to_json, metadata_of, result_of, seconds_in, style_of
from fine_tuning_store.cli.loss_curve import write_curve
from fine_tuning_store.cli.tables import Column, write_rows
from fine_tuning_store.cli.times import shown_duration, shown_time
from fine_tuning_store.domain.checkpoint import FineTuningJobCheckpoint
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.job import HYPERPARAMETERS, FineTuningJob
from fine_tuning_store.domain.lifecycle import JobStatus
from fine_tuning_store.domain.page import Page
from fine_tuning_store.domain.transition import JobTransition
from fine_tuning_store.losses import Points, read_losses
from fine_tuning_store.store import FineTuningStore
from fine_tuning_store.wire.records import checkpoint_to_wire

#: The most transitions and checkpoints that are read, and those of them that are shown to people.
_MOST, _SHOWN = 1000, 30


class JobView(NamedTuple):
    """A job with what belongs to it."""

    job: FineTuningJob
    transitions: tuple[JobTransition, ...]
    events: Page[FineTuningJobEvent]
    checkpoints: tuple[FineTuningJobCheckpoint, ...]
    losses: Mapping[str, Points]


def read(store: FineTuningStore, id: str, limit: int, *, with_curve: bool) -> JobView:
    """Read a job in one transaction, with its newest events and, for the curve, the losses of the newest 20,000."""
    with store.begin() as unit:
        job = unit.jobs.get(id)
        transitions = unit.transitions.list(id, limit=_MOST).data
        events = job_events.newest_of(unit, id, limit).events
        checkpoints = unit.checkpoints.list(id, limit=_MOST).data[::-1]
        losses = read_losses(unit, id) if with_curve else {}
    return JobView(job, transitions, events, checkpoints, losses)


def as_json(view: JobView) -> dict[str, Any]:
    """Return the job and what belongs to it as one JSON object."""
    return {
        "job": job_to_json(view.job),
        "transitions": [asdict(transition) for transition in view.transitions],
        "events": [job_events.event_to_json(event) for event in view.events],
        "checkpoints": [checkpoint_to_wire(checkpoint) for checkpoint in view.checkpoints],
    }


def write(view: JobView) -> None:
    """Write the job for people, in parts."""
    now = time.time()
    output.write_table({name: value for name, value in _members(view.job, now).items() if value not in (None, "")})
    _write_title("Timeline")
    write_rows(_TIMELINE, _timeline(view.job, view.transitions, now))
    if view.checkpoints:
        _write_title("Checkpoints")
        write_rows(_CHECKPOINTS, view.checkpoints[-_SHOWN:])
    if view.events.data:
        _write_title("Events" + (", the newest" if view.events.has_more else ""))
        job_events.write(view.events.data, as_json=False)
    if view.losses:
        _write_title("Losses by step")
        write_curve(view.losses)


def _write_title(title: str) -> None:
    output.write_line("")
    output.write_line(title, "bold")


def _members(job: FineTuningJob, now: float) -> dict[str, object]:
    hyperparameters = {name: getattr(job.hyperparameters, name) for name in HYPERPARAMETERS} | dict(job.hyperparameters.extra)
    expired = job.lease_expires_at is not None and job.lease_expires_at < now
    lease = job.lease_expires_at and f"until {shown_time(job.lease_expires_at)}{' (expired)' if expired else ''}"
    return {
        "id": job.id,
        "status": Text(str(job.status), style_of(job)),
        "error" if job.error else "fine-tuned model": result_of(job),
        "organization": job.organization_id,
        "model": job.model,
        "method": job.method and job.method.type,
        "hyperparameters": "  ".join(f"{name}={_plain_json(value)}" for name, value in hyperparameters.items() if value is not None),
        "training file": job.training_file,
        "validation file": job.validation_file,
        "result files": " ".join(job.result_files),
        "trained tokens": job.trained_tokens,
        "created": shown_time(job.created_at),
        "finished": shown_time(job.finished_at),
        "estimated finish": shown_time(job.estimated_finish),
        "queued for": shown_duration(seconds_in(job, JobStatus.QUEUED, now)),
        "ran for": shown_duration(seconds_in(job, JobStatus.RUNNING, now)),
        "attempt": job.attempt or None,
        "worker": job.worker_id,
        "lease": lease,
        "lost leases": job.lost_leases or None,
        "suffix": job.suffix,
        "seed": job.seed,
        "metadata": metadata_of(job),
        "integrations": _plain_json(list(job.integrations)) if job.integrations else None,
        "other members": _plain_json(dict(job.extra)) if job.extra else None,
    }


def _plain_json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _Stage(NamedTuple):
    """A row of the timeline. `after` is how long the job had been in the status before."""

    at: int | None
    after: float | None
    verb: str
    status: str
    actor: str | None = None
    reason: str | None = None
    attempt: int | None = None


_TIMELINE: Final[Sequence[Column[_Stage]]] = (
    Column(title="AT", value=lambda stage: shown_time(stage.at), rank=0),
    Column(title="AFTER", value=lambda stage: shown_duration(stage.after), rank=1, is_number=True),
    Column(title="TRANSITION", value=lambda stage: stage.verb, rank=0),
    Column(title="STATUS", value=lambda stage: stage.status, rank=1),
    Column(title="ATTEMPT", value=lambda stage: stage.attempt, rank=4, is_number=True),
    Column(title="ACTOR", value=lambda stage: stage.actor, rank=2, may_shrink=True),
    Column(title="REASON", value=lambda stage: stage.reason, rank=3, may_shrink=True),
)


def _timeline(job: FineTuningJob, transitions: Sequence[JobTransition], now: float) -> list[_Stage]:
    first = transitions[0].from_status if transitions else job.status
    stages = [_Stage(job.created_at, None, "create", first)]
    before, status = job.created_at, None
    for each in transitions:
        if status is not None and each.from_status != status:
            stages.append(_Stage(None, None, "(not logged)", each.from_status))
        stages.append(_Stage(each.at, each.at - before, each.transition, each.to_status, each.actor, each.reason, each.attempt or None))
        before, status = each.at, each.to_status
    if not job.status.is_ended:
        stages.append(_Stage(round(now), now - before, "(now)", job.status))
    return stages if len(stages) <= _SHOWN else [stages[0], *stages[1 - _SHOWN :]]


def _metrics(checkpoint: FineTuningJobCheckpoint) -> str:
    numbers = {name: value for name, value in checkpoint.metrics.items() if isinstance(value, int | float) and name != "step"}
    return " ".join(f"{name}={value:.4g}" for name, value in numbers.items())


_CHECKPOINTS: Final[Sequence[Column[FineTuningJobCheckpoint]]] = (
    Column(title="STEP", value=lambda checkpoint: checkpoint.step_number, rank=0, is_number=True),
    Column(title="CREATED", value=lambda checkpoint: shown_time(checkpoint.created_at), rank=2),
    Column(title="MODEL", value=lambda checkpoint: checkpoint.fine_tuned_model_checkpoint, rank=0),
    Column(title="METRICS", value=_metrics, rank=1, may_shrink=True),
)

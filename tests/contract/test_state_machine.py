"""Random calls of all repositories, compared with a model in plain Python: every result and error must match, on each database."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from fine_tuning_store import (
    CheckpointNotFoundError,
    CheckpointPermission,
    CheckpointPermissionNotFoundError,
    CursorNotFoundError,
    FineTuningJob,
    FineTuningJobCheckpoint,
    FineTuningJobEvent,
    FineTuningStore,
    FineTuningStoreError,
    IllegalTransitionError,
    InvalidValueError,
    JobError,
    JobNotFoundError,
    JobStatus,
)
from fine_tuning_store.domain.job import STORE_MEMBERS
from fine_tuning_store.domain.lifecycle import TRANSITIONS
from tests.support.factories import ORGANIZATION, a_job, transition

picks = st.integers(0, 5)
limits = st.sampled_from([1, 2, 3, 1000])
models = st.sampled_from(["ft:a", "ft:b", "ft:A"])
projects = st.lists(st.sampled_from(["proj_1", "proj_2", "proj_3", "PROJ_1"]), min_size=1, max_size=4)
messages = st.none() | st.sampled_from(["", "hello", "\U0001f600"])


class Calls(RuleBasedStateMachine):
    """Calls of a store, and a model of its content: jobs, events and checkpoints in the order of their creation."""

    store: FineTuningStore

    def __init__(self) -> None:
        super().__init__()
        with self.store.engine.begin() as connection:
            connection.execute(text("DELETE FROM fine_tuning_jobs"))
        self.jobs: dict[str, FineTuningJob] = {}
        self.events: dict[str, list[FineTuningJobEvent]] = {}
        self.checkpoints: dict[str, list[FineTuningJobCheckpoint]] = {}
        self.permissions: dict[str, CheckpointPermission] = {}
        self.mirrored: set[str] = set()
        self.ids = ["ftjob-none"]
        self.numbers = itertools.count()

    def job_id(self, pick: int) -> str:
        """Return one of the last ids, possibly of a job that was deleted or never existed."""
        return self.ids[-1 - pick % min(len(self.ids), 4)]

    def is_refused(self, call: Callable[[], object], error: type[FineTuningStoreError] | None) -> bool:
        """Return False if no error is expected; otherwise check that the call raises exactly this error and return True."""
        if error is None:
            return False
        try:
            call()
        except FineTuningStoreError as caught:
            assert type(caught) is error, (caught, error)  # noqa: PT017 - pytest.raises() accepts subclasses
            return True
        raise AssertionError(error)

    def owner(self, model: str) -> str | None:
        """Return the id of the newest job of a model, or None."""
        owners = [
            id
            for id, job in self.jobs.items()
            if job.fine_tuned_model == model or any(row.fine_tuned_model_checkpoint == model for row in self.checkpoints[id])
        ]
        return max(owners, key=lambda id: (self.jobs[id].created_at, id), default=None)

    # Jobs

    @rule()
    def create(self) -> None:
        job = self.store.jobs.create(organization_id=ORGANIZATION, model="m", training_file="f")
        self.jobs[job.id], self.events[job.id], self.checkpoints[job.id] = job, [], []
        self.ids.append(job.id)

    @initialize(statuses=st.lists(st.sampled_from(JobStatus), min_size=2, max_size=3))
    def add(self, statuses: list[JobStatus]) -> None:
        """Add jobs of several statuses, so that a few steps reach every transition."""
        for status in statuses:
            job = self.store.jobs.add(a_job(status=status))
            self.mirrored.add(job.id)
            self.jobs[job.id], self.events[job.id], self.checkpoints[job.id] = job, [], []
            self.ids.append(job.id)

    @rule(pick=picks, verb=st.sampled_from(sorted(TRANSITIONS)), message=messages)
    def apply_transition(self, pick: int, verb: str, message: str | None) -> None:
        id = self.job_id(pick)
        before, allowed = self.jobs.get(id), TRANSITIONS[verb]

        def call() -> FineTuningJob:
            return transition(self.store.jobs, verb, id, name=id, message=message)

        if before is None:
            assert self.is_refused(call, JobNotFoundError)
        elif before.status in allowed.sources:
            after = call()
            history = {name: getattr(after, name) for name in STORE_MEMBERS}
            expected = replace(before, status=allowed.target, finished_at=after.finished_at, wire_status=None, **history)
            if verb == "succeed":
                expected = replace(expected, fine_tuned_model=f"ft:{id}", trained_tokens=3, result_files=(f"file-{id}",))
            if verb == "fail":
                expected = replace(expected, error=JobError(code=id, message="It broke."))
            assert after == expected
            assert (after.finished_at is not None) == allowed.target.is_ended
            self.jobs[id] = after
            self.mirrored.discard(id)
            if message is not None:
                (event,) = self.store.events.list(id, limit=1)
                self.record_event(id, event, message=message)
        elif before.status is allowed.target is JobStatus.CANCELLED:
            assert call() == before
        else:
            assert self.is_refused(call, IllegalTransitionError)

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        id = self.job_id(pick)
        job = self.jobs.get(id)
        error = JobNotFoundError if job is None else None if job.status.is_ended else IllegalTransitionError
        if not self.is_refused(lambda: self.store.jobs.delete(id), error):
            self.store.jobs.delete(id)
            for rows in (self.jobs, self.events, self.checkpoints):
                del rows[id]
            self.mirrored.discard(id)
            self.permissions = {key: row for key, row in self.permissions.items() if row.job_id != id}

    @rule(pick=picks, status=st.sampled_from(JobStatus), model=st.none() | models)
    def replace(self, pick: int, status: JobStatus, model: str | None) -> None:
        id = self.job_id(pick)
        job = a_job(id=id, status=status, fine_tuned_model=model, created_at=1_700_000_000 + len(self.ids))
        is_refused = id in self.jobs and id not in self.mirrored
        if not self.is_refused(lambda: self.store.jobs.replace(job), IllegalTransitionError if is_refused else None):
            after = self.store.jobs.replace(job)
            assert after == replace(job, updated_at=after.updated_at)
            self.jobs[id] = after
            self.mirrored.add(id)
            self.events.setdefault(id, [])
            self.checkpoints.setdefault(id, [])

    # Events

    def record_event(self, job_id: str, event: FineTuningJobEvent, **members: Any) -> None:
        """Check an event that the store returned, and add it to the model."""
        expected = replace(event, job_id=job_id, position=len(self.events[job_id]) + 1, **members)
        assert event == expected
        self.events[job_id].append(event)

    @rule(pick=picks, message=st.sampled_from(["", "hello"]), data=st.sampled_from([None, {}, [1], {"a": None}]))
    def append(self, pick: int, message: str, data: Any) -> None:
        id = self.job_id(pick)
        if not self.is_refused(lambda: self.store.events.append(id, message, data=data), None if id in self.jobs else JobNotFoundError):
            self.record_event(id, self.store.events.append(id, message, data=data), message=message, data=data)

    @rule(pick=picks, names=st.lists(st.sampled_from("abcdeABC"), max_size=3), message=st.sampled_from(["", "other"]))
    def import_many(self, pick: int, names: list[str], message: str) -> None:
        id = self.job_id(pick)
        events = [FineTuningJobEvent(id=name, created_at=1, message=message or name) for name in names]
        existing = {event.id: event for event in self.events.get(id, [])}
        repeated = len(set(names)) < len(names)
        different = any(existing[name].message != (message or name) for name in names if name in existing)
        error = InvalidValueError if repeated else JobNotFoundError if id not in self.jobs else InvalidValueError if different else None
        if not self.is_refused(lambda: self.store.events.import_many(id, events), error):
            for event, name in zip(self.store.events.import_many(id, events), names, strict=True):
                if name in existing:
                    assert event == existing[name]
                else:
                    self.record_event(id, event, id=name, message=message or name)

    @rule(pick=picks, index=st.none() | st.integers(0, 9), limit=limits)
    def list_events(self, pick: int, index: int | None, limit: int) -> None:
        id = self.job_id(pick)
        rows = self.events.get(id, [])[::-1]
        after = None if index is None else rows[index].id if index < len(rows) else "unknown"
        error = JobNotFoundError if id not in self.jobs else CursorNotFoundError if after == "unknown" else None
        if not self.is_refused(lambda: self.store.events.list(id, after=after, limit=limit), error):
            following = rows if index is None else rows[index + 1 :]
            page = self.store.events.list(id, after=after, limit=limit)
            assert (list(page), page.has_more) == (following[:limit], len(following) > limit)

    @rule(pick=picks, position=st.integers(0, 9), limit=limits)
    def tail(self, pick: int, position: int, limit: int) -> None:
        id = self.job_id(pick)
        if not self.is_refused(lambda: self.store.events.tail(id, position), None if id in self.jobs else JobNotFoundError):
            following = self.events[id][position:]
            page = self.store.events.tail(id, position, limit=limit)
            assert (list(page), page.has_more) == (following[:limit], len(following) > limit)

    # Checkpoints

    @rule(pick=picks, name=st.sampled_from("abcA"), step=st.integers(0, 2), model=models)
    def add_checkpoint(self, pick: int, name: str, step: int, model: str) -> None:
        id = self.job_id(pick)
        checkpoint = FineTuningJobCheckpoint(
            id=name, created_at=1, fine_tuned_model_checkpoint=model, fine_tuning_job_id=id, step_number=step, metrics={"step": step}
        )
        duplicate = any(row.id == name for row in self.checkpoints.get(id, []))
        error = JobNotFoundError if id not in self.jobs else InvalidValueError if duplicate else None
        if not self.is_refused(lambda: self.store.checkpoints.add(checkpoint), error):
            assert self.store.checkpoints.add(checkpoint) == checkpoint
            self.checkpoints[id].append(checkpoint)

    @rule(pick=picks, index=st.none() | st.integers(0, 4), limit=limits)
    def list_checkpoints(self, pick: int, index: int | None, limit: int) -> None:
        id = self.job_id(pick)
        rows = sorted(self.checkpoints.get(id, []), key=lambda row: (row.step_number, row.id), reverse=True)
        after = None if index is None else rows[index].id if index < len(rows) else "unknown"
        error = JobNotFoundError if id not in self.jobs else CursorNotFoundError if after == "unknown" else None
        if not self.is_refused(lambda: self.store.checkpoints.list(id, after=after, limit=limit), error):
            following = rows if index is None else rows[index + 1 :]
            page = self.store.checkpoints.list(id, after=after, limit=limit)
            assert (list(page), page.has_more) == (following[:limit], len(following) > limit)

    # Permissions

    @rule(model=models, project_ids=projects)
    def permit(self, model: str, project_ids: list[str]) -> None:
        owner = self.owner(model)
        if self.is_refused(
            lambda: self.store.checkpoint_permissions.create(model, project_ids), CheckpointNotFoundError if owner is None else None
        ):
            return
        rows = self.store.checkpoint_permissions.create(model, project_ids)
        assert [row.project_id for row in rows] == list(dict.fromkeys(project_ids))
        existing = {row.project_id: row for row in self.permissions.values() if row.fine_tuned_model_checkpoint == model}
        for row in rows:
            new = replace(row, fine_tuned_model_checkpoint=model, organization_id=ORGANIZATION, job_id=owner)
            assert row == existing.get(row.project_id, new)
            self.permissions[row.id] = row

    @rule(model=models, order=st.sampled_from(["asc", "desc"]), limit=limits, project=st.none() | st.sampled_from(["proj_1", "PROJ_1"]))
    def list_permissions(self, model: str, order: Any, limit: int, project: str | None) -> None:
        def call() -> Any:
            return self.store.checkpoint_permissions.list(model, order=order, limit=limit, project_id=project)

        of_model = [row for row in self.permissions.values() if row.fine_tuned_model_checkpoint == model]
        if not self.is_refused(call, CheckpointNotFoundError if self.owner(model) is None else None):
            rows = [row for row in of_model if project in (None, row.project_id)]
            rows.sort(key=lambda row: (row.created_at, row.id), reverse=order == "desc")
            page = call()
            assert (list(page), page.has_more) == (rows[:limit], len(rows) > limit)

    @rule(pick=picks, model=st.none() | models)
    def delete_permission(self, pick: int, model: str | None) -> None:
        row = list(self.permissions.values())[-1 - pick] if pick < len(self.permissions) else None
        id = "cp_none" if row is None else row.id
        exists = row is not None and model in (None, row.fine_tuned_model_checkpoint)
        if not self.is_refused(
            lambda: self.store.checkpoint_permissions.delete(id, fine_tuned_model_checkpoint=model),
            None if exists else CheckpointPermissionNotFoundError,
        ):
            self.store.checkpoint_permissions.delete(id, fine_tuned_model_checkpoint=model)
            del self.permissions[id]

    @invariant()
    def the_store_has_the_jobs_of_the_model(self) -> None:
        assert {job.id: job for job in self.store.jobs.list(limit=1000)} == self.jobs


def test_random_calls_have_the_results_of_a_plain_model(store: FineTuningStore) -> None:
    machine = type("CallsOfStore", (Calls,), {"store": store})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[*HealthCheck])
    )

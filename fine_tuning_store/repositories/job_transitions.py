"""The transitions of jobs: each changes the status of a job by one guarded UPDATE, and is logged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack

from fine_tuning_store.domain import ids
from fine_tuning_store.domain.event import FineTuningJobEvent
from fine_tuning_store.domain.history_validation import check_transition_notes
from fine_tuning_store.domain.hyperparameters import validate_hyperparameters
from fine_tuning_store.domain.job import METHOD_HYPERPARAMETERS, FineTuningJob, Hyperparameters, JobError
from fine_tuning_store.domain.job_validation import check_id, check_result_files
from fine_tuning_store.domain.lifecycle import TRANSITIONS, JobStatus
from fine_tuning_store.domain.member_validation import check_error
from fine_tuning_store.domain.transition import TransitionNotes
from fine_tuning_store.domain.validation import check_json_object, check_name, check_optional_integer
from fine_tuning_store.errors import CorruptDataError, IllegalTransitionError, InvalidValueError
from fine_tuning_store.outcomes import Written
from fine_tuning_store.repositories.base import Repository, with_keywords_of
from fine_tuning_store.repositories.event_writes import append_events, new_event
from fine_tuning_store.repositories.job_reads import fetch, require_visible
from fine_tuning_store.repositories.job_writes import replace_children
from fine_tuning_store.sql.models import job_errors, job_hyperparameters, job_result_files
from fine_tuning_store.sql.models import job_transitions as log
from fine_tuning_store.sql.queries import job_rows, transitions
from fine_tuning_store.sql.queries import jobs as queries
from fine_tuning_store.transactions import AtOnce, Transaction


class JobTransitions(Repository):
    """The methods of FineTuningJobRepository that change the status of a job.

    Each returns the updated job. It raises JobNotFoundError for an unknown job, and IllegalTransitionError if the status of the job does
    not allow the transition. It takes the members of TransitionNotes: `message` becomes an event of the job, `actor` and `reason` go to
    the log of transitions, all in the same transaction.
    """

    @with_keywords_of(TransitionNotes)
    def enqueue(self, id: str, **notes: Unpack[TransitionNotes]) -> FineTuningJob:
        """Queue a job whose files are valid: validating_files to queued."""
        return self._transition(id, "enqueue", notes)

    @with_keywords_of(TransitionNotes)
    def start(self, id: str, *, hyperparameters: Hyperparameters | None = None, **notes: Unpack[TransitionNotes]) -> FineTuningJob:
        """Start to train a job: validating_files or queued to running.

        A running job that the same `actor` has started is returned unchanged: the answer to the first call was lost.

        Args:
            id: The id of the job.
            hyperparameters: Values that replace those of the job, for example what `"auto"` was resolved to.
            **notes: The members of TransitionNotes.

        Raises:
            IllegalTransitionError: The status does not allow it.
            InvalidValueError: A value cannot be stored, or the job's method does not have one of the hyperparameters.
        """
        id = check_id(id)
        given = None if hyperparameters is None else validate_hyperparameters(hyperparameters)
        checked = check_transition_notes("start", notes)

        def write(transaction: Transaction) -> FineTuningJob:
            event = event_for_message(transaction, checked)
            values = {} if given is None else resolved_values(fetch(transaction, id), given)
            unchanged = attempt_update(transaction, id, "start", checked)
            if unchanged is not None:
                if unchanged.status is JobStatus.RUNNING and _was_started_by(transaction, id, checked["actor"]):
                    return unchanged
                raise IllegalTransitionError(id, "start", unchanged.status, TRANSITIONS["start"].sources)
            set_hyperparameters(transaction, id, values)
            return append_event_and_reload(transaction, id, event)

        return self._source.write(write, at_once=self._at_once(id, "start", checked) if given is None else None)

    @with_keywords_of(TransitionNotes)
    def requeue(self, id: str, **notes: Unpack[TransitionNotes]) -> FineTuningJob:
        """Return a running job to the queue, for example because its worker shuts down: running to queued."""
        return self._transition(id, "requeue", notes)

    @with_keywords_of(TransitionNotes)
    def pause(self, id: str, **notes: Unpack[TransitionNotes]) -> FineTuningJob:
        """Pause a job for its user: queued or running to paused."""
        return self._transition(id, "pause", notes)

    @with_keywords_of(TransitionNotes)
    def resume(self, id: str, **notes: Unpack[TransitionNotes]) -> FineTuningJob:
        """Resume a paused job for its user: paused to queued."""
        return self._transition(id, "resume", notes)

    @with_keywords_of(TransitionNotes)
    def succeed(
        self,
        id: str,
        *,
        fine_tuned_model: str,
        trained_tokens: int | None = None,
        result_files: Iterable[str] = (),
        **notes: Unpack[TransitionNotes],
    ) -> FineTuningJob:
        """End a job with a model: running to succeeded. Sets `finished_at`.

        Args:
            id: The id of the job.
            fine_tuned_model: The name of the model, 1 to 512 characters.
            trained_tokens: The number of tokens that were trained. None leaves the stored number.
            result_files: At most 1000 file ids, which replace the stored ones. None at all leaves them.
            **notes: The members of TransitionNotes.

        Raises:
            IllegalTransitionError: The status does not allow it.
            InvalidValueError: A value cannot be stored.
        """
        id = check_id(id)
        values: dict[str, Any] = {"fine_tuned_model": check_name("fine_tuned_model", fine_tuned_model)}
        if trained_tokens is not None:
            values["trained_tokens"] = check_optional_integer("trained_tokens", trained_tokens, 0)
        files = check_result_files(result_files)
        checked = check_transition_notes("succeed", notes)

        def write(transaction: Transaction) -> FineTuningJob:
            event = event_for_message(transaction, checked)
            guarded_update(transaction, id, "succeed", checked, **values)
            if files:
                replace_children(transaction, id, job_result_files, job_rows.result_file_rows(id, files))
            return append_event_and_reload(transaction, id, event)

        return self._source.write(write, at_once=None if files else self._at_once(id, "succeed", checked, **values))

    @with_keywords_of(TransitionNotes)
    def fail(self, id: str, error: JobError, **notes: Unpack[TransitionNotes]) -> FineTuningJob:
        """End a job with an error: every open status to failed. Sets `finished_at`.

        Args:
            id: The id of the job.
            error: The error, with at least one of its members.
            **notes: The members of TransitionNotes.

        Raises:
            IllegalTransitionError: The job has ended already.
            InvalidValueError: A value cannot be stored.
        """
        id = check_id(id)
        row = job_rows.error_row(id, check_error(error))
        checked = check_transition_notes("fail", notes)

        def write(transaction: Transaction) -> FineTuningJob:
            event = event_for_message(transaction, checked)
            guarded_update(transaction, id, "fail", checked)
            replace_children(transaction, id, job_errors, [row])
            return append_event_and_reload(transaction, id, event)

        return self._source.write(write)

    @with_keywords_of(TransitionNotes)
    def cancel(self, id: str, **notes: Unpack[TransitionNotes]) -> FineTuningJob:
        """End a job for its user: every open status to cancelled. Sets `finished_at`. A cancelled job is returned unchanged."""
        id = check_id(id)
        checked = check_transition_notes("cancel", notes)

        def write(transaction: Transaction) -> FineTuningJob:
            event = event_for_message(transaction, checked)
            unchanged = attempt_update(transaction, id, "cancel", checked)
            if unchanged is None:
                return append_event_and_reload(transaction, id, event)
            if unchanged.status is JobStatus.CANCELLED:
                return unchanged
            raise IllegalTransitionError(id, "cancel", unchanged.status, TRANSITIONS["cancel"].sources)

        return self._source.write(write, at_once=self._at_once(id, "cancel", checked))

    def _transition(self, id: str, verb: str, notes: TransitionNotes) -> FineTuningJob:
        id = check_id(id)
        checked = check_transition_notes(verb, notes)

        def write(transaction: Transaction) -> FineTuningJob:
            event = event_for_message(transaction, checked)
            guarded_update(transaction, id, verb, checked)
            return append_event_and_reload(transaction, id, event)

        return self._source.write(write, at_once=self._at_once(id, verb, checked))

    def _at_once(self, id: str, verb: str, notes: TransitionNotes, **values: Any) -> Callable[[], AtOnce[FineTuningJob]] | None:
        """Return what makes a transition a single statement, None if it has a message, which is an event, in a row of its own."""
        if notes.get("message") is not None:
            return None
        return lambda: self._transition_at_once(id, verb, notes, values)

    def _transition_at_once(self, id: str, verb: str, notes: TransitionNotes, values: dict[str, Any]) -> AtOnce[FineTuningJob]:
        transition_id, now = self._source.clock.new_id(ids.TRANSITION)
        organization_id = self._source.organization_id
        scope = {} if organization_id is None else {"within_organization": organization_id}
        entry = _log_parameters(transition_id, notes)

        def execute(transaction: Transaction) -> FineTuningJob | None:
            statement = transitions.transition_at_once(verb, frozenset(values), is_scoped=bool(scope))
            row = transaction.execute_unscoped(statement, job_id=id, now=now, **queries.new_values(values), **entry, **scope).first()
            return None if row is None else job_rows.job_from_row(row)

        def recover(transaction: Transaction) -> FineTuningJob | None:
            return fetch(transaction, id) if transaction.finds(Written(log, id, transition_id)) else None

        return AtOnce(execute, recover, (transition_id,))


def event_for_message(transaction: Transaction, notes: TransitionNotes) -> FineTuningJobEvent | None:
    """Return the event of a message, dated within the transaction, so that ids and times follow the order of commits."""
    message = notes.get("message")
    return None if message is None else new_event(transaction.clock, message)


def guarded_update(transaction: Transaction, id: str, verb: str, notes: TransitionNotes, **values: Any) -> None:
    """Change the status of a job by one guarded UPDATE, which sets other columns to `values` too, and log the transition.

    Raises JobNotFoundError, and IllegalTransitionError if the status does not allow the transition.
    """
    unchanged = attempt_update(transaction, id, verb, notes, **values)
    if unchanged is not None:
        raise IllegalTransitionError(id, verb, unchanged.status, TRANSITIONS[verb].sources)


def attempt_update(transaction: Transaction, id: str, verb: str, notes: TransitionNotes, **values: Any) -> FineTuningJob | None:
    """Try the guarded UPDATE of a transition. Returns None if the job was changed, else the job, whose status does not allow it."""
    require_visible(transaction, id)
    if _log_and_change(transaction, id, verb, notes, values):
        return None
    job = fetch(transaction, id, locked=True)  # unknown, illegal, or allowed by now: another transition came between
    if job.status not in TRANSITIONS[verb].sources:
        return job
    _log_and_change(transaction, id, verb, notes, values)  # takes effect: the row is locked since it was fetched
    return None


def _log_and_change(transaction: Transaction, id: str, verb: str, notes: TransitionNotes, values: dict[str, Any]) -> bool:
    """Log a transition and change the status, if the status allows it. Returns whether it did."""
    is_scoped = transaction.organization_id is not None
    transition_id, now = transaction.clock.new_id(ids.TRANSITION)
    change = {"job_id": id, "now": now, **queries.new_values(values)}
    entry = _log_parameters(transition_id, notes)
    if transaction.database.writes_in_ctes:
        statement = transitions.log_and_change_status(verb, frozenset(values), is_scoped=is_scoped)
        changed = bool(transaction.execute(statement, **change, **entry).rowcount)
        if changed:
            transaction.written.add(log, id, transition_id)
        return changed
    if is_scoped:
        entry["within_organization"] = transaction.organization_id
    if not transaction.execute(transitions.log_transition(verb, is_scoped=is_scoped), job_id=id, now=now, **entry).rowcount:
        return False
    transaction.execute(transitions.change_status(verb, frozenset(values)), **change)
    transaction.written.add(log, id, transition_id)
    return True


def _log_parameters(transition_id: str, notes: TransitionNotes) -> dict[str, Any]:
    return {"transition_id": transition_id, "transition_actor": notes.get("actor"), "transition_reason": notes.get("reason")}


def _was_started_by(transaction: Transaction, id: str, actor: str | None) -> bool:
    """Return True if the newest row in the log of a job is a start by this actor."""
    row = transaction.execute(transitions.NEWEST_TRANSITION, job_id=id).first()
    return row is not None and actor is not None and (row.transition, row.actor) == ("start", actor)


def append_event_and_reload(transaction: Transaction, id: str, event: FineTuningJobEvent | None) -> FineTuningJob:
    """Append the event of a transition, if it has one, and return the job as it is afterwards."""
    if event is not None:
        append_events(transaction, id, [event])
    return fetch(transaction, id)


def set_hyperparameters(transaction: Transaction, id: str, values: Mapping[str, Any]) -> None:
    """Set columns of a job's hyperparameters. The caller has locked the job's row. Raises CorruptDataError if there is no row of them."""
    if values:
        statement = queries.update_hyperparameters(frozenset(values))
        if not transaction.execute(statement, updated_job_id=id, **queries.new_values(values)).rowcount:
            raise CorruptDataError(job_hyperparameters.name, id)


def resolved_values(job: FineTuningJob, given: Hyperparameters) -> dict[str, Any]:
    """Return the columns for hyperparameters given at a start. A member of the same name in `extra` is removed there.

    Raises InvalidValueError for a hyperparameter that the job's method does not have, and if those in `extra` are too large together.
    """
    values = {name: value for name, value in job_rows.hyperparameter_values(given).items() if value is not None}
    allowed = METHOD_HYPERPARAMETERS.get(job.method.type) if job.method else None
    for name, value in values.items():
        if allowed is not None and name not in allowed:
            raise InvalidValueError(f"hyperparameters.{name}", value, "is not a hyperparameter of the job's method")
    extra = {name: value for name, value in job.hyperparameters.extra.items() if name not in values} | dict(given.extra)
    if extra != job.hyperparameters.extra:
        values["extra"] = check_json_object("hyperparameters.extra", extra) or None
    return values

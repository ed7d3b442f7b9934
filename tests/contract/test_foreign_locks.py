"""A store of one organization neither waits for, nor locks, rows of another organization."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Connection, text

from fine_tuning_store import (
    CheckpointPermissionRepository,
    FineTuningJobCheckpoint,
    FineTuningJobCheckpointRepository,
    FineTuningJobEvent,
    FineTuningJobEventRepository,
    FineTuningJobRepository,
    FineTuningStore,
    FineTuningStoreError,
    JobTransitionRepository,
    UnitOfWork,
)
from tests.contract import test_tenancy
from tests.support.databases import Database
from tests.support.factories import a_job, a_transition, stored
from tests.support.tables import each


def _of_jobs(call: Callable[[FineTuningJobRepository, str], object], unit: UnitOfWork, id: str) -> object:
    return call(unit.jobs, id)


#: Calls that name a job, by a unit of work of another organization.
CALLS: dict[str, Callable[[UnitOfWork, str], object]] = {
    **{name: partial(_of_jobs, call) for name, call in test_tenancy.CALLS.items()},
    "add": lambda unit, id: unit.jobs.add(a_job(id=id, organization_id="org-own")),
    "add_many": lambda unit, id: unit.jobs.add_many([a_job(organization_id="org-own"), a_job(id=id, organization_id="org-own")]),
    "replace": lambda unit, id: unit.jobs.replace(a_job(id=id, organization_id="org-own")),
    "replace_many": lambda unit, id: unit.jobs.replace_many([a_job(organization_id="org-own"), a_job(id=id, organization_id="org-own")]),
    "events.append": lambda unit, id: unit.events.append(id, "It starts."),
    "events.append_many": lambda unit, id: unit.events.append_many(id, [{"message": "It starts."}]),
    "events.import_many": lambda unit, id: unit.events.import_many(id, [FineTuningJobEvent(id="e", created_at=1, message="It starts.")]),
    "events.list": lambda unit, id: unit.events.list(id),
    "events.tail": lambda unit, id: unit.events.tail(id),
    "transitions.import_many": lambda unit, id: unit.transitions.import_many(id, [a_transition(id)]),
    "checkpoints.import_many": lambda unit, id: unit.checkpoints.import_many(id, []),
    "checkpoint_permissions.import_many": lambda unit, id: unit.checkpoint_permissions.import_many(id, []),
    "transitions.list": lambda unit, id: unit.transitions.list(id),
    "checkpoints.create": lambda unit, id: unit.checkpoints.create(id, step_number=1, fine_tuned_model_checkpoint="m", metrics={}),
    "checkpoints.add": lambda unit, id: unit.checkpoints.add(
        FineTuningJobCheckpoint(id="c", created_at=1, fine_tuning_job_id=id, step_number=1, fine_tuned_model_checkpoint="m", metrics={})
    ),
    "checkpoints.list": lambda unit, id: unit.checkpoints.list(id),
    "checkpoint_permissions.create": lambda unit, _: unit.checkpoint_permissions.create("ft:theirs", ["proj-1"]),
    "checkpoint_permissions.list": lambda unit, _: unit.checkpoint_permissions.list("ft:theirs"),
    "checkpoint_permissions.delete": lambda unit, _: unit.checkpoint_permissions.delete("perm-theirs"),
}
#: Settings with which a statement fails at once instead of waiting for a lock.
REFUSE_TO_WAIT = {"postgresql": "SET LOCAL lock_timeout = 1", "mariadb": "SET SESSION innodb_lock_wait_timeout = 0"}


class RollbackError(Exception):
    """Ends a unit."""


def a_job_of_theirs(store: FineTuningStore) -> str:
    """Store a job of another organization that has a model and a permission, each with the name `theirs`. Returns its id."""
    job = stored(store, organization_id="org-other", status="succeeded", fine_tuned_model="ft:theirs")
    (permission,) = store.for_organization("org-other").checkpoint_permissions.create("ft:theirs", ["proj-0"])
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE fine_tuning_checkpoint_permissions SET id = 'perm-theirs' WHERE id = :id"), {"id": permission.id})
    return job.id


def row_locks(connection: Connection, store: FineTuningStore) -> list[str]:
    """Return the locks of rows that the transaction of a connection holds or waits for, as the server lists them."""
    with store.engine.connect() as other:
        if connection.dialect.name == "postgresql":  # a row can be locked only by a transaction that has an id
            me = connection.scalar(text("SELECT pg_backend_pid()"))
            listed = text("SELECT locktype, mode FROM pg_locks WHERE pid = :me AND (NOT granted OR locktype IN ('transactionid', 'tuple'))")
            return [f"{kind} {mode}" for kind, mode in other.execute(listed, {"me": me})]
        me = connection.scalar(text("SELECT connection_id()"))
        # Not from information_schema.innodb_trx, which may be a tenth of a second old.
        transactions = other.execute(text("SHOW ENGINE INNODB STATUS")).one()[2].split("---TRANSACTION")
        (own,) = [transaction for transaction in transactions if f"thread id {me}," in transaction]
        return re.findall(r"[1-9]\d* row lock|LOCK WAIT", own)


def lock_everything(connection: Connection) -> None:
    """Lock each row of the jobs and the permissions."""
    connection.execute(text("UPDATE fine_tuning_jobs SET seed = 1"))
    connection.execute(text("UPDATE fine_tuning_checkpoint_permissions SET created_at = created_at + 1"))


@each("call", CALLS)
def test_a_call_neither_waits_for_nor_locks_a_row_of_another_organization(store: FineTuningStore, database: Database, call: str) -> None:
    if database.name == "sqlite":  # has one lock for all rows
        return
    scoped, theirs = store.for_organization("org-own"), a_job_of_theirs(store)

    with store.engine.connect() as holder:  # they hold their rows: no call waits
        lock_everything(holder)
        with pytest.raises(FineTuningStoreError), scoped.begin() as unit:
            unit.connection.execute(text(REFUSE_TO_WAIT[database.name]))
            CALLS[call](unit, theirs)
        holder.rollback()

    with pytest.raises(RollbackError), scoped.begin() as unit:  # no call holds their rows
        with pytest.raises(FineTuningStoreError):
            CALLS[call](unit, theirs)
        assert row_locks(unit.connection, store) == []
        with store.engine.connect() as other:
            other.execute(text(REFUSE_TO_WAIT[database.name]))
            lock_everything(other)
        raise RollbackError


def test_the_lists_of_locks_contain_a_row_that_is_locked(store: FineTuningStore, database: Database) -> None:
    if database.name == "sqlite":
        return
    job = stored(store)
    with store.begin() as unit:
        unit.jobs.enqueue(job.id)
        assert row_locks(unit.connection, store) != []


def test_every_method_that_names_a_row_is_called_here() -> None:
    repositories = {
        "events": FineTuningJobEventRepository,
        "checkpoints": FineTuningJobCheckpointRepository,
        "checkpoint_permissions": CheckpointPermissionRepository,
        "transitions": JobTransitionRepository,
    }
    for name, repository in repositories.items():
        methods = {f"{name}.{method}" for method in vars(repository) if not method.startswith("_")}
        assert methods <= set(CALLS)

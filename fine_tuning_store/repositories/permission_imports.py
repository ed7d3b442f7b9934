"""How checkpoint permissions from elsewhere are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fine_tuning_store.domain.history_validation import duplicate
from fine_tuning_store.domain.job_validation import MAX_PAGE_SIZE
from fine_tuning_store.domain.permission import CheckpointPermission
from fine_tuning_store.errors import InvalidValueError
from fine_tuning_store.repositories.job_reads import fetch
from fine_tuning_store.repositories.job_writes import insert_unless_taken
from fine_tuning_store.sql.models import checkpoint_permissions
from fine_tuning_store.sql.queries import permissions as queries
from fine_tuning_store.transactions import Transaction


def import_permissions(transaction: Transaction, job_id: str, given: Sequence[CheckpointPermission]) -> tuple[CheckpointPermission, ...]:
    """Store permissions of a job, except those that a project has already. Returns them as they are stored, in the given order.

    Raises JobNotFoundError, and InvalidValueError before anything is written if an id is that of a different permission.
    """
    organization = fetch(transaction, job_id, locked=True).organization_id
    for index, permission in enumerate(given):
        if permission.organization_id not in (None, organization):
            raise InvalidValueError(f"permissions[{index}].organization_id", permission.organization_id, "must be that of the job")
    wanted = [replace(permission, organization_id=organization) for permission in given]
    stored = _stored_by_id(transaction, wanted)
    for index, permission in enumerate(wanted):
        if stored.get(permission.id, permission) != permission:
            raise duplicate("permissions", index, permission.id)
    stored |= _stored_by_project(transaction, [permission for permission in wanted if permission.id not in stored])
    for index, permission in enumerate(wanted):
        if permission.id not in stored:
            stored[permission.id] = _insert(transaction, permission, index)
    return tuple(stored[permission.id] for permission in wanted)


def _stored_by_id(transaction: Transaction, wanted: Sequence[CheckpointPermission]) -> dict[str, CheckpointPermission]:
    found: dict[str, CheckpointPermission] = {}
    for start in range(0, len(wanted), MAX_PAGE_SIZE):
        ids = [permission.id for permission in wanted[start : start + MAX_PAGE_SIZE]]
        rows = transaction.execute_unscoped(queries.PERMISSIONS_BY_IDS, permission_ids=ids)
        found |= {permission.id: permission for permission in map(queries.permission_from_row, rows)}
    return found


def _stored_by_project(transaction: Transaction, wanted: Sequence[CheckpointPermission]) -> dict[str, CheckpointPermission]:
    """Return, by the ids of the wanted ones, the permissions that their projects have for their models already."""
    by_model: dict[str, dict[str, str]] = {}
    for permission in wanted:
        assert permission.fine_tuned_model_checkpoint is not None
        by_model.setdefault(permission.fine_tuned_model_checkpoint, {})[permission.project_id] = permission.id
    found: dict[str, CheckpointPermission] = {}
    for model, ids in by_model.items():
        of_model = {"model": model, "digest": queries.model_digest(model), "organization_id": wanted[0].organization_id}
        for start in range(0, len(ids), MAX_PAGE_SIZE):
            projects = list(ids)[start : start + MAX_PAGE_SIZE]
            rows = transaction.execute(queries.PERMISSIONS_OF_PROJECTS, project_ids=projects, **of_model)
            found |= {ids[permission.project_id]: permission for permission in map(queries.permission_from_row, rows)}
    return found


def _insert(transaction: Transaction, permission: CheckpointPermission, index: int) -> CheckpointPermission:
    if insert_unless_taken(transaction, checkpoint_permissions, queries.permission_row(permission)):
        assert permission.job_id is not None
        transaction.written.add(checkpoint_permissions, permission.job_id, permission.id)
        return permission
    existing = _stored_by_project(transaction, [permission])  # given twice, or permitted by another transaction since
    if permission.id not in existing:
        raise duplicate("permissions", index, permission.id)
    return existing[permission.id]

"""The repository of checkpoint permissions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from fine_tuning_store.domain import ids, job_validation
from fine_tuning_store.domain.checkpoint import CheckpointPermission
from fine_tuning_store.domain.history_validation import projects
from fine_tuning_store.domain.page import Page
from fine_tuning_store.domain.validation import ID_LENGTH, name, text
from fine_tuning_store.errors import (
    CheckpointNotFoundError,
    CheckpointPermissionNotFoundError,
    CursorNotFoundError,
    InvalidValueError,
)
from fine_tuning_store.repositories.base import Repository, reads, writes
from fine_tuning_store.repositories.job_filters import Order, is_descending
from fine_tuning_store.repositories.job_writes import insert_unless_taken, require_job
from fine_tuning_store.sql import record_mapping, record_statements
from fine_tuning_store.sql.tables import permissions
from fine_tuning_store.transactions import Transaction


class CheckpointPermissionRepository(Repository):
    """Which projects may use a model. A permission belongs to the organization and the job that the model came from.

    A model is named as the API names it: by its `fine_tuned_model` or `fine_tuned_model_checkpoint`. On a store of all
    organizations `organization_id` says whose model is meant, where several have one of that name.
    """

    @writes
    def create(
        self, unit: Transaction, fine_tuned_model_checkpoint: str, project_ids: Iterable[str], *, organization_id: str | None = None
    ) -> tuple[CheckpointPermission, ...]:
        """Give projects leave, and answer their permissions in the order of the projects; what a project has already stays as it is.

        Raises CheckpointNotFoundError if no job has such a model.
        """
        model = name("fine_tuned_model_checkpoint", fine_tuned_model_checkpoint)
        wanted = projects(project_ids)
        owner = _owner(unit, model, self._organization(organization_id) or _only_organization(unit, model))
        require_job(unit, owner.job_id, kept_there=True)
        of_model = {"model": model, "digest": record_mapping.model_digest(model), "organization_id": owner.organization_id}
        for project_id in wanted:
            id, created_at = unit.clock.new_id(ids.PERMISSION)
            row = {**of_model, "id": id, "created_at": created_at, "project_id": project_id, "job_id": owner.job_id}
            insert_unless_taken(unit, permissions, row)
        found = unit.run(record_statements.PERMISSIONS_OF_PROJECTS, project_ids=list(wanted), **of_model)
        by_project = {permission.project_id: permission for permission in map(record_mapping.permission_from_row, found)}
        return tuple(by_project[project_id] for project_id in wanted)

    @reads
    def list(
        self,
        unit: Transaction,
        fine_tuned_model_checkpoint: str,
        *,
        project_id: str | None = None,
        after: str | None = None,
        limit: int = 10,
        order: Order = "desc",
        organization_id: str | None = None,
    ) -> Page[CheckpointPermission]:
        """A page of a model's permissions, newest first, behind the permission `after`. `limit` is 1 to 1000.

        Raises CheckpointNotFoundError if no job has such a model, CursorNotFoundError if `after` names none of its permissions.
        """
        job_validation.page_size("limit", limit)
        model = name("fine_tuned_model_checkpoint", fine_tuned_model_checkpoint)
        owner = self._organization(organization_id) or _only_organization(unit, model)
        parameters: dict[str, Any] = {"model": model, "digest": record_mapping.model_digest(model), "organization_id": owner}
        if project_id is not None:
            parameters["project_id"] = text("project_id", project_id, ID_LENGTH, 1)
        descending = is_descending(order)
        if after is not None:
            cursor = {"permission_id": job_validation.job_id(after, "after"), "digest": parameters["digest"], "organization_id": owner}
            row = unit.run(record_statements.PERMISSION_CURSOR, **cursor).first()
            if row is None:
                _owner(unit, model, owner)
                raise CursorNotFoundError(after)
            parameters |= {"after_created_at": row.created_at, "after_id": row.id}
        statement = record_statements.permissions_page(project=project_id is not None, after=after is not None, descending=descending)
        found = [record_mapping.permission_from_row(row) for row in unit.run(statement, row_limit=limit + 1, **parameters)]
        if not found:
            _owner(unit, model, owner)
        return Page(tuple(found[:limit]), has_more=len(found) > limit)

    @writes
    def delete(self, unit: Transaction, id: str, *, fine_tuned_model_checkpoint: str | None = None) -> None:
        """Take a permission away, if it is one of the model where that is given. Raises CheckpointPermissionNotFoundError."""
        statement, parameters = record_statements.DELETE_PERMISSION, {"permission_id": job_validation.job_id(id)}
        if fine_tuned_model_checkpoint is not None:
            statement = record_statements.DELETE_PERMISSION_OF_MODEL
            model = name("fine_tuned_model_checkpoint", fine_tuned_model_checkpoint)
            parameters["digest"] = record_mapping.model_digest(model)
        if not unit.run(statement, **parameters).rowcount:
            raise CheckpointPermissionNotFoundError(id)


class _Owner(NamedTuple):
    job_id: str
    organization_id: str


def _owner(unit: Transaction, model: str, organization_id: str) -> _Owner:
    row = unit.run(record_statements.JOB_OF_MODEL, model=model, organization_id=organization_id).first()
    if row is None:
        raise CheckpointNotFoundError(model)
    return _Owner._make(row)


def _only_organization(unit: Transaction, model: str) -> str:
    """The organization that has the model, where a store sees all of them and none was named."""
    owners = unit.run(record_statements.ORGANIZATIONS_OF_MODEL, model=model).scalars().all()
    if not owners:
        raise CheckpointNotFoundError(model)
    if len(owners) > 1:
        raise InvalidValueError("organization_id", None, "must be given: several organizations have a model of that name")
    return str(owners[0])

"""The repository of checkpoint permissions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from fine_tuning_store.domain import ids
from fine_tuning_store.domain.history_validation import check_projects, validate_permissions
from fine_tuning_store.domain.job_validation import check_id, check_page_size
from fine_tuning_store.domain.page import Page
from fine_tuning_store.domain.permission import CheckpointPermission
from fine_tuning_store.domain.validation import MAX_ID_LENGTH, check_name, check_text
from fine_tuning_store.errors import (
    CheckpointNotFoundError,
    CheckpointPermissionNotFoundError,
    CursorNotFoundError,
    InvalidValueError,
)
from fine_tuning_store.repositories.base import Repository
from fine_tuning_store.repositories.job_filters import Order, is_descending
from fine_tuning_store.repositories.job_reads import require_job
from fine_tuning_store.repositories.job_writes import insert_unless_taken
from fine_tuning_store.repositories.permission_imports import import_permissions
from fine_tuning_store.retries import MAX_ATTEMPTS
from fine_tuning_store.sql.models import checkpoint_permissions
from fine_tuning_store.sql.queries import permissions as queries
from fine_tuning_store.transactions import Transaction


class CheckpointPermissionRepository(Repository):
    """Which projects may use a model. A permission belongs to the organization and the job that the model comes from.

    A model has the name that the API uses for it: a `fine_tuned_model` or a `fine_tuned_model_checkpoint`. In a store of all
    organizations, `organization_id` says whose model is meant if several have one of that name.
    """

    def create(
        self, fine_tuned_model_checkpoint: str, project_ids: Iterable[str], *, organization_id: str | None = None
    ) -> tuple[CheckpointPermission, ...]:
        """Permit projects to use a model. A permission that a project already has stays as it is.

        Args:
            fine_tuned_model_checkpoint: The name of the model.
            project_ids: The ids of 1 to 1000 projects.
            organization_id: The organization of the model.

        Returns:
            The permissions in the order of the projects.

        Raises:
            CheckpointNotFoundError: No job has a model of this name.
            InvalidValueError: A value cannot be stored, or several organizations have a model of this name.
        """
        model = check_name("fine_tuned_model_checkpoint", fine_tuned_model_checkpoint)
        projects = check_projects(project_ids)
        organization = self._organization(organization_id)
        return self._source.write(lambda transaction: _permit(transaction, model, projects, organization))

    def import_many(self, job_id: str, permissions: Iterable[CheckpointPermission]) -> tuple[CheckpointPermission, ...]:
        """Store permissions from elsewhere with their own ids and times. They belong to the given job and its organization.

        A permission that a project already has for a model stays as it is, so that an import can be repeated.

        Args:
            job_id: The id of the job that the models come from.
            permissions: At most 10,000 permissions with their `fine_tuned_model_checkpoint`.

        Returns:
            The permissions as stored, in the given order.

        Raises:
            JobNotFoundError: There is no such job.
            InvalidValueError: A value cannot be stored, a permission is of another job or organization, or its id is that of a different
                permission. No permission is stored then.
        """
        job_id = check_id(job_id, "job_id")
        validated = validate_permissions(job_id, permissions)
        return self._source.write(lambda transaction: import_permissions(transaction, job_id, validated))

    def list(
        self,
        fine_tuned_model_checkpoint: str,
        *,
        project_id: str | None = None,
        after: str | None = None,
        limit: int = 10,
        order: Order = "desc",
        organization_id: str | None = None,
    ) -> Page[CheckpointPermission]:
        """Return a page of a model's permissions.

        Args:
            fine_tuned_model_checkpoint: The name of the model.
            project_id: Restricts the page to one project.
            after: The id of the permission that the page begins after, usually the `last_id` of the page before.
            limit: The size of the page, 1 to 1000.
            order: `"desc"` for newest first, or `"asc"`.
            organization_id: The organization of the model.

        Raises:
            CheckpointNotFoundError: No job has a model of this name.
            CursorNotFoundError: The model has no permission with the id `after`.
            InvalidValueError: An argument is wrong, or several organizations have a model of this name.
        """
        limit = check_page_size("limit", limit)
        model = check_name("fine_tuned_model_checkpoint", fine_tuned_model_checkpoint)
        organization = self._organization(organization_id)
        project = {} if project_id is None else {"project_id": check_text("project_id", project_id, MAX_ID_LENGTH, 1)}
        if after is not None:
            after = check_id(after, "after")
        statement = queries.permissions_page(project=bool(project), after=after is not None, descending=is_descending(order))

        def read(transaction: Transaction) -> Page[CheckpointPermission]:
            owner = organization or _only_organization(transaction, model)
            of_model = {"digest": queries.model_digest(model), "organization_id": owner}
            key = {} if after is None else _cursor(transaction, after, model, of_model)
            rows = transaction.execute(statement, row_limit=limit + 1, model=model, **of_model, **project, **key).all()
            if not rows:
                _job_of_model(transaction, model, owner)
            return Page(tuple(queries.permission_from_row(row) for row in rows[:limit]), has_more=len(rows) > limit)

        return self._source.read(read)

    def delete(self, id: str, *, fine_tuned_model_checkpoint: str | None = None) -> None:
        """Delete a permission.

        Args:
            id: The id of the permission.
            fine_tuned_model_checkpoint: If given, only a permission of this model is deleted.

        Raises:
            CheckpointPermissionNotFoundError: There is no such permission.
        """
        id = check_id(id)
        statement, parameters = queries.DELETE_PERMISSION, {"permission_id": id}
        if fine_tuned_model_checkpoint is not None:
            statement = queries.DELETE_PERMISSION_OF_MODEL
            parameters["digest"] = queries.model_digest(check_name("fine_tuned_model_checkpoint", fine_tuned_model_checkpoint))

        def write(transaction: Transaction) -> None:
            is_hidden = transaction.reads_before_locking and not transaction.execute(queries.PERMISSION_EXISTS, permission_id=id).first()
            if is_hidden or not transaction.execute(statement, **parameters).rowcount:
                raise CheckpointPermissionNotFoundError(id)

        self._source.write(write)


class _Owner(NamedTuple):
    job_id: str
    organization_id: str


def _permit(
    transaction: Transaction, model: str, projects: tuple[str, ...], organization_id: str | None
) -> tuple[CheckpointPermission, ...]:
    owner = _job_of_model(transaction, model, organization_id or _only_organization(transaction, model))
    require_job(transaction, owner.job_id, locked=True)
    of_model = {"model": model, "digest": queries.model_digest(model), "organization_id": owner.organization_id}
    by_project: dict[str, CheckpointPermission] = {}
    for _ in range(MAX_ATTEMPTS):  # one that PostgreSQL found may be deleted before it is locked
        missing = [project_id for project_id in projects if project_id not in by_project]
        if not missing:
            break
        for project_id in missing:
            id, created_at = transaction.clock.new_id(ids.PERMISSION)
            row = {**of_model, "id": id, "created_at": created_at, "project_id": project_id, "job_id": owner.job_id}
            if insert_unless_taken(transaction, checkpoint_permissions, row):
                transaction.written.add(checkpoint_permissions, owner.job_id, id)
        rows = transaction.execute(queries.PERMISSIONS_OF_PROJECTS, project_ids=missing, **of_model)
        by_project |= {permission.project_id: permission for permission in map(queries.permission_from_row, rows)}
    return tuple(by_project[project_id] for project_id in projects)


def _cursor(transaction: Transaction, after: str, model: str, of_model: dict[str, str]) -> dict[str, Any]:
    """Return the sort key of the permission `after`, as parameters of a page. Raises CursorNotFoundError."""
    row = transaction.execute(queries.PERMISSION_CURSOR, permission_id=after, **of_model).first()
    if row is None:
        _job_of_model(transaction, model, of_model["organization_id"])
        raise CursorNotFoundError(after)
    return {"after_time": row.created_at, "after_id": row.id}


def _job_of_model(transaction: Transaction, model: str, organization_id: str) -> _Owner:
    row = transaction.execute(queries.JOB_OF_MODEL, model=model, organization_id=organization_id).first()
    if row is None:
        raise CheckpointNotFoundError(model)
    return _Owner._make(row)


def _only_organization(transaction: Transaction, model: str) -> str:
    """Return the organization that has the model, where none was named and all are visible."""
    owners = transaction.execute(queries.ORGANIZATIONS_OF_MODEL, model=model).scalars().all()
    if not owners:
        raise CheckpointNotFoundError(model)
    if len(owners) > 1:
        raise InvalidValueError("organization_id", None, "must be given: several organizations have a model of that name")
    return str(owners[0])

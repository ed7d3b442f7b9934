"""The statements of checkpoint permissions, and the mapping of their rows. Each Select joins the jobs, so that it can be scoped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from sqlalchemy import BindParameter, Integer, Select, bindparam, delete, select, union_all

from fine_tuning_store.domain.permission import CheckpointPermission
from fine_tuning_store.sql.models import checkpoint_permissions as permissions
from fine_tuning_store.sql.models import checkpoints, jobs
from fine_tuning_store.sql.queries.jobs import after_key, key_order
from fine_tuning_store.sql.queries.values import constructor
from fine_tuning_store.sql.query_tags import tagged

_permission = constructor(CheckpointPermission)

_MODEL: BindParameter[str] = bindparam("model")
_DIGEST: BindParameter[str] = bindparam("digest")
_ORGANIZATION_ID: BindParameter[str] = bindparam("organization_id")
_PERMISSION_ID: BindParameter[str] = bindparam("permission_id")

#: The columns in the order of the fields.
COLUMNS = (
    *(permissions.c.id, permissions.c.created_at, permissions.c.project_id, permissions.c.model),
    *(permissions.c.organization_id, permissions.c.job_id),
)
_final = jobs.alias("final")
_HAS_MODEL = jobs.c.id.in_(
    union_all(
        select(_final.c.id).where(_final.c.fine_tuned_model == _MODEL),
        select(checkpoints.c.job_id).where(checkpoints.c.model == _MODEL),
    )
)
#: The newest job of an organization whose final model or one of whose checkpoints has a name.
JOB_OF_MODEL = tagged(
    "job_of_model",
    select(jobs.c.id, jobs.c.organization_id)
    .where(_HAS_MODEL, jobs.c.organization_id == _ORGANIZATION_ID)
    .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
    .limit(1),
)
#: The organizations of such jobs, at most two of them.
ORGANIZATIONS_OF_MODEL = tagged("organizations_of_model", select(jobs.c.organization_id).where(_HAS_MODEL).distinct().limit(2))
_OF_MODEL = (
    select(*COLUMNS)
    .join_from(permissions, jobs, jobs.c.id == permissions.c.job_id)
    .where(permissions.c.digest == _DIGEST, permissions.c.model == _MODEL, permissions.c.organization_id == _ORGANIZATION_ID)
)
PERMISSIONS_OF_PROJECTS = tagged(
    "permissions_of_projects",
    _OF_MODEL.where(permissions.c.project_id.in_(bindparam("project_ids", expanding=True))).with_for_update(of=permissions),
)
#: Permissions of any organization and any model.
PERMISSIONS_BY_IDS = tagged("permissions_by_ids", select(*COLUMNS).where(permissions.c.id.in_(bindparam("permission_ids", expanding=True))))
PERMISSION_CURSOR = tagged(
    "permission_cursor",
    select(permissions.c.created_at, permissions.c.id)
    .join_from(permissions, jobs, jobs.c.id == permissions.c.job_id)
    .where(permissions.c.id == _PERMISSION_ID, permissions.c.digest == _DIGEST, permissions.c.organization_id == _ORGANIZATION_ID),
)
PERMISSION_EXISTS = tagged(
    "permission_exists",
    select(permissions.c.id).join_from(permissions, jobs, jobs.c.id == permissions.c.job_id).where(permissions.c.id == _PERMISSION_ID),
)
DELETE_PERMISSION = tagged("delete_permission", delete(permissions).where(permissions.c.id == _PERMISSION_ID))
DELETE_PERMISSION_OF_MODEL = DELETE_PERMISSION.where(permissions.c.digest == _DIGEST)


@cache
def permissions_page(*, project: bool, after: bool, descending: bool) -> Select[Any]:
    """Return the statement of a page of the permissions of an organization's model, perhaps of one project, perhaps after a row."""
    statement = tagged("permissions_page", _OF_MODEL)
    if project:
        statement = statement.where(permissions.c.project_id == bindparam("project_id"))
    key = permissions.c.created_at, permissions.c.id
    if after:
        statement = statement.where(*after_key(*key, descending=descending))
    return statement.order_by(*key_order(*key, descending=descending)).limit(bindparam("row_limit", type_=Integer))


def permission_from_row(row: Sequence[Any]) -> CheckpointPermission:
    """Return the permission of a row of a page."""
    return _permission(*row)


def model_digest(model: str) -> str:
    """Return what stands for the name of a model in an index."""
    return sha256(model.encode()).hexdigest()


def permission_row(permission: CheckpointPermission) -> dict[str, Any]:
    """Return the row of a permission that has all its members."""
    assert permission.fine_tuned_model_checkpoint is not None
    return {
        "id": permission.id,
        "job_id": permission.job_id,
        "organization_id": permission.organization_id,
        "created_at": permission.created_at,
        "project_id": permission.project_id,
        "model": permission.fine_tuned_model_checkpoint,
        "digest": model_digest(permission.fine_tuned_model_checkpoint),
    }

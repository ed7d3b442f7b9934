"""The endpoints of checkpoint permissions."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response

from fine_tuning_store import InvalidValueError, Page, page_to_wire, permission_to_wire
from openai_service.bodies import Body, reply
from openai_service.callers import Store
from openai_service.jobs import Limit, limited

router = APIRouter(prefix="/v1/fine_tuning/checkpoints")


@router.post("/{model:path}/permissions")
def create_permissions(store: Store, model: str, payload: Body) -> Response:
    for member in payload:
        if member != "project_ids":
            raise InvalidValueError(member, payload[member], "is not a member of this request")
    permissions = store.checkpoint_permissions.create(model, payload.get("project_ids", ()))
    return reply(page_to_wire(Page(permissions, has_more=False), permission_to_wire))


@router.get("/{model:path}/permissions")
def list_permissions(
    store: Store,
    model: str,
    *,
    project_id: str | None = None,
    after: str | None = None,
    limit: Limit = 10,
    order: Literal["ascending", "descending"] = "descending",
) -> Response:
    page = store.checkpoint_permissions.list(
        model, project_id=project_id, after=after or None, limit=limit or 1, order="asc" if order == "ascending" else "desc"
    )
    return reply(page_to_wire(limited(page, limit), permission_to_wire))


@router.delete("/{model:path}/permissions/{permission_id}")
def delete_permission(store: Store, model: str, permission_id: str) -> Response:
    store.checkpoint_permissions.delete(permission_id, fine_tuned_model_checkpoint=model)
    return reply({"id": permission_id, "object": "checkpoint.permission", "deleted": True})

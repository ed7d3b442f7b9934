"""The endpoints of jobs. They are plain functions, so FastAPI runs them in threads."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from fine_tuning_store import (
    FineTuningJob,
    InvalidValueError,
    Page,
    checkpoint_to_wire,
    event_to_wire,
    job_request_from_wire,
    job_to_wire,
    page_to_wire,
)
from openai_service.bodies import Body, reply
from openai_service.callers import Store

MAX_PAGE = 20  # jobs: a client that asks for more gets shorter pages
Limit = Annotated[int, Query(ge=0, le=1000)]


class JobId(Convertor[str]):
    """The id of a job in a path. It may contain slashes, as those of other servers do, but not the name of a call at its end."""

    regex = "(?:(?!/(?:cancel|pause|resume|events|checkpoints)$).)+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("job_id", JobId())
router = APIRouter(prefix="/v1/fine_tuning")


@router.post("/jobs")
def create_job(store: Store, payload: Body, request: Request, idempotency_key: Annotated[str | None, Header()] = None) -> Response:
    arguments = job_request_from_wire(payload)
    with store.begin() as unit:  # the job and its first event, or neither
        job = unit.jobs.create(**arguments, idempotency_key=idempotency_key)
        if idempotency_key is None or not unit.events.tail(job.id, limit=1).data:  # else the request was repeated
            unit.events.append(job.id, f"Created fine-tuning job: {job.id}")
    if request.app.state.demo_worker is not None:
        request.app.state.demo_worker.add(job.id)
    return reply(job_to_wire(job))


@router.get("/jobs")
def list_jobs(store: Store, request: Request, after: str | None = None, limit: Limit = 20) -> Response:
    query = request.query_params
    pairs = {name[len("metadata[") : -1]: value for name, value in query.items() if name.startswith("metadata[") and name.endswith("]")}
    no_metadata = query.get("metadata")  # the client of Node sends null as an empty text
    if no_metadata is not None and (no_metadata not in ("null", "") or pairs):
        raise InvalidValueError("metadata", no_metadata, "must be metadata[key]=value pairs, or null alone")
    has_metadata = None if no_metadata is None else False
    page: Page[FineTuningJob] = store.jobs.list(
        after=after or None, limit=min(limit, MAX_PAGE) or 1, metadata=pairs, has_metadata=has_metadata
    )
    return reply(page_to_wire(limited(page, limit), job_to_wire))


def limited(page: Page[Any], limit: int) -> Page[Any]:
    """Return the page, or an empty one for a limit of 0, for which one row was read."""
    return page if limit > 0 else Page((), has_more=bool(page.data))


@router.get("/jobs/{id:job_id}")
def get_job(store: Store, id: str) -> Response:
    return reply(job_to_wire(store.jobs.get(id)))


@router.post("/jobs/{id:job_id}/cancel")
def cancel_job(store: Store, id: str) -> Response:
    return reply(job_to_wire(store.jobs.cancel(id, message="Fine-tuning job cancelled")))


@router.post("/jobs/{id:job_id}/pause")
def pause_job(store: Store, id: str) -> Response:
    return reply(job_to_wire(store.jobs.pause(id, message="Fine-tuning job paused")))


@router.post("/jobs/{id:job_id}/resume")
def resume_job(store: Store, id: str) -> Response:
    return reply(job_to_wire(store.jobs.resume(id, message="Fine-tuning job resumed")))


@router.get("/jobs/{id:job_id}/events")
def list_events(store: Store, id: str, after: str | None = None, limit: Limit = 20) -> Response:
    return reply(page_to_wire(limited(store.events.list(id, after=after or None, limit=limit or 1), limit), event_to_wire))


@router.get("/jobs/{id:job_id}/checkpoints")
def list_checkpoints(store: Store, id: str, after: str | None = None, limit: Limit = 10) -> Response:
    return reply(page_to_wire(limited(store.checkpoints.list(id, after=after or None, limit=limit or 1), limit), checkpoint_to_wire))

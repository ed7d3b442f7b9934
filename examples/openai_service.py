"""The fine-tuning endpoints of the OpenAI API on a SQL database, for the official `openai` client.

pip install "fine-tuning-store[postgresql]" fastapi uvicorn
FINE_TUNING_API_KEYS=my-key=org-mine uvicorn openai_service:app --app-dir examples

FINE_TUNING_STORE_URL    the URL of the database, by default sqlite:///fine_tuning.db
FINE_TUNING_API_KEYS     the accepted API keys: key=organization,key=organization
FINE_TUNING_DEMO_WORKER  1 (the default): a thread pretends to train the jobs; 0: they wait for a worker of yours
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Literal, NoReturn

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from fine_tuning_store import (
    FineTuningJob,
    FineTuningStore,
    FineTuningStoreError,
    Hyperparameters,
    InvalidValueError,
    JobStatus,
    Page,
    checkpoint_to_wire,
    error_to_wire,
    event_to_wire,
    job_request_from_wire,
    job_to_wire,
    page_to_wire,
    permission_to_wire,
)

MAX_BODY = 300_000  # bytes: a grader's code may have 256 kB
MAX_PAGE = 20  # jobs: a client that asks for more gets shorter pages
#: How many requests of one organization run at once, so that one that waits for a lock leaves threads and connections to others, and how
#: many seconds another one waits for its turn.
MAX_REQUESTS, TURN_SECONDS = 8, 2.0
RETRY_LATER = {"Retry-After": "2"}  # seconds
Wire = dict[str, Any]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Migrate the database, and keep the store open while the service runs."""
    keys = (pair.partition("=") for pair in os.environ.get("FINE_TUNING_API_KEYS", "").split(",") if pair.strip())
    app.state.organizations = {key.strip(): organization.strip() for key, _, organization in keys}
    with FineTuningStore.from_url(os.environ.get("FINE_TUNING_STORE_URL", "sqlite:///fine_tuning.db")) as store:
        store.schema.upgrade()  # safe when several services start at once: one migrates, the others wait
        app.state.store = store
        app.state.turns = defaultdict(lambda: asyncio.Semaphore(MAX_REQUESTS))
        stop = threading.Event()
        worker = threading.Thread(target=demo_worker, args=(store, stop))
        if os.environ.get("FINE_TUNING_DEMO_WORKER", "1") == "1":
            worker.start()
        yield
        stop.set()
        if worker.ident is not None:  # the thread was started
            worker.join()


# Dependencies of the requests


async def store_of_caller(request: Request) -> AsyncIterator[FineTuningStore]:
    """Yield the store, restricted to the organization of the request's API key."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    organization = request.app.state.organizations.get(key.strip()) if scheme.lower() == "bearer" else None
    if organization is None:
        raise HTTPException(401, "Incorrect API key provided.")
    turns: asyncio.Semaphore = request.app.state.turns[organization]
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await turns.acquire()
    except TimeoutError:
        raise HTTPException(503, "Too many of your requests are waiting.", headers=RETRY_LATER) from None
    try:
        store: FineTuningStore = request.app.state.store
        yield store.for_organization(organization)
    finally:
        turns.release()


Store = Annotated[FineTuningStore, Depends(store_of_caller)]


async def body(request: Request, _: Store) -> Wire:
    """Return the JSON object in the request. A body that is too long is read to its end, so that the client gets the error."""
    content = bytearray()
    try:
        async for chunk in request.stream():
            if len(content) <= MAX_BODY:
                content += chunk
    except ClientDisconnect:  # the response reaches no client, but a traceback would reach the log
        raise HTTPException(400, "The connection ended before the request body did.") from None
    if len(content) > MAX_BODY:
        raise HTTPException(413, f"The request body has more than {MAX_BODY} bytes.")
    try:
        payload = json.loads(bytes(content), parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise HTTPException(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(payload, dict):
        raise HTTPException(400, "The JSON body of your request must be an object.")
    return payload


def refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


Body = Annotated[Wire, Depends(body)]


# Endpoints. They are plain functions, so FastAPI runs them in threads.

router = APIRouter(prefix="/v1/fine_tuning")


@router.post("/jobs")
def create_job(store: Store, payload: Body, idempotency_key: Annotated[str | None, Header()] = None) -> Wire:
    request = job_request_from_wire(payload)
    with store.begin() as unit:  # the job and its first event, or neither
        job = unit.jobs.create(**request, idempotency_key=idempotency_key)
        if idempotency_key is None or not unit.events.tail(job.id, limit=1).data:  # else the request was repeated
            unit.events.append(job.id, f"Created fine-tuning job: {job.id}")
    return job_to_wire(job)


@router.get("/jobs")
def list_jobs(store: Store, request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> Wire:
    query = request.query_params
    pairs = {name[len("metadata[") : -1]: value for name, value in query.items() if name.startswith("metadata[") and name.endswith("]")}
    no_metadata = query.get("metadata")
    if no_metadata is not None and (no_metadata != "null" or pairs):
        raise InvalidValueError("metadata", no_metadata, "must be metadata[key]=value pairs, or null alone")
    has_metadata = None if no_metadata is None else False
    return page_to_wire(store.jobs.list(after=after, limit=min(limit, MAX_PAGE), metadata=pairs, has_metadata=has_metadata), job_to_wire)


@router.get("/jobs/{id}")
def get_job(store: Store, id: str) -> Wire:
    return job_to_wire(store.jobs.get(id))


@router.post("/jobs/{id}/cancel")
def cancel_job(store: Store, id: str) -> Wire:
    return job_to_wire(store.jobs.cancel(id, message="Fine-tuning job cancelled"))


@router.post("/jobs/{id}/pause")
def pause_job(store: Store, id: str) -> Wire:
    return job_to_wire(store.jobs.pause(id, message="Fine-tuning job paused"))


@router.post("/jobs/{id}/resume")
def resume_job(store: Store, id: str) -> Wire:
    return job_to_wire(store.jobs.resume(id, message="Fine-tuning job resumed"))


@router.get("/jobs/{id}/events")
def list_events(store: Store, id: str, after: str | None = None, limit: int = 20) -> Wire:
    return page_to_wire(store.events.list(id, after=after, limit=limit), event_to_wire)


@router.get("/jobs/{id}/checkpoints")
def list_checkpoints(store: Store, id: str, after: str | None = None, limit: int = 10) -> Wire:
    return page_to_wire(store.checkpoints.list(id, after=after, limit=limit), checkpoint_to_wire)


@router.post("/checkpoints/{model:path}/permissions")
def create_permissions(store: Store, model: str, payload: Body) -> Wire:
    for member in payload:
        if member != "project_ids":
            raise InvalidValueError(member, payload[member], "is not a member of this request")
    permissions = store.checkpoint_permissions.create(model, payload.get("project_ids", ()))
    return page_to_wire(Page(permissions, has_more=False), permission_to_wire)


@router.get("/checkpoints/{model:path}/permissions")
def list_permissions(
    store: Store,
    model: str,
    *,
    project_id: str | None = None,
    after: str | None = None,
    limit: int = 10,
    order: Literal["ascending", "descending"] = "descending",
) -> Wire:
    page = store.checkpoint_permissions.list(
        model, project_id=project_id, after=after, limit=limit, order="asc" if order == "ascending" else "desc"
    )
    return page_to_wire(page, permission_to_wire)


@router.delete("/checkpoints/{model:path}/permissions/{permission_id}")
def delete_permission(store: Store, model: str, permission_id: str) -> Wire:
    store.checkpoint_permissions.delete(permission_id, fine_tuned_model_checkpoint=model)
    return {"id": permission_id, "object": "checkpoint.permission", "deleted": True}


app = FastAPI(title="Fine-tuning", lifespan=lifespan)
app.include_router(router)


# Errors, in the format of the API


@app.exception_handler(Exception)
@app.exception_handler(FineTuningStoreError)
def handle_error(_: Request, error: Exception) -> Response:
    status, content = error_to_wire(error)
    return json_response(status, content, RETRY_LATER if status == 503 else None)


@app.exception_handler(StarletteHTTPException)
def handle_http_error(request: Request, error: StarletteHTTPException) -> Response:
    messages = {404: f"Invalid URL ({request.method} {request.url.path})", 405: f"Not allowed: {request.method} {request.url.path}"}
    code = "invalid_api_key" if error.status_code == 401 else None
    return json_response(error.status_code, error_body(messages.get(error.status_code, error.detail), None, code), error.headers)


@app.exception_handler(RequestValidationError)
def handle_invalid_parameter(_: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    return json_response(400, error_body(f"{first['loc'][-1]}: {first['msg']}", str(first["loc"][-1])))


def error_body(message: str, param: str | None, code: str | None = None) -> Wire:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def json_response(status: int, content: Wire, headers: Any = None) -> Response:
    return Response(json.dumps(content), status, headers, "application/json")  # as ASCII: an error may quote a lone surrogate


# Worker


def demo_worker(store: FineTuningStore, stop: threading.Event) -> None:
    """Apply the next transition to every open job, twice a second. A worker of yours would train instead."""
    while not stop.wait(0.5):
        try:
            for job in store.jobs.iterate(status=(JobStatus.VALIDATING_FILES, JobStatus.QUEUED, JobStatus.RUNNING)):
                with suppress(FineTuningStoreError):  # its user or another worker changed it first
                    step(store, job)
        except Exception:
            logging.getLogger("uvicorn.error").exception("the demo worker failed and retries")


RESOLVED_HYPERPARAMETERS: Wire = {
    "n_epochs": 3,
    "batch_size": 1,
    "learning_rate_multiplier": 2.0,
    "beta": 0.1,
    "compute_multiplier": 1.0,
    "eval_interval": 1,
    "eval_samples": 1,
}


def step(store: FineTuningStore, job: FineTuningJob) -> None:
    """Apply the next transition to a job."""
    if job.status is JobStatus.VALIDATING_FILES:
        store.jobs.enqueue(job.id, message="Files validated, moving job to queued state")
    elif job.status is JobStatus.QUEUED:
        numbers = {name: number for name, number in RESOLVED_HYPERPARAMETERS.items() if getattr(job.hyperparameters, name) == "auto"}
        store.jobs.start(job.id, hyperparameters=Hyperparameters(**numbers), message="Fine-tuning job started")
    else:
        model = f"ft:{job.model[:64]}:demo:{job.suffix or ''}:{job.id[-8:]}"
        with store.begin() as unit:  # everything, or nothing if the job was cancelled or paused in the meantime
            unit.jobs.succeed(job.id, fine_tuned_model=model, trained_tokens=4_800, result_files=[f"file-{job.id[-24:]}"])
            metrics = {"step": 100, "train_loss": 0.25}
            unit.events.append(job.id, "Step 100/100: training loss=0.25", type="metrics", data=metrics)
            unit.checkpoints.create(job.id, step_number=100, fine_tuned_model_checkpoint=model, metrics=metrics)
            unit.events.append(job.id, f"New fine-tuned model created: {model}")
            unit.events.append(job.id, "The job has successfully completed")

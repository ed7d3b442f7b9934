"""Callers: the organization of an API key, and how many of its requests run at once."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from fine_tuning_store import FineTuningStore
from openai_service.errors import RETRY_LATER, error_response

#: How many requests of one organization run at once, so that one that waits for a lock leaves threads and connections to others, and how
#: many seconds another one waits for its turn.
MAX_REQUESTS, TURN_SECONDS = 8, 2.0
#: What needs no key.
PUBLIC = ("/health", "/docs", "/openapi.json")


class Callers:
    """The application with an `x-request-id` on each response and, but for PUBLIC, the store of the caller's organization.

    It wraps the application instead of being a dependency of its endpoints, so that responses to failed requests have the id, too.
    """

    def __init__(self, api: FastAPI) -> None:
        self.api = api
        self.turns: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(MAX_REQUESTS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.api(scope, receive, send)
        send = _with_request_id(send)
        if scope["path"].removeprefix(scope.get("root_path", "")) in PUBLIC:
            return await self.api(scope, receive, send)
        organization = self._organization(Headers(scope=scope).get("authorization", ""))
        if organization is None:
            refusal = error_response(401, "Incorrect API key provided.", code="invalid_api_key")
            return await refusal(scope, receive, send)
        turns = self.turns[organization]
        if not await _take(turns):
            refusal = error_response(503, "Too many of your requests are waiting.", headers=RETRY_LATER)
            return await refusal(scope, receive, send)
        try:
            scope.setdefault("state", {})["store"] = self.api.state.store.for_organization(organization)
            return await self.api(scope, receive, send)
        finally:
            turns.release()

    def _organization(self, authorization: str) -> str | None:
        scheme, _, key = authorization.partition(" ")
        organization: str | None = self.api.state.organizations.get(key.strip()) if scheme.lower() == "bearer" else None
        return organization


async def _take(turns: asyncio.Semaphore) -> bool:
    if not turns.locked():
        return await turns.acquire()
    try:
        async with asyncio.timeout(TURN_SECONDS):
            return await turns.acquire()
    except TimeoutError:
        return False


def _with_request_id(send: Send) -> Send:
    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["x-request-id"] = f"req_{uuid.uuid4().hex}"
        await send(message)

    return send_with_id


async def store_of_caller(request: Request) -> FineTuningStore:
    """Return the store, restricted to the organization of the caller."""
    store: FineTuningStore = request.state.store
    return store


Store = Annotated[FineTuningStore, Depends(store_of_caller)]

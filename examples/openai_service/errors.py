"""Errors in the format of the API."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from fine_tuning_store import FineTuningStoreError, error_to_wire

logger = logging.getLogger("uvicorn.error")
RETRY_LATER = {"Retry-After": "2"}  # seconds


def add_handlers(api: FastAPI) -> None:
    """Let the application respond to every error in the format of the API."""
    api.add_exception_handler(Exception, _handle_error)
    api.add_exception_handler(FineTuningStoreError, _handle_error)
    api.add_exception_handler(HTTPException, _handle_http_error)
    api.add_exception_handler(RequestValidationError, _handle_invalid_parameter)


def error_response(
    status: int, message: str, param: str | None = None, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error as the response to a request."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return _json_response(status, {"error": error}, headers)


def _json_response(status: int, content: dict[str, Any], headers: Mapping[str, str] | None) -> Response:
    return Response(json.dumps(content), status, headers, "application/json")  # as ASCII: an error may quote a lone surrogate


async def _handle_error(_: Request, error: Exception) -> Response:
    status, content = error_to_wire(error)
    if status == 500 and isinstance(error, FineTuningStoreError):  # others are logged by Starlette
        logger.error("a request failed: %s", error)  # without its cause, in which a driver may quote a stored value
    return _json_response(status, content, RETRY_LATER if status == 503 else None)


async def _handle_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path
    if error.status_code == 404:
        return error_response(404, f"Invalid URL ({method} {path})")
    if error.status_code == 405:
        routes = [route for route in request.app.state.routes if route.path_regex.match(request.scope["path"])]
        allowed = sorted({name for route in routes for name in route.methods})  # Starlette names those of the first route
        return error_response(405, f"Not allowed: {method} {path}", headers={"Allow": ", ".join(allowed)})
    return error_response(error.status_code, error.detail, headers=error.headers)


async def _handle_invalid_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return error_response(400, f"{name}: {first['msg']}", name)

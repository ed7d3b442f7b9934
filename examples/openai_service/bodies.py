"""The JSON of requests."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn

from fastapi import Depends, HTTPException, Request, Response
from starlette.requests import ClientDisconnect

MAX_BODY = 300_000  # bytes: a grader's code may have 256 kB
Wire = dict[str, Any]


async def body(request: Request) -> Wire:
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
        payload = json.loads(bytes(content), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise HTTPException(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(payload, dict):
        raise HTTPException(400, "The JSON body of your request must be an object.")
    return payload


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


Body = Annotated[Wire, Depends(body)]


def reply(content: Wire) -> Response:
    """Return JSON as the response to a request. FastAPI would look through each value of it once more."""
    return Response(json.dumps(content), media_type="application/json")

"""The errors of this library as the API's JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from fine_tuning_store import errors


def error_to_wire(error: Exception) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the JSON body for an error.

    404 with the code `fine_tune_not_found` for what does not exist. 400 for illegal transitions and wrong values, with the member at fault
    as `param`: the official client would retry a 409. 503 for StoreBusyError, to be
    sent with a Retry-After header. 500 for everything else, without details of the database.
    """
    for kind, body in _BODIES.items():
        if isinstance(error, kind):
            return body(error)
    return _body(500, "The server had an error while processing your request.", None, None, "server_error")


def _body(
    status: int, message: str, param: str | None, code: str | None, type: str = "invalid_request_error"
) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": _sendable(message), "type": type, "param": param and _sendable(param), "code": code}}


def _sendable(words: str) -> str:
    """Return the text with lone surrogates, which UTF-8 cannot encode, written as escapes."""
    return words.encode(errors="backslashreplace").decode()


_BODIES: Mapping[type[Exception], Callable[[Any], tuple[int, dict[str, Any]]]] = MappingProxyType(
    {
        errors.JobNotFoundError: lambda error: _body(
            404, f"Could not find fine tune: {error.job_id}", "fine_tune_id", "fine_tune_not_found"
        ),
        errors.CheckpointNotFoundError: lambda error: _body(404, str(error), "fine_tuned_model_checkpoint", "checkpoint_not_found"),
        errors.CheckpointPermissionNotFoundError: lambda error: _body(404, str(error), "permission_id", "checkpoint_permission_not_found"),
        errors.CursorNotFoundError: lambda error: _body(400, str(error), "after", None),
        errors.IllegalTransitionError: lambda error: _body(
            400, f'Cannot {error.transition} a job {error.job_id} that already has status "{error.status}".', None, None
        ),
        errors.JobReferencedError: lambda error: _body(400, f"Cannot delete job {error.job_id}: it is in use.", None, None),
        errors.JobAlreadyExistsError: lambda error: _body(400, str(error), "id", None),
        errors.IdempotencyConflictError: lambda error: _body(400, str(error), "Idempotency-Key", "idempotency_conflict"),
        errors.StoreBusyError: lambda _: _body(503, "The service is busy. Try again in a few seconds.", None, None, "server_error"),
        errors.InvalidValueError: lambda error: _body(400, str(error), error.field, None),
    }
)

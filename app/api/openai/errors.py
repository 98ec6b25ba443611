"""Errors as OpenAI words them. Codes that it has are used; where it has none, ours stand."""

from __future__ import annotations

import json
from typing import Any

from flask import Response

from app.api.schemas.openai import OpenAIError
from app.core.response_body import ResponseBody
from app.errors import (
    ContentBlocked,
    CyberImageError,
    GenerationError,
    JobCancelled,
    ModelUnavailable,
    RateLimited,
    SpendLimit,
    StillRunning,
    Unauthorized,
    UnknownModel,
)

RETRY_HEADER = "x-should-retry"  # what its SDKs obey before they look at the status

_CODES: tuple[tuple[type[CyberImageError], str, int | None], ...] = (  # the first that fits; None: the error's status
    (UnknownModel, "model_not_found", 404),
    (ContentBlocked, "content_policy_violation", 400),
    (SpendLimit, "insufficient_quota", None),
    (RateLimited, "rate_limit_exceeded", None),
    (Unauthorized, "invalid_api_key", None),
)
_PARAMETERS = {"model_id": "model", "num_images": "n", "width": "size", "height": "size", "inputs": "image", "body": ""}


def answers(good: type[ResponseBody], *problems: type[CyberImageError]) -> dict[Any, Any]:
    """The documentation of a route's answers: `good`, and the `problems` it may raise."""
    reference = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}
    codes: dict[int, set[str]] = {}
    for kind in problems:
        code, status = _coded(kind)
        codes.setdefault(status, set()).add(f"`{code}`")
    documented = {
        status: {"description": ", ".join(sorted(names)), "content": reference} for status, names in codes.items()
    }
    return {200: good, **documented, "default": OpenAIError}


def _coded(kind: type[CyberImageError]) -> tuple[str, int]:
    """Code and status of an error here."""
    code, own = next(((code, own) for known, code, own in _CODES if issubclass(kind, known)), (kind.code, None))
    return code, own or kind.status


def error_response(error: CyberImageError, status: int) -> Response:
    """The response for `error`."""
    code, own = _coded(type(error))
    status = own if own != error.status else status
    body = error_body(error, code, status)
    response = Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")
    if not _is_passing(error):
        response.headers[RETRY_HEADER] = "false"
    return response


def error_body(error: CyberImageError, code: str | None = None, status: int | None = None) -> dict[str, object]:
    """`{"error": …}`. `code` and `status` are the error's own, unless others are given."""
    status = status or error.status
    about = {
        "message": error.detail.replace("settings.", ""),
        "type": "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error",
        "param": _parameter(error),
        "code": code or error.code,
    }
    return {"error": about}


def _parameter(error: CyberImageError) -> str | None:
    """The field that is wrong, by its name here; None without one."""
    if isinstance(error, UnknownModel):
        return "model"
    fields = [one.field.removeprefix("settings.") for one in error.errors]
    if not fields:
        return None
    whole = "inputs" if fields[0].startswith("inputs.") else fields[0]  # a list that is not the client's own
    return _PARAMETERS.get(whole, whole) or None


def _is_passing(error: CyberImageError) -> bool:
    """Whether the same request could succeed a moment later: a job that has ended with an error is joined again by a
    retry, and answers the same."""
    if isinstance(error, StillRunning | ModelUnavailable):
        return True
    return not isinstance(error, GenerationError | JobCancelled | SpendLimit)

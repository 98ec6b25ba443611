"""Errors as AUTOMATIC1111 words them, and the documentation of its routes' answers."""

from __future__ import annotations

import json
from typing import Any

from flask import Response

from app.api.schemas.a1111 import WebuiError
from app.core.response_body import ResponseBody
from app.errors import CyberImageError

NULL: dict[str, Any] = {"description": "", "content": {"application/json": {"schema": {"type": "null"}}}}
_REFERENCE = {"application/json": {"schema": {"$ref": "#/components/schemas/WebuiError"}}}


def error_response(error: CyberImageError, status: int) -> Response:
    """The response for `error`. Names of fields are the core's own: the sentence says which it was."""
    wrong = "; ".join(f"{one.field}: {one.message}" for one in error.errors)
    body = {"error": error.code, "detail": error.detail, "body": "", "errors": wrong}
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")


def answers(good: Any, *problems: type[CyberImageError]) -> dict[Any, Any]:
    """The documentation of a route's answers: `good`, and the `problems` it may raise."""
    codes: dict[int, list[str]] = {}
    for kind in problems:
        codes.setdefault(kind.status, []).append(f"`{kind.code}`")
    documented = {status: {"description": ", ".join(names), "content": _REFERENCE} for status, names in codes.items()}
    return {200: good, **documented, "default": WebuiError}


def array_of(kind: type[ResponseBody]) -> dict[str, Any]:
    """A JSON array of `kind`."""
    return {"description": "", "content": {"application/json": {"schema": {"type": "array", "items": _schema(kind)}}}}


def _schema(kind: type[ResponseBody]) -> dict[str, Any]:
    return kind.model_json_schema(mode="serialization")

"""The OpenAPI document, a page that shows it without a script and without a network, and the icon that browsers ask
for beside both."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template

from app.api.http.document import operations
from app.api.routing import Access, RoutePolicy, declare
from app.errors import error_codes
from app.services.urls import url_prefix

pages = Blueprint("docs", __name__)


@pages.get("/openapi.json")
@declare(RoutePolicy(Access.PUBLIC, budget=None))
def openapi() -> Response:
    document = current_app.api_doc  # type: ignore[attr-defined]
    return jsonify({**document, "servers": [{"url": url_prefix()}]} if url_prefix() else document)


@pages.get("/favicon.ico")
@declare(RoutePolicy(Access.PUBLIC, budget=None))
def favicon() -> Response:
    return current_app.send_static_file("favicon.ico")


@pages.get("/docs")
@declare(RoutePolicy(Access.PUBLIC, budget=None))
def docs() -> str:
    document = current_app.api_doc  # type: ignore[attr-defined]
    return render_template(
        "docs.html",
        root=url_prefix(),
        document=document,
        operations=list(operations(document)),
        codes=error_codes().values(),
        type_of=type_of,
    )


def type_of(schema: dict[str, Any]) -> str:
    """The type of a field in a few words: `string`, `integer or null`, `list of ImageRef`."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    for several in ("anyOf", "allOf", "oneOf"):
        if several in schema:
            return " or ".join(type_of(one) for one in schema[several])
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items') or {})}"
    return str(schema.get("const") or schema.get("type") or "any")

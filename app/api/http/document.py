"""Completes the OpenAPI document with what pydantic and flask-openapi3 do not say, for generators of clients.

Errors stand under `4XX` and `5XX`, because generators take `default` for the type of every response, pictures too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from app.api.http.document_forms import add_form
from app.core.webhooks import EVENTS
from app.errors import error_codes

CONTACT = {"name": "The operator of this server"}
LICENSE = {"name": "Apache 2.0", "identifier": "Apache-2.0"}
_JSON = "application/json"
_HEADERS = {
    "X-Request-Id": ("The id of the request, also in the logs.", {"type": "string"}),
    "Location": ("Where to follow what was accepted.", {"type": "string", "format": "uri-reference"}),
    "Retry-After": ("Seconds after which to try again.", {"type": "integer", "minimum": 0}),
    "ETag": ("The version of the content, for conditional requests.", {"type": "string"}),
}
_BY_STATUS = {"202": "Location", "206": "ETag", "304": "ETag", "429": "Retry-After", "503": "Retry-After"}


def complete(document: dict[str, Any], forms: Collection[tuple[str, str]]) -> dict[str, Any]:
    """`document`, completed in place. `forms` are the (method, path) of routes that take pictures as files, too."""
    document["info"] |= {"license": LICENSE, "contact": CONTACT}
    document["servers"] = [{"url": "/"}]
    components = document["components"]
    components["headers"] = {
        name: {"description": words, "schema": schema} for name, (words, schema) in _HEADERS.items()
    }
    components["schemas"]["Problem"]["properties"]["code"]["enum"] = list(error_codes())
    for method, path, about in operations(document):
        _split_errors(about["responses"])
        for status, response in about["responses"].items():
            response["headers"] = _headers_of(status, response)
        if (method, path) in forms and "requestBody" in about:
            add_form(about, components["schemas"])
    for schema in _requested(document):
        _drop_defaults(schema)
    document["webhooks"] = _webhooks()
    return document


class Operation(NamedTuple):
    method: str
    path: str
    about: dict[str, Any]


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Every route of an OpenAPI document."""
    for path, item in document["paths"].items():
        for method, about in item.items():
            yield Operation(method.upper(), path, about)


def _split_errors(responses: dict[str, Any]) -> None:
    other = responses.pop("default", None)
    if other is not None:
        responses["4XX"] = {**other, "description": "Any other error of the request"}
        responses["5XX"] = {**other, "description": "Any other error of the server"}


def _headers_of(status: str, response: Mapping[str, Any]) -> dict[str, Any]:
    names = ["X-Request-Id", *([_BY_STATUS[status]] if status in _BY_STATUS else [])]
    if status == "200" and not {_JSON, "text/event-stream"} & set(response.get("content", {})):
        names.append("ETag")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _requested(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The schemas of request bodies and of all that they refer to."""
    schemas, seen = document["components"]["schemas"], set[str]()
    pending = [operation.about.get("requestBody", {}) for operation in operations(document)]
    while pending:
        for reference in _references(pending.pop()):
            name = reference.rpartition("/")[2]
            if name not in seen:
                seen.add(name)
                pending.append(schemas[name])
                yield schemas[name]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def _drop_defaults(schema: dict[str, Any]) -> None:
    """Of members, into their descriptions: generators make a member with a default required."""
    for member in schema.get("properties", {}).values():
        default = member.pop("default", None)
        if isinstance(default, (bool, int, float, str)) and default != "":
            member["description"] = f"{member.get('description', '')} Default: {json.dumps(default)}.".strip()


def _webhooks() -> dict[str, Any]:
    message = {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"type": "string", "enum": list(EVENTS)},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {"$ref": "#/components/schemas/JobBody"},
        },
    }
    operation = {
        "operationId": "job_ended",
        "summary": "Tell the end of a job",
        "description": "Sent to the job's `webhook_url`, signed as Standard Webhooks says; see docs/WEBHOOKS.md.",
        "tags": ["webhooks"],
        "security": [],
        "requestBody": {"required": True, "content": {_JSON: {"schema": message}}},
        "responses": {"2XX": {"description": "Taken."}, "410": {"description": "No more messages are wanted."}},
    }
    return {"job_ended": {"post": operation}}

"""Generate docs/API_REFERENCE.md from the current OpenAPI document: `python -m tools.api_reference`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app import create_app
from app.api.http.document import operations
from app.api.native.docs import type_of
from app.config import ROOT, load_settings
from app.errors import error_codes
from tools import generated

PAGE = ROOT / "docs" / "API_REFERENCE.md"


def main(check: bool) -> int:
    return generated.write({PAGE: render(openapi_document())}, check=check)


def openapi_document() -> dict[str, Any]:
    """The contents of /openapi.json, without starting a server."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            {}, None, database_url=f"sqlite:///{folder}/empty.sqlite", images_dir=Path(folder) / "images"
        )
        app = create_app(settings)
        document: dict[str, Any] = app.api_doc
        app.extensions["cyberimage"].context.close()
    return document


def render(document: dict[str, Any]) -> str:
    return "\n".join(_lines(document)) + "\n"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    yield "# API reference"
    yield ""
    yield "Generated from the OpenAPI document (`/openapi.json`) by `python -m tools.api_reference`; do not edit."
    yield ""
    yield document["info"]["description"]
    for group in document["tags"]:
        yield from ("", f"## {group['name']}", "", group["description"])
        for operation in operations(document):
            if group["name"] in operation.about["tags"]:
                yield from _operation(operation.method, operation.path, operation.about)
    yield from ("", "## WebSocket", "", "From [V1.md](V1.md); OpenAPI does not describe WebSockets.", *_websocket())
    yield from ("", "## Bodies", "", "A star marks members that are always there.")
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema:
            yield from _schema(name, schema)
    yield from ("", "## Error codes", "", "| code | status | meaning |", "|---|---|---|")
    for kind in error_codes().values():
        yield f"| `{kind.code}` | {kind.status} | {kind.title} |"


def _websocket() -> Iterator[str]:
    """What docs/V1.md says of the WebSocket, with its examples."""
    _, _, rest = (ROOT / "docs" / "V1.md").read_text().partition("## Live, over a WebSocket\n")
    yield rest.rstrip("\n")


def _operation(method: str, path: str, about: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"### {method} {path}", "", f"{about['summary']}. {about.get('description', '')}".strip())
    if about.get("parameters"):
        yield from ("", "| parameter | in | type | meaning |", "|---|---|---|---|")
        for one in about["parameters"]:
            star = "*" if one.get("required") else ""
            yield (
                f"| `{one['name']}`{star} | {one['in']} | {_cell(_kind(one['schema']))} "
                f"| {_cell(one.get('description', ''))} |"
            )
    for media_type, content in about.get("requestBody", {}).get("content", {}).items():
        yield from ("", f"Body: {_link(content['schema'])} as {media_type}")
    yield from ("", "| status | answer | |", "|---|---|---|")
    for status, response in about["responses"].items():
        bodies = [f"{_link(content['schema'])} {kind}" for kind, content in response.get("content", {}).items()]
        yield f"| {status} | {_cell(response['description'])} | {_cell('; '.join(bodies))} |"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"### {name}", "")
    if "description" in schema:
        yield from (" ".join(schema["description"].split()), "")
    yield from ("| member | type | meaning |", "|---|---|---|")
    required = schema.get("required", [])
    for field, about in schema["properties"].items():
        star = "*" if field in required else ""
        yield f"| `{field}`{star} | {_cell(_kind(about))} | {_cell(about.get('description', ''))} |"


def _kind(schema: dict[str, Any]) -> str:
    """The type, its limits and its default."""
    words = [type_of(schema)]
    sources = [schema, *schema.get("anyOf", [])]
    for key, word in (("minimum", "≥"), ("maximum", "≤"), ("minLength", "length ≥"), ("maxLength", "length ≤")):
        words += [f"{word} {source[key]}" for source in sources if key in source]
    if schema.get("default") is not None and not isinstance(schema["default"], dict):
        words.append(f"default {schema['default']}")
    return ", ".join(words)


def _link(schema: dict[str, Any]) -> str:
    name = type_of(schema)
    return f"[{name}](#{name.lower()})" if "$ref" in schema else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))

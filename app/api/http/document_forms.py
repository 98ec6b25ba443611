"""Forms (multipart/form-data) in the OpenAPI document: the members of a JSON body, as a form can carry them.

A picture is a file, several are files named `name[]`; null is a field that is not there. Members that are objects or
lists of them are left out, except `settings`, which a form has as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FORM = "multipart/form-data"
_JSON = "application/json"
_BINARY = {"type": "string", "format": "binary"}
_FILES = ("image", "mask", "inputs")  # where they are texts
_AS_JSON = ("settings",)
_SCALARS = ("string", "integer", "number", "boolean")
# openapi-python-client forgets an import where there are two kinds of bodies and no optional parameter.
_REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "required": False,
    "description": "The id of the request in its answer and in the logs: letters, digits, `.`, `_`, `-`, 64 at most.",
    "schema": {"type": "string"},
}


def add_form(about: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Document that the operation `about` takes a form too, unless a form cannot carry what its body must have."""
    body = about["requestBody"]
    name = body["content"][_JSON]["schema"]["$ref"].rpartition("/")[2]
    plain = schemas[name]
    members = dict(_members(plain["properties"]))
    if not set(plain.get("required", ())) <= members.keys():
        return
    schemas[f"{name}Form"] = {**plain, "title": f"{name}Form", "properties": members}
    body["content"][FORM] = {"schema": {"$ref": f"#/components/schemas/{name}Form"}}
    about.setdefault("parameters", []).append(_REQUEST_ID)


def _members(properties: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, schema in properties.items():
        choices = [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]
        about = {key: value for key, value in schema.items() if key in ("title", "description")}
        if name in _FILES and any(choice.get("type") == "string" for choice in choices):
            yield name, {**_BINARY, "description": "The file."}
        elif any(_is_list_of_texts(choice) for choice in choices):
            yield f"{name}[]", {"type": "array", "items": _BINARY, "description": "Files, one after another."}
        elif name in _AS_JSON:
            yield name, {**choices[0], **about}
        elif scalars := [choice for choice in choices if choice.get("type") in _SCALARS]:
            yield name, {**(scalars[0] if len(scalars) == 1 else {"anyOf": scalars}), **about}


def _is_list_of_texts(schema: Mapping[str, Any]) -> bool:
    items = schema.get("items", {})
    return any(choice.get("type") == "string" for choice in items.get("anyOf", [items]))

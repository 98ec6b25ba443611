"""JSON schemas of tools, plain: without references, titles and nulls, which some assistants do not read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_NULL = {"type": "null"}


def input_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a tool's arguments. Null is taken for absent, and need not be told."""
    schema = model.model_json_schema()
    known = schema.pop("$defs", {})
    plain: dict[str, Any] = _plain(schema, known)
    plain.pop("description", None)  # of the class
    plain["additionalProperties"] = False
    return plain


def output_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a tool's structured content."""
    return model.model_json_schema(mode="serialization")


def _plain(schema: Any, known: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_plain(part, known) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        return _plain({**known[schema["$ref"].rpartition("/")[2]], **rest}, known)
    if "anyOf" in schema:
        others = [one for one in schema["anyOf"] if one != _NULL]
        rest = {name: value for name, value in schema.items() if name != "anyOf"}
        return _plain({**others[0], **rest} if len(others) == 1 else {**rest, "anyOf": others}, known)
    return {
        name: {key: _plain(value, known) for key, value in part.items()}
        if name == "properties"
        else _plain(part, known)
        for name, part in schema.items()
        if not (name == "title" and isinstance(part, str)) and not (name == "default" and part is None)
    }

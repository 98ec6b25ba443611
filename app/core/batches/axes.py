"""Axes of a batch: a field of the request, and the values that it takes one after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, JsonValue

from app.core.field_aliases import REQUEST_ALIASES, SETTING_ALIASES
from app.core.generation_settings import GenerationSettings
from app.core.json_values import Body
from app.core.request import GenerationInput
from app.errors import FieldError, InvalidRequest

MOST_AXES = 8
MOST_VALUES = 10_000
LONGEST_LABEL = 100
REPLACE = "prompt_replace"
SIZE = "size"
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\d{1,3}")
_SIZE = re.compile(r"(\d{1,5})\s*[x×]\s*(\d{1,5})", re.IGNORECASE)


class AxisChoice(Body):
    """One axis of a batch."""

    field: str = Field(
        min_length=1,
        max_length=200,
        description="The field that changes: `prompt`, `negative_prompt`, `model_id`, `image`, a setting such as"
        " `settings.guidance_scale` or `settings.loras.0.scale`, `size` (its values are like `512x768`), or"
        " `prompt_replace`: words of the prompt.",
    )
    values: list[JsonValue] = Field(min_length=1, max_length=MOST_VALUES, description="Of `prompt`: templates.")
    search: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Of `prompt_replace`: the words that each value takes the place of; absent: the first value.",
    )


@dataclass(frozen=True)
class Axis:
    """An axis of a batch that was accepted: what changes, and what its values are called."""

    field: str
    values: Sequence[str]


def own_field(field: str) -> str:
    """The path of `field` in a request: `cfg_scale` is `settings.guidance_scale`. Raises InvalidRequest."""
    if field == SIZE:
        return SIZE
    parts = field.split(".")
    first = REQUEST_ALIASES.get(parts[0], parts[0])
    if first not in GenerationInput.model_fields and first != REPLACE:
        parts, first = ["settings", *parts], "settings"
    if first == "settings" and len(parts) > 1:
        parts[1] = SETTING_ALIASES.get(parts[1], parts[1])
    known = first != "settings" or (len(parts) > 1 and parts[1] in GenerationSettings.model_fields)
    if not known or not all(_PART.fullmatch(part) for part in parts):
        raise _unknown(field)
    if first in ("prompt", "negative_prompt", "model_id", "mask", REPLACE) and len(parts) > 1:
        raise _unknown(field)
    return ".".join([first, *parts[1:]])


def _unknown(field: str) -> InvalidRequest:
    message = f"{field!r} is no field of a request; take one of POST /api/generate, such as settings.guidance_scale"
    return InvalidRequest(message, errors=[FieldError("field", message)])


def with_value(body: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `body` that has `value` at `path`; what is not on the path is shared. Raises InvalidRequest where the
    path leads into a list that has no such place, and for a size that is none."""
    if path == SIZE:
        width, height = _sides(value)
        return with_value(with_value(body, "settings.width", width), "settings.height", height)
    changed: dict[str, Any] = _with(body, path.split("."), value, path)
    return changed


def _with(part: Any, names: Sequence[str], value: Any, path: str) -> Any:
    if not names:
        return value
    name = names[0]
    if name.isdecimal():
        if not isinstance(part, Sequence) or isinstance(part, str) or int(name) >= len(part):
            message = f"names place {name} of a list that the request does not have; send the list too"
            raise InvalidRequest(f"{path} {message}.", errors=[FieldError("field", message)])
        return [*part[: int(name)], _with(part[int(name)], names[1:], value, path), *part[int(name) + 1 :]]
    known = part if isinstance(part, Mapping) else {}
    return {**known, name: _with(known.get(name), names[1:], value, path)}


def _sides(value: Any) -> tuple[int, int]:
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        message = f"must be sizes such as 512x768, width first; {label_of(value)} is none"
        raise InvalidRequest(f"values {message}.", errors=[FieldError("values", message)])
    return int(found[1]), int(found[2])


def label_of(value: Any) -> str:
    """What a value is called on the sheet and in tables."""
    if isinstance(value, Mapping) and isinstance(value.get("id"), str):
        scale = value.get("scale")
        text = value["id"] if scale is None else f"{value['id']} {scale}"
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        text = " + ".join(label_of(each) for each in value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"

"""The inputs of a remote model as fields of a form, in the order that its schema gives them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.core.model_schema import InputSchema

Kind = Literal["text", "long_text", "integer", "number", "boolean", "choice", "file", "json"]

_LONG_NAMES = re.compile(r"(?:^|_)(?:prompt|text|caption|lyrics|story|script|description|message)s?(?:_|$)")
_LONG_CHARS = 100  # of a default or a limit, from which a text gets more than one line
_SIMPLE: Mapping[Any, Kind] = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}


@dataclass(frozen=True)
class FormField:
    """One input. `many`: it takes a list of values of its kind. A `choice` has `choices`; `json` is anything that no
    simple control can hold. `minimum` and `maximum` are inclusive, `step` is None where any number will do."""

    name: str
    title: str
    description: str
    kind: Kind
    many: bool
    required: bool
    default: Any
    choices: tuple[Any, ...]
    minimum: float | None
    maximum: float | None
    step: float | None
    max_length: int | None
    max_items: int | None
    secret: bool


def form_fields(schema: InputSchema) -> list[FormField]:
    """All inputs, by `x-order`; those without one come last, as the schema lists them."""
    found = [(name, _with_option(schema, schema.facts(own))) for name, own in schema.properties.items()]
    return [_field(schema, name, facts) for name, facts in sorted(found, key=lambda one: _order(one[1]))]


def _field(schema: InputSchema, name: str, facts: Mapping[str, Any]) -> FormField:
    items = _with_option(schema, schema.facts(facts.get("items") or {}))
    item_kind = _kind(name, items)
    many = _type(facts) == "array" and item_kind != "json"
    value = items if many else facts
    kind = item_kind if many else _kind(name, facts)
    minimum, maximum = _bounds(value, kind)
    return FormField(
        name=name,
        title=_title(name, facts.get("title")),
        description=_text(facts.get("description")),
        kind=kind,
        many=many,
        required=name in schema.required,
        default=facts.get("default"),
        choices=tuple(value["enum"]) if kind == "choice" else (),
        minimum=minimum,
        maximum=maximum,
        step=_number(value.get("multipleOf")) or (1 if kind == "integer" else None),
        max_length=_count(value.get("maxLength")),
        max_items=_count(facts.get("maxItems")) if many else None,
        secret=value.get("format") == "password" or value.get("x-cog-secret") is True,
    )


def _with_option(schema: InputSchema, facts: dict[str, Any]) -> dict[str, Any]:
    """`facts` with those of the first alternative, where the schema has several and says nothing else of the type."""
    options = [one for one in facts.get("anyOf") or facts.get("oneOf") or () if one.get("type") != "null"]
    return facts if "type" in facts or "enum" in facts or not options else schema.facts(options[0]) | facts


def _kind(name: str, facts: Mapping[str, Any]) -> Kind:
    if isinstance(facts.get("enum"), list) and facts["enum"]:
        return "choice"
    if facts.get("format") == "uri":
        return "file"
    kind = _SIMPLE.get(_type(facts), "json")
    return "long_text" if kind == "text" and _is_long(name, facts) else kind


def _is_long(name: str, facts: Mapping[str, Any]) -> bool:
    default = _text(facts.get("default"))
    limit = _count(facts.get("maxLength")) or 0
    return bool(_LONG_NAMES.search(name.lower())) or "\n" in default or max(len(default), limit) > _LONG_CHARS


def _type(facts: Mapping[str, Any]) -> Any:
    """The type, the first but null where there are several."""
    found = facts.get("type")
    return next((one for one in found if one != "null"), None) if isinstance(found, list) else found


def _bounds(facts: Mapping[str, Any], kind: Kind) -> tuple[float | None, float | None]:
    """The inclusive bounds. An exclusive one of a fraction is left to the server's check."""
    low, high = _number(facts.get("minimum")), _number(facts.get("maximum"))
    above, below = _number(facts.get("exclusiveMinimum")), _number(facts.get("exclusiveMaximum"))
    beside = 1 if kind == "integer" else 0
    lows = [bound for bound in (low, None if above is None else above + beside) if bound is not None]
    highs = [bound for bound in (high, None if below is None else below - beside) if bound is not None]
    return max(lows, default=None), min(highs, default=None)


def _title(name: str, given: Any) -> str:
    title = _text(given).strip()
    return title if title and title != name else name.replace("_", " ").strip().capitalize()


def _order(facts: Mapping[str, Any]) -> float:
    order = _number(facts.get("x-order"))
    return math.inf if order is None else order


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) < math.inf else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

"""Validates inputs of remote models against the OpenAPI document of the model.

jsonschema does the validation. This module converts the document to a form that it supports, converts text values to
the schema's types, and reports errors by field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from app.core.gallery_references import GALLERY
from app.errors import FieldError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_GALLERY_URL = re.compile(r"(?:https?://[^/\s]+)?/api/image/([0-9a-f]{32})|([0-9a-f]{32})")
_URI = re.compile(r"(?:https?://\S+|(?i:data):[^,\s]*,\S+|" + re.escape(GALLERY) + r"[0-9a-f]{32})", re.ASCII)
_SHOWN_CHARS = 80


@dataclass(frozen=True)
class Checked:
    """A validated input with defaults filled in, or its errors. `unknown` are names that the model does not have; they
    are left out."""

    input: dict[str, Any]
    errors: tuple[FieldError, ...] = ()
    unknown: tuple[str, ...] = ()


class InputSchema:
    """The input schema of a model. `document` is its OpenAPI document; without an Input schema it accepts any input."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        components = document.get("components") or {}
        schemas = components.get("schemas") or {}
        self.schema: dict[str, Any] = _to_json_schema(
            {**(schemas.get("Input") or {}), "components": {"schemas": schemas}}
        )
        self.properties: Mapping[str, Any] = self.schema.get("properties") or {}
        self.required: frozenset[str] = frozenset(self.schema.get("required") or ())
        self.is_open = not self.properties

    def check(self, given: Mapping[str, Any]) -> Checked:
        """Validate `given`. Fields that are null count as absent."""
        input = {name: value for name, value in given.items() if value is not None and self.has(name)}
        input = {name: self._converted(name, value) for name, value in input.items()}
        input = self.defaults() | input
        errors = tuple(error for problem in self.problems(input) for error in _field_errors(problem))
        return Checked(input, errors, tuple(name for name in given if not self.has(name)))

    def defaults(self) -> dict[str, Any]:
        """The schema's defaults, sent for absent fields."""
        found = {name: self.facts(schema).get("default") for name, schema in self.properties.items()}
        return {name: default for name, default in found.items() if default is not None}

    def problems(self, input: Mapping[str, Any]) -> list[ValidationError]:
        """jsonschema's errors for `input`, sorted by path."""
        return sorted(self._validator.iter_errors(dict(input)), key=lambda problem: [str(p) for p in problem.path])

    def has(self, name: str) -> bool:
        return self.is_open or name in self.properties

    def facts(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """`schema` merged with the schemas it refers to: either may have the default or enum."""
        found: dict[str, Any] = {}
        options = [part for part in schema.get("anyOf") or () if part.get("type") != "null"]
        for part in (
            *(schema.get("allOf") or ()),
            *(options if len(options) == 1 else ()),
        ):  # nullable: the only other option
            found |= self.facts(part)
        if "$ref" in schema:
            found |= self.facts(self._resolve_ref(schema["$ref"]))
        return found | {name: value for name, value in schema.items() if name not in ("allOf", "$ref")}

    def files(self) -> list[str]:
        """The fields that hold a file or a list of files."""
        return [name for name in self.properties if self._is_file(name)]

    def as_field_value(self, name: str, value: Any) -> Any:
        """`value` as the field expects it: in a list if the field is one."""
        return [value] if "items" in self.facts(self.properties.get(name, {})) else value

    def _is_file(self, name: str) -> bool:
        facts = self.facts(self.properties.get(name, {}))
        return "uri" in (facts.get("format"), self.facts(facts.get("items") or {}).get("format"))

    def _converted(self, name: str, value: Any) -> Any:
        if self._is_file(name):
            return (
                [_normalised_reference(one) for one in value]
                if isinstance(value, list)
                else _normalised_reference(value)
            )
        return _converted(value, self.facts(self.properties.get(name, {})).get("type"))

    def _resolve_ref(self, reference: str) -> Mapping[str, Any]:
        found: Any = self.schema
        for part in reference.removeprefix("#/").split("/"):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) else {}

    @cached_property
    def _validator(self) -> Draft202012Validator:
        from jsonschema import Draft202012Validator, FormatChecker  # imported here: most processes never need it

        formats = FormatChecker(formats=())
        formats.checks("uri")(is_file_address)
        return Draft202012Validator(self.schema, format_checker=formats)


def is_file_address(value: Any) -> bool:
    """True for a URL, a data URI or a gallery reference, and for values that are not strings."""
    return not isinstance(value, str) or _URI.fullmatch(value) is not None


def _normalised_reference(value: Any) -> Any:
    """Normalise references to gallery pictures; other values are returned unchanged."""
    ours = _GALLERY_URL.fullmatch(value.strip()) if isinstance(value, str) else None
    return value if ours is None else GALLERY + (ours[1] or ours[2])


def _converted(value: Any, wanted: Any) -> Any:
    """Text converted to the number or boolean that the schema expects, if possible; else `value`."""
    wanted = next((kind for kind in wanted if kind != "null"), None) if isinstance(wanted, list) else wanted
    if isinstance(value, float) and wanted == "integer" and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    if wanted == "boolean":
        return {"true": True, "false": False}.get(text.lower(), value)
    if wanted == "integer" and re.fullmatch(r"[+-]?\d{1,30}", text):
        return int(text)
    if wanted == "number" and re.fullmatch(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,2})?", text):
        return float(text)
    return value


def _to_json_schema(schema: Any) -> Any:
    """OpenAPI 3.0 converted to JSON Schema: `nullable`, and boolean exclusive bounds."""
    if isinstance(schema, list):
        return [_to_json_schema(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _to_json_schema(part) for name, part in schema.items()}
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(found.get(flag), bool) and found.pop(flag) and bound in found:
            found[flag] = found.pop(bound)
    if found.get("nullable") is True:
        found.pop("nullable")
        if isinstance(found.get("type"), str) and "enum" not in found:
            return found | {"type": [found["type"], "null"]}
        return {"anyOf": [found, {"type": "null"}]}
    return found


def _field_errors(problem: ValidationError) -> Iterator[FieldError]:
    path = ".".join(["input", *(str(part) for part in problem.absolute_path)])
    if problem.validator == "required":
        missing = [name for name in problem.validator_value if name not in problem.instance]
        yield from (FieldError(f"{path}.{name}", "is required") for name in missing)
    else:
        yield FieldError(path, _message(problem))


def _message(problem: ValidationError) -> str:
    rule = problem.validator_value
    words = {
        "type": lambda: f"must be {' or '.join(rule) if isinstance(rule, list) else rule}",
        "enum": lambda: f"must be one of {', '.join(map(repr, rule))}",
        "minimum": lambda: f"must be {rule} or more",
        "maximum": lambda: f"must be {rule} or less",
        "exclusiveMinimum": lambda: f"must be more than {rule}",
        "exclusiveMaximum": lambda: f"must be less than {rule}",
        "minLength": lambda: f"must have {rule} characters or more",
        "maxLength": lambda: f"must have {rule} characters or less",
        "format": lambda: "must be a URL, a data URI or the id of a gallery picture",
    }
    message = words.get(str(problem.validator), lambda: problem.message)()
    shown = repr(problem.instance)
    return f"{message[:500]}, not {shown[:_SHOWN_CHARS]}" if problem.validator in words else message[:500]

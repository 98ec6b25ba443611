"""The fields of a form, from schemas as providers publish them."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.model_form import FormField, form_fields
from app.core.model_schema import InputSchema
from tests.providers.schemas import document

REAL = document(  # with every shape that Replicate's published schemas have
    {
        "image": {
            "type": "string",
            "format": "uri",
            "nullable": True,
            "title": "Image",
            "x-order": 2,
            "description": "Start",
        },
        "prompt": {"type": "string", "title": "Prompt", "x-order": 0, "description": "What to draw"},
        "aspect_ratio": {
            "allOf": [{"$ref": "#/components/schemas/aspect_ratio"}],
            "default": "1:1",
            "x-order": 1,
            "description": "Shape",
        },
        "megapixels": {"anyOf": [{"$ref": "#/components/schemas/megapixels"}, {"type": "null"}], "x-order": 3},
        "seed": {"type": "integer", "nullable": True, "x-order": 4},
        "guidance": {"type": "number", "minimum": 0, "maximum": 10, "default": 3.5, "x-order": 5},
        "strength": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "multipleOf": 0.05, "x-order": 6},
        "frames": {"type": "integer", "minimum": 16, "exclusiveMinimum": True, "maximum": 81, "x-order": 7},
        "go_fast": {"type": "boolean", "default": True, "x-order": 8},
        "image_input": {
            "type": "array",
            "items": {"type": "string", "format": "uri"},
            "maxItems": 3,
            "default": [],
            "x-order": 9,
        },
        "tags": {"type": "array", "items": {"type": "string"}, "x-order": 10},
        "looks": {"type": "array", "items": {"$ref": "#/components/schemas/look"}, "x-order": 11},
        "api_key": {"type": "string", "format": "password", "x-order": 12},
        "lora_weights": {"type": "string", "default": "owner/name", "x-order": 13},
        "replicate_weights": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "options": {"type": "object", "default": {"a": 1}},
        "shots": {"type": "array", "items": {"type": "object"}},
        "note": {"type": "string", "default": "x" * 101},
    },
    required=("prompt", "frames"),
    aspect_ratio={"enum": ["1:1", "16:9"], "type": "string", "title": "aspect_ratio", "description": "An enumeration."},
    megapixels={"enum": ["1", "0.25"], "type": "string", "title": "megapixels"},
    look={"enum": ["warm", "cold"], "type": "string"},
)
FIELDS = {field.name: field for field in form_fields(InputSchema(REAL))}


def only(**schema: Any) -> FormField:
    (field,) = form_fields(InputSchema(document({"it": schema})))
    return field


def test_the_order_is_the_schemas_own() -> None:
    assert list(FIELDS)[:4] == ["prompt", "aspect_ratio", "image", "megapixels"]
    assert list(FIELDS)[-4:] == ["replicate_weights", "options", "shots", "note"]


@pytest.mark.parametrize(
    ("name", "kind", "many"),
    [
        ("prompt", "long_text", False),
        ("aspect_ratio", "choice", False),
        ("image", "file", False),
        ("megapixels", "choice", False),
        ("seed", "integer", False),
        ("guidance", "number", False),
        ("go_fast", "boolean", False),
        ("image_input", "file", True),
        ("tags", "text", True),
        ("looks", "choice", True),
        ("lora_weights", "text", False),
        ("replicate_weights", "text", False),
        ("options", "json", False),
        ("shots", "json", False),
        ("note", "long_text", False),
    ],
)
def test_a_control_for_every_input(name: str, kind: str, many: bool) -> None:
    assert (FIELDS[name].kind, FIELDS[name].many) == (kind, many)


def test_titles_descriptions_defaults_and_choices_are_found_behind_references() -> None:
    ratio = FIELDS["aspect_ratio"]
    assert (ratio.title, ratio.description, ratio.default) == ("Aspect ratio", "Shape", "1:1")
    assert ratio.choices == ("1:1", "16:9")
    assert FIELDS["megapixels"].choices == ("1", "0.25")
    assert FIELDS["looks"].choices == ("warm", "cold")
    assert FIELDS["image"].title == "Image"
    assert FIELDS["options"].default == {"a": 1}
    assert [name for name, field in FIELDS.items() if field.required] == ["prompt", "frames"]
    assert [name for name, field in FIELDS.items() if field.secret] == ["api_key"]


def test_ranges_and_steps() -> None:
    guidance, strength, frames = FIELDS["guidance"], FIELDS["strength"], FIELDS["frames"]
    assert (guidance.minimum, guidance.maximum, guidance.step) == (0, 10, None)
    assert (strength.minimum, strength.maximum, strength.step) == (0, 1, 0.05)
    assert (frames.minimum, frames.maximum, frames.step) == (17, 81, 1)
    assert FIELDS["image_input"].max_items == 3


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": "1", "maximum": float("inf"), "x-order": "first", "title": 5, "maxLength": -1},
        {"type": ["null"], "description": None, "enum": []},
        {"anyOf": []},
        {},
    ],
)
def test_an_odd_schema_still_has_a_field(schema: dict[str, Any]) -> None:
    field = only(**schema)
    assert (field.title, field.minimum, field.maximum, field.max_length) == ("It", None, None, None)


def test_a_model_without_a_schema_has_none() -> None:
    assert form_fields(InputSchema({})) == []

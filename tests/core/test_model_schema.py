"""Inputs of remote models are validated by jsonschema; errors are reported by field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from app.core.model_schema import GALLERY, InputSchema, is_file_address
from tests.providers.schemas import CLIP, PAINTER, document

IMAGE = "0123456789abcdef" * 2
FORMATS = FormatChecker(formats=())
FORMATS.checks("uri")(is_file_address)

numbers = st.one_of(st.integers(-20, 20), st.floats(-20, 20).map(lambda number: round(number, 2)))
texts = st.one_of(st.sampled_from(["", "a", "abcd", "https://x.example/y", "1", "2.5", "true"]), st.text(max_size=6))


@st.composite
def properties(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean", "uri", "enum", "list", "reference"]))
    low, high = sorted((draw(st.integers(-10, 10)), draw(st.integers(-10, 10))))
    schemas: dict[str, dict[str, Any]] = {
        "string": {"type": "string", "minLength": draw(st.integers(0, 2)), "maxLength": 4},
        "integer": {"type": "integer", "minimum": low, "maximum": high},
        "number": {"type": "number", "minimum": low, "exclusiveMaximum": draw(st.booleans()), "maximum": high},
        "boolean": {"type": "boolean"},
        "uri": {"type": "string", "format": "uri"},
        "enum": {"type": "string", "enum": ["a", "b", "1"]},
        "list": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
        "reference": {"allOf": [{"$ref": "#/components/schemas/shape"}]},
    }
    return schemas[kind] | ({"nullable": True} if draw(st.booleans()) and kind != "reference" else {})


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    names = ["a", "b", "c", "d"]
    given = {name: draw(properties()) for name in names}
    required = tuple(draw(st.sets(st.sampled_from(names))))
    shape = {"type": "string", "enum": ["a", "1:1"]}
    values = st.one_of(numbers, texts, st.booleans(), st.none(), st.lists(st.integers(0, 3), max_size=3))
    input = draw(st.dictionaries(st.sampled_from([*names, "unknown"]), values))
    return document(given, required, shape=shape), input


def by_hand(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.0 converted to JSON Schema, independently of the code under test."""
    found = dict(schema)
    if isinstance(found.get("exclusiveMaximum"), bool):
        excluded = found.pop("exclusiveMaximum")
        if excluded:
            found["exclusiveMaximum"] = found.pop("maximum")
    if found.pop("nullable", False):
        found = {"anyOf": [found, {"type": "null"}]}
    return found


@given(cases())
def test_the_verdict_is_that_of_jsonschema(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    model, input = case
    checked = InputSchema(model).check(input)
    schemas = model["components"]["schemas"]
    modern = {name: by_hand(schema) for name, schema in schemas["Input"]["properties"].items()}
    reference = {**schemas["Input"], "properties": modern, "components": {"schemas": schemas}}
    validator = Draft202012Validator(reference, format_checker=FORMATS)
    assert (not checked.errors) == validator.is_valid(checked.input)
    assert set(checked.unknown) == set(input) - set(modern)
    faulty = {error.field.split(".")[1] for error in checked.errors}
    for problem in validator.iter_errors(checked.input):
        missing = set(schemas["Input"]["required"]) - set(checked.input)
        assert problem.validator == "required" or problem.absolute_path[0] in faulty
        assert problem.validator != "required" or missing & faulty
    for name, value in checked.input.items():  # what was right already is sent as it was
        if Draft202012Validator({**reference, "required": []}, format_checker=FORMATS).is_valid({name: input[name]}):
            assert value == input[name]


@pytest.mark.parametrize(
    ("input", "becomes"),
    [
        ({"prompt": "x", "seed": "42"}, {"seed": 42}),
        ({"prompt": "x", "guidance": "2.5"}, {"guidance": 2.5}),
        ({"prompt": "x", "num_outputs": 2.0}, {"num_outputs": 2}),
        ({"prompt": "x", "go_fast": "False"}, {"go_fast": False}),
        ({"prompt": "x", "seed": None}, {}),
        ({"prompt": "x", "image": IMAGE}, {"image": GALLERY + IMAGE}),
        ({"prompt": "x", "image": f"/api/image/{IMAGE}"}, {"image": GALLERY + IMAGE}),
        ({"prompt": "x", "image": "https://a.example/b.png"}, {"image": "https://a.example/b.png"}),
    ],
)
def test_conversion_and_defaults(input: dict[str, Any], becomes: dict[str, Any]) -> None:
    defaults = {
        "num_outputs": 1,
        "num_inference_steps": 4,
        "guidance": 3.5,
        "go_fast": True,
        "aspect_ratio": "1:1",
        "output_format": "webp",
    }
    checked = InputSchema(PAINTER).check(input)
    assert checked.errors == ()
    assert checked.input == defaults | {"prompt": "x"} | becomes


@pytest.mark.parametrize(
    ("input", "field", "message"),
    [
        ({}, "input.prompt", "is required"),
        ({"prompt": 3}, "input.prompt", "must be string"),
        ({"prompt": "x", "num_outputs": 9}, "input.num_outputs", "must be 4 or less, not 9"),
        ({"prompt": "x", "num_outputs": "many"}, "input.num_outputs", "must be integer, not 'many'"),
        ({"prompt": "x", "aspect_ratio": "2:7"}, "input.aspect_ratio", "must be one of '1:1'"),
        ({"prompt": "x", "image": "file:///etc/passwd"}, "input.image", "the id of a gallery picture"),
        ({"prompt": "x", "go_fast": "perhaps"}, "input.go_fast", "must be boolean"),
    ],
)
def test_what_is_wrong(input: dict[str, Any], field: str, message: str) -> None:
    (error,) = InputSchema(PAINTER).check(input).errors
    assert error.field == field
    assert message in error.message


def test_files() -> None:
    assert InputSchema(PAINTER).files() == ["image"]
    assert InputSchema(CLIP).files() == ["start_image"]
    several = InputSchema(document({"pictures": {"type": "array", "items": {"type": "string", "format": "uri"}}}, ()))
    assert several.files() == ["pictures"]
    assert several.check({"pictures": [IMAGE, "https://x.example"]}).input == {
        "pictures": [GALLERY + IMAGE, "https://x.example"]
    }
    assert several.check({"pictures": ["nowhere"]}).errors[0].field == "input.pictures.0"


def test_a_model_without_a_schema_takes_anything() -> None:
    checked = InputSchema({}).check({"whatever": [1, {"deep": None}]})
    assert (checked.input, checked.errors, checked.unknown) == ({"whatever": [1, {"deep": None}]}, (), ())

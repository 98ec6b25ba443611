"""OpenAPI documents of models, as Replicate publishes them."""

from __future__ import annotations

from typing import Any


def document(properties: dict[str, Any], required: tuple[str, ...] = ("prompt",), **schemas: Any) -> dict[str, Any]:
    given = {"type": "object", "title": "Input", "required": list(required), "properties": properties}
    output = {"type": "array", "items": {"type": "string", "format": "uri"}, "title": "Output"}
    return {"openapi": "3.0.2", "components": {"schemas": {"Input": given, "Output": output, **schemas}}}


PAINTER = document(
    {
        "prompt": {"type": "string", "title": "Prompt", "x-order": 0},
        "seed": {"type": "integer", "nullable": True},
        "num_outputs": {"type": "integer", "default": 1, "minimum": 1, "maximum": 4},
        "num_inference_steps": {"type": "integer", "default": 4, "minimum": 1, "maximum": 50},
        "guidance": {"type": "number", "default": 3.5, "minimum": 0, "maximum": 10},
        "go_fast": {"type": "boolean", "default": True},
        "aspect_ratio": {"allOf": [{"$ref": "#/components/schemas/aspect_ratio"}], "default": "1:1"},
        "output_format": {"enum": ["webp", "jpg", "png"], "type": "string", "default": "webp"},
        "image": {"type": "string", "format": "uri"},
    },
    aspect_ratio={"enum": ["1:1", "16:9", "9:16", "4:3"], "type": "string", "title": "aspect_ratio"},
)
SIZED = document(
    {
        "prompt": {"type": "string"},
        "width": {"type": "integer", "minimum": 64, "maximum": 1024, "default": 512},
        "height": {"type": "integer", "minimum": 64, "maximum": 1024, "default": 512},
        "steps": {"type": "integer", "minimum": 1, "maximum": 100},
        "seed": {"type": "integer", "minimum": 0, "maximum": 65535},
    }
)
CLIP = document(
    {
        "prompt": {"type": "string"},
        "start_image": {"type": "string", "format": "uri"},
        "duration": {"type": "integer", "enum": [5, 10], "default": 5},
        "seed": {"type": "integer"},
    },
    required=("prompt", "start_image"),
)

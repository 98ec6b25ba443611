"""Translates a native request to the input schema of a remote model. What does not fit becomes a warning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.core.generation_settings import RANDOM_SEED
from app.core.model_schema import InputSchema
from app.core.request import GenerationRequest

NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "text", "text_prompt", "caption"),
    "negative_prompt": ("negative_prompt",),
    "num_inference_steps": ("num_inference_steps", "steps", "num_steps"),
    "guidance_scale": ("guidance_scale", "guidance", "cfg_scale", "cfg"),
    "seed": ("seed",),
    "strength": ("strength", "prompt_strength"),
    "num_frames": ("num_frames", "frames", "video_length"),
    "fps": ("fps", "frames_per_second", "frame_rate"),
    "num_images": ("num_outputs", "num_images", "number_of_images", "n"),
}
_FIRST_FRAMES = (
    "first_frame_image",
    "first_frame",
    "start_image",
    "image",
    "input_image",
    "image_input",
    "input_images",
)
_PICTURES = frozenset(("image", "images", "img", "picture", "photo", "frame"))
_OTHER_PICTURES = frozenset(
    (
        "last",
        "end",
        "tail",
        "final",
        "mask",
        "control",
        "reference",
        "ref",
        "style",
        "subject",
        "pose",
        "depth",
        "video",
    )
)


def provider_input(
    schema: InputSchema, request: GenerationRequest, chosen: Iterable[str]
) -> tuple[dict[str, Any], list[str]]:
    """The input for `request`, and warnings. Only the settings in `chosen` and the seed are sent: for others the
    model's own defaults are better."""
    wanted = {name: value for name in chosen if (value := getattr(request, name, None)) is not None}
    wanted |= {"prompt": request.prompt, "negative_prompt": request.negative_prompt, "strength": request.strength}
    input: dict[str, Any] = {}
    warnings: list[str] = []
    for name, names in NAMES.items():
        value = wanted.get(name)
        if value is None or (name == "num_images" and value == 1):
            continue
        own = name_in(schema, names)
        if own is None:
            warnings.append(f"{request.model_id} has no {name}; it was not used.")
        else:
            input[own] = _within(schema, own, value, warnings)
    _set_seed(schema, request, input)
    if "width" in wanted or "height" in wanted:
        _set_size(schema, request, input, warnings)
    if "png" in _choices(schema, "output_format"):
        input["output_format"] = "png"  # lossless
    return input, warnings


def add_seed(schema: InputSchema, request: GenerationRequest, input: dict[str, Any]) -> dict[str, Any]:
    """`input` with the request's seed, if the model has one and none was given (or -1)."""
    return input if input.get("seed") not in (None, RANDOM_SEED) else _set_seed(schema, request, dict(input))


def first_frame_of(schema: InputSchema) -> str | None:
    """The field for a picture to start from: by common names, else the first file field whose name fits."""
    if schema.is_open:
        return "image"
    files = schema.files()
    usual = next((name for name in _FIRST_FRAMES if name in files), None)
    return usual or next((name for name in files if _is_first_frame(name)), None)


def _is_first_frame(name: str) -> bool:
    words = set(name.lower().split("_"))
    return bool(words & _PICTURES) and not words & _OTHER_PICTURES


def name_in(schema: InputSchema, names: Iterable[str]) -> str | None:
    return next((name for name in names if schema.has(name)), None)


def _within(schema: InputSchema, name: str, value: Any, warnings: list[str]) -> Any:
    """A number limited to the model's bounds, with a warning if changed."""
    facts = schema.facts(schema.properties.get(name, {}))
    low, high = facts.get("minimum"), facts.get("maximum")
    if isinstance(value, str) or low is None or high is None or low <= value <= high:
        return value
    nearest = low if value < low else high
    warnings.append(f"{name} goes from {low} to {high}; {value} was changed to {nearest}.")
    return nearest


def _set_seed(schema: InputSchema, request: GenerationRequest, input: dict[str, Any]) -> dict[str, Any]:
    """Set the seed, reduced to the schema's bounds; without any, those of a signed 32-bit number are assumed."""
    if "seed" in schema.properties:
        facts = schema.facts(schema.properties["seed"])
        low, high = int(facts.get("minimum") or 0), int(facts.get("maximum") or 2**31 - 1)
        input["seed"] = request.seed if low <= request.seed <= high else low + request.seed % (high - low + 1)
    return input


def _set_size(schema: InputSchema, request: GenerationRequest, input: dict[str, Any], warnings: list[str]) -> None:
    if schema.has("width") and schema.has("height"):
        given = {"width": request.width, "height": request.height}
        input |= {name: value for name, value in given.items() if value is not None}
        if "custom" in _choices(schema, "aspect_ratio"):  # otherwise such models ignore width and height
            input["aspect_ratio"] = "custom"
        return
    size = f"{request.width}x{request.height}"
    for name in ("size", "resolution"):
        if size in _choices(schema, name):
            input[name] = size
            return
    ratio = _nearest(_choices(schema, "aspect_ratio"), request)
    if ratio is None:
        warnings.append(f"{request.model_id} has no width and height; they were not used.")
        return
    input["aspect_ratio"] = ratio
    warnings.append(f"{request.model_id} has aspect ratios instead of sizes; {size} was changed to {ratio}.")


def _nearest(ratios: Iterable[Any], request: GenerationRequest) -> str | None:
    if not request.width or not request.height:
        return None
    known = {str(ratio): _number(str(ratio)) for ratio in ratios}
    wanted = request.width / request.height
    fitting = {ratio: abs(number / wanted - 1) for ratio, number in known.items() if number is not None}
    return min(fitting, key=lambda ratio: fitting[ratio], default=None)


def _number(ratio: str) -> float | None:
    across, colon, down = ratio.partition(":")
    return int(across) / int(down) if colon and across.isdigit() and down.isdigit() and int(down) else None


def _choices(schema: InputSchema, name: str) -> list[Any]:
    return list(schema.facts(schema.properties.get(name, {})).get("enum") or ())

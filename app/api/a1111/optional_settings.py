"""Settings that clients always send, whatever the model.

They are passed on where the core knows them, and left out where the model does not take them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from app.api.a1111.bodies import Img2ImgRequest, Txt2ImgRequest
from app.api.a1111.samplers import chosen
from app.core.request import GenerationSettings

CLIP_SKIP = "CLIP_stop_at_last_layers"
OF_MASKS = ("mask_blur", "inpaint_full_res", "inpaint_full_res_padding", "inpainting_fill")
_FILLS = {0: "blur", 1: "original", 2: "noise", 3: "noise"}


def optional_settings(body: Txt2ImgRequest, notes: list[str]) -> dict[str, Any]:
    """By the core's names. Adds a note about each that the core does not know or take."""
    known: dict[str, Any] = {}
    for member, name, value in _wanted(body):
        if name in GenerationSettings.model_fields and _is_valid(name, value):
            known[name] = value
        else:
            notes.append(f"{member} was not used.")
    return known


def _wanted(body: Txt2ImgRequest) -> Iterator[tuple[str, str, Any]]:
    """What asks for anything, as (what the note says, the core's name, value)."""
    sampler = chosen(body.sampler_name or _text(body.sampler_index), body.scheduler)
    if sampler is not None:
        yield f"The sampler {sampler[:60]}", "scheduler", sampler
    skip = body.override_settings.get(CLIP_SKIP)
    if isinstance(skip, int) and skip > 1:
        yield f"override_settings.{CLIP_SKIP}", "clip_skip", skip - 1
    if isinstance(body, Img2ImgRequest) and body.mask:
        yield from _of_mask(body.extras)


def _of_mask(extras: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    if blur := extras.get("mask_blur"):
        yield "mask_blur", "mask_blur", blur
    if extras.get("inpaint_full_res"):
        yield "inpaint_full_res", "inpaint_area", "masked"
        if padding := extras.get("inpaint_full_res_padding"):
            yield "inpaint_full_res_padding", "inpaint_padding", padding
    fill = extras.get("inpainting_fill")
    if isinstance(fill, int) and fill in _FILLS and fill != 1:
        yield "inpainting_fill", "inpaint_fill", _FILLS[fill]


def _is_valid(name: str, value: Any) -> bool:
    try:
        GenerationSettings.model_validate({name: value})
    except ValidationError:
        return False
    return True


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

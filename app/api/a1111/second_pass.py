"""`enable_hr` and what belongs to it, as the setting `upscale`."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any

from app.api.a1111.bodies import Img2ImgRequest, Txt2ImgRequest
from app.core.catalog import ModelSpec
from app.core.upscaling import MOST_FACTOR

_NOT_CHOSEN = ("", "none")


def second_pass(body: Txt2ImgRequest, spec: ModelSpec, drawn: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """The setting for `spec`, which draws as `drawn` says; empty without a second pass. What does not fit is brought
    within bounds and noted."""
    if not body.enable_hr:
        return {}
    if isinstance(body, Img2ImgRequest):
        notes.append("enable_hr was not used: it is for txt2img.")
        return {}
    size = (drawn.get("width") or spec.defaults.width, drawn.get("height") or spec.defaults.height)
    factor = _factor(body, size, spec, notes)
    if factor <= 1:
        notes.append(f"enable_hr was not used: {spec.id} cannot draw larger than this.")
        return {}
    asked: dict[str, Any] = {"factor": factor} | _upscaler(body)
    if body.hr_second_pass_steps and spec.steps.fixed is None:
        asked["steps"] = min(body.hr_second_pass_steps, spec.limits.max_steps or 100)
    if body.denoising_strength is not None:
        steps = asked.get("steps") or drawn.get("num_inference_steps") or spec.steps.fixed or spec.steps.default
        least = ceil(1000 / steps) / 1000
        asked["strength"] = min(1.0, max(body.denoising_strength, least))
        if asked["strength"] != body.denoising_strength:
            notes.append(f"denoising_strength: {body.denoising_strength:g} was brought within {least:g} and 1.")
    return {"upscale": asked}


def _factor(body: Txt2ImgRequest, size: tuple[int | None, int | None], spec: ModelSpec, notes: list[str]) -> float:
    width, height = size
    if width is None or height is None:  # refused by its own sentence
        return body.hr_scale
    asked = max(body.hr_resize_x / width, body.hr_resize_y / height) or body.hr_scale
    if body.hr_resize_x and body.hr_resize_y and body.hr_resize_x * height != body.hr_resize_y * width:
        notes.append("hr_resize_x, hr_resize_y: the larger one was used; nothing is cut off.")
    limits = spec.limits
    most = min(limits.max_width / width, limits.max_height / height, MOST_FACTOR)
    most = min(most, sqrt((limits.max_pixels or width * height * most**2) / (width * height)))
    used = min(asked, _rounded_down(most, width, height, limits.multiple_of))
    if 1 < used < asked:
        notes.append(f"hr_scale: {asked:g} was brought down to {used:g}, the most that {spec.id} draws.")
    return used


def _rounded_down(most: float, width: int, height: int, multiple_of: int) -> float:
    """The largest factor up to `most` that makes sides of whole multiples."""
    shorter = min(width, height)
    return max(1.0, most * shorter // multiple_of * multiple_of / shorter)


def _upscaler(body: Txt2ImgRequest) -> dict[str, str]:
    name = (body.hr_upscaler or "").strip()
    if name.casefold() in _NOT_CHOSEN:
        return {}
    return {"model": name}

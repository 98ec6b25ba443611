"""Other programs' names of request fields, taken for ours with a warning.

Left is what AUTOMATIC1111, ComfyUI, OpenAI's API and hosted services call a field; right is diffusers' name, which this
API has. A field may be sent under one name only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REQUEST_ALIASES: Mapping[str, str] = {"model": "model_id", "model_name": "model_id", "negative": "negative_prompt"}
SETTING_ALIASES: Mapping[str, str] = {
    "steps": "num_inference_steps",
    "sampling_steps": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "cfg": "guidance_scale",
    "guidance": "guidance_scale",
    "n": "num_images",
    "batch_size": "num_images",
    "num_outputs": "num_images",
    "num_images_per_prompt": "num_images",
    "denoising_strength": "strength",
    "frames": "num_frames",
    "sampler": "scheduler",
    "sampler_name": "scheduler",
}

Renamed = tuple[tuple[str, str], ...]  # (as it was sent, our name)


def with_own_names(given: Mapping[str, Any], aliases: Mapping[str, str]) -> tuple[dict[str, Any], Renamed]:
    """`given` with our names, and what was renamed. A second name of a field that was sent already is left as it is, to
    be refused as unknown; null is the same as absent."""
    found = {name: value for name, value in given.items() if name not in aliases}
    renamed: dict[str, str] = {}
    for name, own in aliases.items():
        value = given.get(name)
        if value is None:
            continue
        if found.get(own) is None:
            found[own], renamed[name] = value, own
        else:
            found[name] = value
    return found, tuple(renamed.items())


def second_name_of(name: str) -> str | None:
    """Our name of the field that others call `name`."""
    return REQUEST_ALIASES.get(name) or SETTING_ALIASES.get(name)


def rename_warnings(renamed: Renamed) -> list[str]:
    return [f"{name} was read as {own}, which is what this API calls it." for name, own in renamed]

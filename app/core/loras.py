"""Detects the model family of a LoRA from its tensors' names and shapes, and whether it fits a model.

Recognised are the names of diffusers, kohya (`lora_unet_…`) and the original code. Where names and widths are
ambiguous, the family is unknown, and the engine compares tensor by tensor before generating.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Shapes = Mapping[str, Sequence[int]]

FAMILIES = {
    "flux": "FLUX.1",
    "sd3": "Stable Diffusion 3",
    "sdxl": "Stable Diffusion XL",
    "sd15": "Stable Diffusion 1.5",
    "sd21": "Stable Diffusion 2",
    "sana": "Sana",
    "unet": "a Stable Diffusion model with a UNet",
}
_BY_TEXT_WIDTH = {768: "sd15", 1024: "sd21", 2048: "sdxl"}  # columns of a UNet's cross-attention keys
_BY_PIPELINE = (  # the first prefix of the class name that matches
    ("Flux", ("flux",)),
    ("StableDiffusion3", ("sd3",)),
    ("StableDiffusionXL", ("sdxl", "unet")),
    ("StableDiffusion", ("sd15", "sd21", "unet")),
    ("LatentConsistency", ("sd15", "unet")),
    ("Sana", ("sana",)),
)
_OTHER_KINDS = {
    "dora_scale": "a DoRA",
    "lora_magnitude_vector": "a DoRA",
    "lokr_w": "a LoKr",
    "hada_w": "a LoHa",
    "diff_b": "a set of biases",
}
_LORA_PART = re.compile(r"[._]lora[._]|lora_(down|up|A|B)|lora_linear_layer")
_DOWN = re.compile(r"lora_down|lora_A|lora\.down|lora_linear_layer\.down")
_UNET = re.compile(r"(^|[._])(down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)[._]")
_FLUX = re.compile(r"single_transformer_blocks|(^|[._])(double_blocks|single_blocks)[._]")
_SD3 = re.compile(r"(^|[._])joint_blocks[._]|attn2?\.add_[qkv]_proj")
_SANA = re.compile(r"^(transformer\.)?transformer_blocks\.\d+\.attn[12]\.")


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file on this machine. `id` is its name in requests, `family` a key of FAMILIES or None if unknown; `bytes`
    is the file's size, `rank` its largest rank."""

    id: str
    family: str | None
    bytes: int
    rank: int | None
    base_model: str | None = None  # from the file's metadata


def other_kind(shapes: Shapes) -> str | None:
    """The kind of adapter, if it is one that is only partly supported; None for a plain LoRA or none at all."""
    return next((kind for mark, kind in _OTHER_KINDS.items() if any(mark in name for name in shapes)), None)


def is_lora(shapes: Shapes) -> bool:
    return any(_LORA_PART.search(name) for name in shapes)


def family_of(shapes: Shapes) -> str | None:
    """The family of a LoRA with these tensors; None if they are ambiguous."""
    names = list(shapes)
    if any(_UNET.search(name) for name in names):
        return _unet_family(shapes)
    if any(_FLUX.search(name) for name in names):
        return "flux"
    if any(_SANA.search(name) for name in names):
        return "sana"
    if any(_SD3.search(name) for name in names) and not any("norm1_context" in name for name in names):
        # FLUX has the same names in its double blocks; its width of 3072 does not occur in SD 3.
        widths = {shapes[name][-1] for name in names if "add_q_proj" in name and _DOWN.search(name)}
        return "sd3" if any("joint_blocks" in name for name in names) or widths & {1536, 2432} else None
    return None


def rank_of(shapes: Shapes) -> int | None:
    ranks = [shape[0] for name, shape in shapes.items() if _DOWN.search(name) and len(shape) >= 2]
    return max(ranks, default=None)


def families_of_pipeline(pipeline_class: str) -> Sequence[str] | None:
    """The families whose LoRAs may fit; None for an unknown pipeline."""
    return next((families for start, families in _BY_PIPELINE if pipeline_class.startswith(start)), None)


def fits(family: str | None, pipeline_class: str) -> bool:
    """False only if the LoRA is certainly for another model."""
    families = families_of_pipeline(pipeline_class)
    return family is None or families is None or family in families


def _unet_family(shapes: Shapes) -> str:
    for name, shape in shapes.items():
        if "attn2" in name and "to_k" in name and _DOWN.search(name) and len(shape) >= 2:
            return _BY_TEXT_WIDTH.get(shape[1], "unet")
    return "unet"

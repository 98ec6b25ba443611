"""Detects the model family of a LoRA from its tensors' names and shapes, and whether it fits a model.

Recognised are the names of diffusers, kohya (`lora_unet_…`) and the original code. Where names and widths are
ambiguous, the family is unknown, and the engine compares tensor by tensor before generating.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.families import lookup

Shapes = Mapping[str, Sequence[int]]
_REPO = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/([\w./-]+\.(?i:safetensors)))?", re.ASCII)

FAMILIES = {
    "flux": "FLUX.1",
    "flux2": "FLUX.2",
    "chroma": "Chroma",
    "sd3": "Stable Diffusion 3",
    "sdxl": "Stable Diffusion XL",
    "kolors": "Kolors",
    "sd15": "Stable Diffusion 1.5",
    "sd21": "Stable Diffusion 2",
    "unet": "a Stable Diffusion model with a UNet",
    "qwen": "Qwen-Image",
    "zimage": "Z-Image",
    "lumina2": "Lumina 2",
    "sana": "Sana",
    "pixart": "PixArt",
    "hidream": "HiDream",
    "auraflow": "AuraFlow",
    "wan": "Wan",
    "ltx": "LTX-Video",
    "ltx2": "LTX-2",
    "hunyuan": "HunyuanVideo",
}
_BY_TEXT_WIDTH = {768: "sd15", 1024: "sd21", 2048: "sdxl"}  # columns of a UNet's cross-attention keys
_LORA_PART = re.compile(r"[._]lora[._]|lora_(down|up|A|B)|lora_linear_layer|[._](lokr_w[12]|hada_w[12]_[ab])")
_DOWN = re.compile(r"lora_down|lora_A|lora\.down|lora_linear_layer\.down")
_UP = re.compile(r"lora_up|lora_B|lora\.up|lora_linear_layer\.up")
_UNET = re.compile(r"(^|[._])(down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)[._]")
_FLUX = re.compile(r"single_transformer_blocks|(^|[._])(double_blocks|single_blocks)[._]")
_SD3 = re.compile(r"(^|[._])joint_blocks[._]|attn2?[._]add_[qkv]_proj")
_CROSS = re.compile(r"(^|[._])transformer_blocks[._]\d+[._]attn[12][._]")
_BLOCK = re.compile(r"(^|[._])transformer_blocks[._](\d+)[._]")
_BY_NAME = tuple(  # what only one family's names have, by any trainer; the first match counts
    (re.compile(pattern), family)
    for pattern, family in (
        (r"distilled_guidance_layer", "chroma"),
        (r"to_qkv_mlp_proj|ff(_context)?[._]linear_in|stream_modulation", "flux2"),
        (r"individual_token_refiner|token_refiner|\.img_attn_qkv\.|(img|txt)_mlp[._]fc1", "hunyuan"),
        (r"double_stream_blocks", "hidream"),
        (r"joint_transformer_blocks", "auraflow"),
        (r"transformer_blocks[._]\d+[._](img|txt)_(mlp|mod)[._]", "qwen"),
        (r"layers[._]\d+[._]attention[._]to_", "zimage"),
        (r"(layers|noise_refiner|context_refiner)[._]\d+[._]attn[._]to_", "lumina2"),
        (r"av_ca_|audio_attn|audio_to_video|audio_ff", "ltx2"),
        (r"(^|\.|lora_unet_)blocks[._]\d+[._]((self|cross)_attn[._][qkvo]\.|attn[12][._]to_|ffn[._])", "wan"),
        (r"ff[._]conv_(inverted|point|depth)", "sana"),
    )
)
_WIDTHS = {2240: "sana", 2048: "ltx", 4096: "ltx"}  # of models with the names of _CROSS
_FLUX_WIDTH, _FLUX_BLOCKS = 3072, 19


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file on this machine. `id` is its name in requests, `family` a key of FAMILIES or None if unknown; `bytes`
    is the file's size, `rank` its largest rank."""

    id: str
    family: str | None
    bytes: int
    rank: int | None
    base_model: str | None = None  # from the file's metadata, like the words that it was trained to be called by
    trigger_words: tuple[str, ...] = ()


def repo_of(lora_id: str) -> tuple[str, str | None] | None:
    """`owner/repo` and the file in it, if `lora_id` names a hub repo; else None."""
    found = _REPO.fullmatch(lora_id)
    return None if found is None or ".." in lora_id else (found[1], found[2])


def is_lora(shapes: Shapes) -> bool:
    return any(_LORA_PART.search(name) for name in shapes)


def family_of(shapes: Shapes) -> str | None:
    """The family of a LoRA with these tensors; None if they are ambiguous."""
    names = list(shapes)
    for pattern, family in _BY_NAME:
        if any(pattern.search(name) for name in names):
            return family
    if any(_UNET.search(name) for name in names):
        return _unet_family(shapes)
    if any(_FLUX.search(name) for name in names):
        return _flux_family(shapes)
    if any(re.search(r"layers[._]\d+[._]attention[._]", name) for name in names):
        return {3840: "zimage", 2304: "lumina2"}.get(max(_widths(shapes, "qkv"), default=0))
    if any(_CROSS.search(name) for name in names):
        return _cross_family(shapes)
    if any(_SD3.search(name) for name in names):
        return _joint_family(shapes)
    return None


def _flux_family(shapes: Shapes) -> str:
    """FLUX.2 has the names of FLUX.1 in the original code, and other widths."""
    wide = _widths(shapes, "img_attn") | _widths(shapes, "linear1")
    fused = {shape[0] / _FLUX_WIDTH for name, shape in shapes.items() if "linear1" in name and _UP.search(name)}
    return "flux2" if wide - {_FLUX_WIDTH} or 9 in fused else "flux"


def _cross_family(shapes: Shapes) -> str | None:
    if any(re.search(r"ff[._]net", name) for name in shapes) and 1152 in _widths(shapes, "attn1"):
        return "pixart"
    return next((_WIDTHS[width] for width in _widths(shapes, "attn1") if width in _WIDTHS), None)


def _joint_family(shapes: Shapes) -> str | None:
    """FLUX.1, SD 3 and Qwen-Image have these names in blocks of two streams; FLUX.1 has fewer blocks than the last."""
    if any("joint_blocks" in name for name in shapes):
        return "sd3"
    widths = _widths(shapes, "add_q_proj")
    last = max((int(found[2]) for name in shapes if (found := _BLOCK.search(name))), default=0)
    if _FLUX_WIDTH in widths and last >= _FLUX_BLOCKS:
        return "qwen"
    norms = any("norm1_context" in name for name in shapes)
    return "sd3" if widths & {1536, 2432} and not norms else None


def _widths(shapes: Shapes, part: str) -> set[int]:
    """The numbers of inputs of the layers whose names have `part`."""
    return {shape[1] for name, shape in shapes.items() if part in name and _DOWN.search(name) and len(shape) >= 2}


def rank_of(shapes: Shapes) -> int | None:
    marks = re.compile(rf"{_DOWN.pattern}|(hada_w1|lokr_w[12])_b")
    ranks = [shape[0] for name, shape in shapes.items() if marks.search(name) and len(shape) >= 2]
    return max(ranks, default=None)


def families_of_pipeline(pipeline_class: str) -> Sequence[str] | None:
    """The families whose LoRAs may fit; None for an unknown pipeline."""
    family = lookup.family_of(pipeline_class)
    return family.loras or None if family is not None else None


def fits(family: str | None, pipeline_class: str) -> bool:
    """False only if the LoRA is certainly for another model."""
    families = families_of_pipeline(pipeline_class)
    return family is None or families is None or family in families


def _unet_family(shapes: Shapes) -> str:
    for name, shape in shapes.items():
        if "attn2" in name and "to_k" in name and _DOWN.search(name) and len(shape) >= 2:
            return _BY_TEXT_WIDTH.get(shape[1], "unet")
    return "unet"

"""Builds one checkpoint, reproducible byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

from tools.tiny_models import flow_families, unet_families, video_families
from tools.tiny_models.ldm_layout import ldm_state

SEED = 20250101
SINGLE_FILE = "sd15-single-file"

_PIPELINES: dict[str, Callable[[], DiffusionPipeline]] = {
    "flux": flow_families.flux,
    "sd35": flow_families.sd35,
    "sana": flow_families.sana,
    "sana-sprint": flow_families.sana_sprint,
    "sd15": unet_families.sd15,
    "sdxl": unet_families.sdxl,
    "lcm": unet_families.lcm,
    "flux-kontext": flow_families.flux_kontext,
    "flux-fill": flow_families.flux_fill,
    "sd15-inpainting": unet_families.sd15_inpainting,
    "sdxl-refiner": unet_families.sdxl_refiner,
    "instruct-pix2pix": unet_families.instruct_pix2pix,
    "ltx": video_families.ltx,
    "wan": video_families.wan,
    "wan-i2v": video_families.wan_from_a_picture,
    "wan-ti2v": video_families.wan_both,
}
FAMILIES = (*_PIPELINES, SINGLE_FILE)


def build(family: str, out_dir: Path) -> Path:
    """Build `family` in `out_dir` and return its path: a folder, or a file for `sd15-single-file`.

    The single file holds the same weights as `sd15`. Existing files are overwritten.
    """
    pipeline = _seeded(_PIPELINES["sd15" if family == SINGLE_FILE else family])
    if family == SINGLE_FILE:
        return _save_single_file(pipeline, out_dir / f"{SINGLE_FILE}.safetensors")
    pipeline.save_pretrained(out_dir / family, safe_serialization=True)
    return out_dir / family


def _seeded(make: Callable[[], DiffusionPipeline]) -> DiffusionPipeline:
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return make()


def _save_single_file(pipeline: DiffusionPipeline, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(ldm_state(pipeline), path)
    return path

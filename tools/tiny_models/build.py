"""Builds one checkpoint, reproducible byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

from app.core.memory_parts import DENOISERS
from tools.tiny_models.ldm_layout import ldm_state
from tools.tiny_models.samples import SAMPLES

SEED = 20250101
SINGLE_FILE = "sd15-single-file"
FAMILIES = (*SAMPLES, SINGLE_FILE)


def build(family: str, out_dir: Path) -> Path:
    """Build `family` in `out_dir` and return its path: a folder, or a file for `sd15-single-file`.

    The single file holds the same weights as `sd15`. Existing files are overwritten.
    """
    pipeline = _seeded(SAMPLES["sd15" if family == SINGLE_FILE else family].build)
    if family == SINGLE_FILE:
        return _save_single_file(pipeline, out_dir / f"{SINGLE_FILE}.safetensors")
    pipeline.save_pretrained(out_dir / family, safe_serialization=True)
    return out_dir / family


def _seeded(make: Callable[[], DiffusionPipeline]) -> DiffusionPipeline:
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        pipeline = make()
        for name in DENOISERS:
            part = getattr(pipeline, name, None)
            if isinstance(part, torch.nn.Module):
                _fill_zeros(part)
        return pipeline


@torch.no_grad()
def _fill_zeros(part: torch.nn.Module) -> None:
    """Random numbers for weights that training begins at zero: gates of 0 would leave attention without effect."""
    for weight in part.parameters():
        if weight.ndim >= 2 and not weight.any():
            weight.normal_(std=0.1)


def _save_single_file(pipeline: DiffusionPipeline, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(ldm_state(pipeline), path)
    return path

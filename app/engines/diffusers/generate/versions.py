"""Versions for an image's manifest: libraries, classes, weights and this machine's settings."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from app.engines.diffusers.load.precision import dtype_name
from app.engines.diffusers.memory.loaded import LoadedModel


def versions_of(model: LoadedModel, pipeline: Any) -> dict[str, str]:
    """Versions by name. `pipeline` is the one that ran; `revision` the hub's commit hash, or `sampled-sha256:…` over
    local weights (see `weights.fingerprint`)."""
    return {
        "diffusers": diffusers.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "pipeline": type(pipeline).__name__,
        "scheduler": type(getattr(model.pipeline, "scheduler", None)).__name__,
        "dtype": dtype_name(model.dtype),
        "attention": model.attention,
        "device": str(model.device),
        "revision": model.checkpoint.revision,
        **({"weights": weights} if (weights := model.load_plan.compression.description) else {}),
    }

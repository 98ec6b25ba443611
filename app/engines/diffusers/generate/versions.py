"""What made a picture, for its manifest: libraries, classes, weights and the choices of this machine."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from app.engines.diffusers.load.precision import dtype_name
from app.engines.diffusers.memory.loaded import LoadedModel


def versions_of(model: LoadedModel, pipeline: Any) -> dict[str, str]:
    """`pipeline` is the one that drew; `revision` the hub's commit hash, or `sampled-sha256:…` over local weights (see
    `weights.fingerprint`)."""
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
        **({"weights": told} if (told := model.load_plan.compression.told) else {}),
    }

"""What made a picture, for its manifest: libraries, classes, weights and the choices of this machine."""

from __future__ import annotations

import diffusers
import torch
import transformers

from app.engines.diffusers.precision import dtype_name
from app.engines.diffusers.residency import LoadedModel


def versions_of(model: LoadedModel) -> dict[str, str]:
    """`revision` is the hub's commit hash, or `sampled-sha256:…` over local weights (see `weights.fingerprint`)."""
    return {
        "diffusers": diffusers.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "pipeline": type(model.pipeline).__name__,
        "scheduler": type(getattr(model.pipeline, "scheduler", None)).__name__,
        "dtype": dtype_name(model.dtype),
        "attention": model.attention,
        "device": str(model.device),
        "revision": model.checkpoint.revision,
    }

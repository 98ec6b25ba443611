"""Refuses models that a CPU would run for hours, unless the CPU was asked for."""

from __future__ import annotations

from app.core.catalog import ModelSpec
from app.core.fit import MOST_WEIGHTS_ON_CPU
from app.engines.base import EngineSettings
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.errors import GpuRequired

_WIDEST = 4  # bytes of a number in the files; narrower ones hold more


def require_runnable(spec: ModelSpec, checkpoint: Checkpoint, settings: EngineSettings) -> None:
    """Raise GpuRequired for a model with too many weights."""
    count = sum(tensors.resized for tensors in checkpoint.weights.values())
    if not settings.large_models and count > MOST_WEIGHTS_ON_CPU:
        raise _error(spec.id, f"{count / 1e9:.1f} billion weights", settings)


def require_runnable_download(repo: str, size: int, settings: EngineSettings) -> None:
    """Raise GpuRequired for a repository whose files of `size` bytes hold too many weights in any precision."""
    if not settings.large_models and size > MOST_WEIGHTS_ON_CPU * _WIDEST:
        raise _error(repo, f"{size / 1e9:.0f} GB of weights", settings)


def _error(name: str, amount: str, settings: EngineSettings) -> GpuRequired:
    reason = settings.no_gpu_reason or "No GPU is visible to this worker."
    return GpuRequired(
        f"{name} has {amount}, which a CPU would run for hours. {reason}"
        " Choose a smaller model, or set DEVICE=cpu to run it on the CPU all the same."
    )

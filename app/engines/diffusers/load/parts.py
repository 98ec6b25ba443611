"""Loads the parts of a diffusers folder one after another, each made smaller or moved on before the next is loaded.

A part is loaded as diffusers' pipeline would load it. What is left out here (schedulers, tokenizers, parts of a library
that is not known) is loaded by the pipeline.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from app.engines.diffusers.load.casting import cast_part, part_class
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.part_files import needs_reading, read_part
from app.engines.diffusers.load.quantization import load_gguf, quantization_config
from app.engines.diffusers.load.weights import TensorCount
from app.errors import ModelUnavailable
from app.files.weights import variant_of


def load_parts(checkpoint: Checkpoint, load_plan: LoadPlan, shared: Mapping[str, Any]) -> dict[str, Any]:
    """The parts with weights by name, except for those `shared`; in the order of the plan."""
    gguf = load_plan.compression.gguf and load_plan.compression.denoiser
    rest = [part for part in (*checkpoint.files, *([gguf] if gguf else [])) if part not in load_plan.order]
    loaded: dict[str, Any] = {}
    for part in dict.fromkeys((*load_plan.order, *rest)):
        if part in shared:
            continue
        if part == gguf:
            loaded |= load_gguf(load_plan.compression, checkpoint, load_plan.dtype)
        elif part in checkpoint.files and _is_model(part_class(checkpoint.kinds[part])):
            loaded[part] = load_part(part, checkpoint, load_plan)
            return_freed_memory()
    return loaded


def load_part(part: str, checkpoint: Checkpoint, load_plan: LoadPlan) -> Any:
    kind, dtype, compression = checkpoint.kinds[part], load_plan.dtype_of(part), load_plan.compression
    found, folder = part_class(kind), checkpoint.folder_of(part)
    quantized = quantization_config(compression, part, diffusers if _of_diffusers(found) else transformers, dtype)
    if needs_reading(part, checkpoint):
        return _placed(read_part(part, found, checkpoint, dtype, quantized), part, kind, load_plan)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": True}
    if (variant := variant_of(checkpoint.files[part][0].name)) is not None:
        options["variant"] = variant
    if quantized is not None:
        options["quantization_config"] = quantized
    stays = device_for(load_plan).type == "cuda" and load_plan.plan == "none" and part not in compression.cast
    if stays:  # tensor by tensor, so that main memory never holds the part
        options["device_map"] = {"": device_for(load_plan)}
    model = found.from_pretrained(folder, dtype=dtype, **options)
    require_all_weights(model, folder, checkpoint.weights[part])
    return model if stays else _placed(model, part, kind, load_plan)


def _placed(model: Any, part: str, kind: str, load_plan: LoadPlan) -> Any:
    """`model` in the form and at the place that the plan says."""
    cast_part(model, part, kind, load_plan, device_for(load_plan) if load_plan.plan == "none" else None)
    if load_plan.plan == "none":
        model.to(device_for(load_plan))
    return model


def require_all_weights(part: Any, folder: Path, count: TensorCount) -> None:
    """Refuse a part larger than its files: transformers fills missing weights with random numbers."""
    if not isinstance(part, torch.nn.Module):
        return
    needed = sum(parameter.numel() for parameter in part.parameters() if parameter.is_floating_point())
    if needed > count.resized:
        raise ModelUnavailable(
            f"{folder} lacks weights: its files hold {count.resized:,} of {needed:,} numbers. Fetch the model again."
        )


def device_for(load_plan: LoadPlan) -> torch.device:
    """Where parts that stay on the device are loaded to."""
    return load_plan.device


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and (_of_diffusers(found) or issubclass(found, transformers.PreTrainedModel))


def _of_diffusers(found: Any) -> bool:
    return issubclass(found, diffusers.ModelMixin)


def return_freed_memory() -> None:
    """Give memory that a part no longer uses back to the operating system: glibc keeps freed tensors below 32 MB."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if trim is not None:
        trim(0)

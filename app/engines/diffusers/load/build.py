"""Builds a diffusers pipeline from a checkpoint on this machine: safetensors only, no code from a repo."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import diffusers
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import SafetensorError

from app.core.catalog import ModelSpec
from app.core.faults import is_beyond_the_job
from app.engines.diffusers.load.casting import cast_part
from app.engines.diffusers.load.checkpoint import SKIPPED_PARTS, Checkpoint
from app.engines.diffusers.load.errors import LOAD_ERRORS, load_error
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.offload import place
from app.engines.diffusers.load.part_files import multiplying_scales
from app.engines.diffusers.load.parts import load_part, load_parts, require_all_weights
from app.engines.diffusers.load.processors import load_processors
from app.engines.diffusers.load.weights import with_lowercase_suffix
from app.errors import ModelUnavailable


def pipeline_class_name(spec: ModelSpec, checkpoint: Checkpoint) -> str:
    """The pipeline's class: the model's option, or what its files say."""
    return spec.options.pipeline_class or checkpoint.pipeline_class


def build_pipeline(
    spec: ModelSpec,
    checkpoint: Checkpoint,
    load_plan: LoadPlan,
    shared: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """The diffusers pipeline of `checkpoint` on its device, with the parts `shared` instead of those in its files.

    Raises ModelUnavailable; faults of memory, device and process pass through.
    """
    pipeline_class = find_class(pipeline_class_name(spec, checkpoint))
    try:
        if checkpoint.is_single_file:
            pipeline = _from_file(pipeline_class, checkpoint, load_plan)
        else:
            pipeline = _from_folder(pipeline_class, checkpoint, load_plan, shared)
        for name, count in checkpoint.weights.items():
            require_all_weights(getattr(pipeline, name, None) if name else None, checkpoint.folder_of(name), count)
        place(pipeline, load_plan)
    except (*LOAD_ERRORS, SafetensorError, SingleFileComponentError) as error:
        if is_beyond_the_job(error):
            raise
        raise load_error(error, spec) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def find_class(name: str) -> Any:
    """The diffusers pipeline class `name`. Raises ModelUnavailable."""
    found = getattr(diffusers, name, None)
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        raise ModelUnavailable(
            f"diffusers {diffusers.__version__} has no pipeline {name!r}."
            " Correct pipeline_class in the model's options, or use a model that this version knows."
        )
    return found


def _from_folder(pipeline_class: Any, checkpoint: Checkpoint, load_plan: LoadPlan, shared: Mapping[str, Any]) -> Any:
    skipped: dict[str, Any] = {part: None for part in SKIPPED_PARTS if part in checkpoint.parts}
    if skipped:
        skipped["requires_safety_checker"] = False
    processors = load_processors(checkpoint, given=shared)
    return pipeline_class.from_pretrained(
        checkpoint.path,
        dtype=load_plan.dtypes,
        variant=checkpoint.variant,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        **skipped,
        **shared,
        **processors,
        **load_parts(checkpoint, load_plan, shared),
    )


def _from_file(pipeline_class: Any, checkpoint: Checkpoint, load_plan: LoadPlan) -> Any:
    if not hasattr(pipeline_class, "from_single_file"):
        raise ModelUnavailable(f"{pipeline_class.__name__} cannot be loaded from one file; use a diffusers folder.")
    others = {part: load_part(part, checkpoint, load_plan) for part in checkpoint.files if part}  # a VAE of its own
    with with_lowercase_suffix(checkpoint.path) as file, multiplying_scales(checkpoint.path, load_plan.dtype):
        pipeline = pipeline_class.from_single_file(
            str(file), config=str(checkpoint.config), dtype=load_plan.dtype, local_files_only=True, **others
        )
    for part in load_plan.compression.cast:
        cast_part(getattr(pipeline, part), part, checkpoint.kinds[part], load_plan)
    return pipeline

"""Our engine against a plain diffusers script, in turn: seconds a picture, peak memory, seconds to load and to swap."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from app.core.catalog import ModelSpec
from app.core.catalog_lines import parse_model_line
from app.core.request import GenerationRequest
from app.engines.base import NO_INPUTS, EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from bench.null_control import NullControl

PROMPT = "a sunset over mountains, mirrored in a lake"


@contextmanager
def attention(kind: str, pipeline: Any) -> Iterator[None]:
    """`native` as torch chooses, `cudnn` only, or `xformers`; the pipeline is left as it was, also after an error.

    The processors are put back one by one: disabling xformers by diffusers' method breaks SD 3 and changes nothing on
    FLUX.
    """
    before = _processors(pipeline)
    try:
        if kind == "xformers":
            pipeline.enable_xformers_memory_efficient_attention()
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION) if kind == "cudnn" else nullcontext():
            yield
    finally:
        for layer, processor in before:
            layer.processor = processor  # not by set_processor, which moves LoRAs and checks names


def _processors(pipeline: Any) -> list[tuple[torch.nn.Module, Any]]:
    """Every attention layer of the pipeline's parts with its processor."""
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    layers = (layer for part in parts for layer in part.modules())
    return [(layer, layer.processor) for layer in layers if hasattr(layer, "processor")]


def compile_blocks(pipeline: Any) -> None:
    """The repeated blocks where the model names them (FLUX), else the whole transformer (SD 3)."""
    transformer = pipeline.transformer
    if getattr(transformer, "_repeated_blocks", None):
        transformer.compile_repeated_blocks(fullgraph=True)
    else:
        transformer.compile()


def drawn_plainly(pipeline: Any, side: int, steps: int) -> Callable[[], None]:
    def draw() -> None:
        with torch.inference_mode():
            generator = torch.Generator("cpu").manual_seed(1)
            pipeline(PROMPT, num_inference_steps=steps, width=side, height=side, generator=generator, output_type="np")

    return draw


def drawn_by_the_engine(engine: DiffusersEngine, spec: ModelSpec, side: int, steps: int) -> Callable[[], None]:
    request = GenerationRequest(
        model_id=spec.id, prompt=PROMPT, num_inference_steps=steps, width=side, height=side, seed=1
    )
    return lambda: void(engine.generate(spec, request, NullControl(), NO_INPUTS))


def engine_of(
    folder: Path, names: tuple[str, ...], dtype: str, *, most: int
) -> tuple[DiffusersEngine, list[ModelSpec]]:
    """An engine that keeps at most `most` models, and one model for each name, all of the weights in `folder`."""
    settings = EngineSettings(
        root=folder,
        model_cache_dir=folder,
        dtype=dtype,  # type: ignore[arg-type]
        attention="native",
        max_loaded_models=most,
    )
    return DiffusersEngine(settings), [parse_model_line(f"{name};{folder};random;local;false") for name in names]


def compare(contenders: dict[str, Callable[[], None]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds and peak device bytes of each; they alternate, and the first round is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    peaks = dict.fromkeys(contenders, 0.0)
    for number in range(rounds + 1):
        for name, draw in contenders.items():
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            took = timed(draw)
            if number:
                seconds[name].append(took)
            if torch.cuda.is_available():
                peaks[name] = max(peaks[name], torch.cuda.max_memory_allocated())
    return {name: (statistics.median(seconds[name]), peaks[name]) for name in contenders}


def timed(work: Callable[[], None]) -> float:
    settle()
    began = time.perf_counter()
    work()
    settle()
    return time.perf_counter() - began


def settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def void(_: object) -> None:
    """Discards its argument."""

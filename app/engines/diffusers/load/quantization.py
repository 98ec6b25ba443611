"""Quantised weights: quantised while loading, layer-wise float8 storage, or GGUF files.

The packages are optional (requirements-quantization.txt). A missing one is reported before anything is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import GGUFQuantizationConfig, PipelineQuantizationConfig

from app.core.catalog import ModelSpec
from app.engines.base import EngineSettings
from app.engines.diffusers.load.checkpoint import DENOISERS, Checkpoint
from app.engines.diffusers.load.weights import fingerprint, with_lowercase_suffix
from app.errors import ModelUnavailable
from app.files.weights import DamagedFile, check_gguf

STORED_DTYPE = torch.float8_e4m3fn  # of layer-wise casting


@dataclass(frozen=True)
class _Method:
    """`item_bytes` are the bytes per number in memory, its scales included."""

    package: str
    item_bytes: float
    gpu_only: bool = False


_METHODS: Mapping[str, _Method] = {
    "bitsandbytes-8bit": _Method("bitsandbytes", 1.02, gpu_only=True),
    "bitsandbytes-4bit": _Method("bitsandbytes", 0.57, gpu_only=True),
    "torchao-int8": _Method("torchao", 1.02),
    "torchao-float8": _Method("torchao", 1.02),
}


@dataclass(frozen=True)
class Compression:
    """Compression of a model's weights. `method` (empty = none) applies to `parts`, `casting` and `gguf` to `denoiser`;
    `revision` is the fingerprint of the GGUF file."""

    method: str = ""
    parts: tuple[str, ...] = ()
    casting: bool = False
    gguf: Path | None = None
    denoiser: str = ""
    revision: str = ""

    @property
    def quantized(self) -> bool:
        return bool(self.method or self.gguf)

    @property
    def movable(self) -> bool:
        """Whether the weights can be moved to main memory and back: those of bitsandbytes are bound to the GPU."""
        return not self.method.startswith("bitsandbytes")

    def of(self, part: str) -> str:
        """How the weights of `part` are stored; empty for the compute dtype."""
        if part in self.parts:
            return self.method
        if part != self.denoiser:
            return ""
        return "gguf" if self.gguf else "float8" if self.casting else ""

    def item_bytes(self, part: str, computed: int) -> float:
        """Bytes that one number of `part` takes in memory; `computed` are those of the compute dtype."""
        kept = self.of(part)
        return 1 if kept == "float8" else _METHODS[kept].item_bytes if kept else computed

    @property
    def stored(self) -> dict[str, int]:
        """Parts loaded from a separate file, and its size in bytes."""
        return {self.denoiser: self.gguf.stat().st_size} if self.gguf else {}

    @property
    def description(self) -> str:
        """For the log and for manifests; empty for an uncompressed model."""
        kept = {part: self.of(part) for part in (*self.parts, self.denoiser)}
        parts = ", ".join(f"{part} in {how}" for part, how in kept.items() if how)
        return f"{parts} {self.revision}".rstrip()


UNCOMPRESSED = Compression()


def choose_compression(
    spec: ModelSpec, checkpoint: Checkpoint, settings: EngineSettings, device: torch.device
) -> Compression:
    """What the options of `spec` ask for. Raises ModelUnavailable when this machine or this checkpoint cannot do it."""
    options = spec.options
    if not (options.quantization or options.layerwise_casting or options.gguf):
        return UNCOMPRESSED
    if checkpoint.is_single_file:
        raise ModelUnavailable(
            f"{spec.id}: quantization, layerwise_casting and gguf need a diffusers folder or a hub repo, not one file."
        )
    denoiser = next((part for part in checkpoint.kinds if part.startswith(DENOISERS)), "")
    gguf = _find_gguf(options.gguf, spec, settings) if options.gguf else None
    parts = (options.quantized_parts or (denoiser,)) if options.quantization else ()
    unknown = [part for part in parts if part not in checkpoint.weights]
    if unknown or not denoiser:
        missing, known = (*unknown, "transformer")[0], ", ".join(checkpoint.weights)
        raise ModelUnavailable(f"{spec.id} has no part {missing!r} to make smaller; it has {known}.")
    if options.quantization:
        _require(options.quantization, spec, device)
    revision = fingerprint(gguf.parent, [gguf]) if gguf else ""
    return Compression(options.quantization or "", parts, options.layerwise_casting, gguf, denoiser, revision)


def quantization_config(compression: Compression, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    """diffusers' configuration for `from_pretrained`; None when nothing is quantised while loading."""
    if not compression.method:
        return None
    configs: dict[str, Any] = {}
    for part in compression.parts:
        library = diffusers if checkpoint.kinds[part].startswith("diffusers.") else transformers
        configs[part] = _config(compression.method, library, dtype)
    return PipelineQuantizationConfig(quant_mapping=configs)


def load_gguf(compression: Compression, checkpoint: Checkpoint, dtype: torch.dtype) -> dict[str, Any]:
    """The denoiser loaded from its GGUF file, by name; empty when there is none."""
    if compression.gguf is None:
        return {}
    part_class = getattr(diffusers, checkpoint.kinds[compression.denoiser].split(".")[-1])
    with with_lowercase_suffix(compression.gguf) as file:
        part = part_class.from_single_file(
            str(file),
            config=str(checkpoint.path),
            subfolder=compression.denoiser,
            quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
            dtype=dtype,
            local_files_only=True,
        )
    return {compression.denoiser: part}


def cast_layers(pipeline: Any, compression: Compression, dtype: torch.dtype) -> None:
    """Store the denoiser's weights in float8 and upcast each layer's while it runs."""
    if compression.casting:
        part = getattr(pipeline, compression.denoiser)
        part.enable_layerwise_casting(storage_dtype=STORED_DTYPE, compute_dtype=dtype)


def _config(method: str, library: Any, dtype: torch.dtype) -> Any:
    if method == "bitsandbytes-8bit":
        return library.BitsAndBytesConfig(load_in_8bit=True)
    if method == "bitsandbytes-4bit":
        return library.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    torchao = importlib.import_module("torchao.quantization")
    kind = "Int8WeightOnlyConfig" if method == "torchao-int8" else "Float8WeightOnlyConfig"
    return library.TorchAoConfig(getattr(torchao, kind)())


def _require(method: str, spec: ModelSpec, device: torch.device) -> None:
    needed = _METHODS[method]
    if needed.gpu_only and device.type != "cuda":
        raise ModelUnavailable(
            f"{spec.id}: {method} needs a GPU. Use torchao-int8, or remove quantization from the model's options."
        )
    _require_package(needed.package, method, spec)


def _require_package(package: str, what: str, spec: ModelSpec) -> None:
    if importlib.util.find_spec(package) is None:
        raise ModelUnavailable(
            f"{spec.id}: {what} needs the package {package}. Install it with: pip install -r"
            " requirements-quantization.txt, and restart the worker; or remove that option."
        )


def _find_gguf(name: str, spec: ModelSpec, settings: EngineSettings) -> Path:
    _require_package("gguf", "a GGUF file", spec)
    places = settings.places_of(name)
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise ModelUnavailable(f"{spec.id}: there is no {' and no '.join(map(str, places))}. Correct its option gguf.")
    try:
        check_gguf(file)
    except DamagedFile as problem:
        raise ModelUnavailable(
            f"{spec.id}: {file} cannot be used: {problem}. Fetch it again, or correct its option gguf."
        ) from None
    return file

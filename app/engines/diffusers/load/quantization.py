"""Weights in fewer bits, as a catalogue line asks for them: quantised while loading, cast to float8, or a GGUF file.

The packages are optional (requirements-quantization.txt). A missing one is reported before anything is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
from diffusers import GGUFQuantizationConfig

from app.core.catalog import ModelSpec, Quantization
from app.core.memory_parts import DENOISERS, Kind
from app.engines.base import EngineSettings
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.weights import fingerprint, with_lowercase_suffix
from app.errors import ModelUnavailable
from app.files.weights import DamagedFile, check_gguf


@dataclass(frozen=True)
class _Method:
    """`config` is the class of torchao that quantises; `least_capability` that of an NVIDIA GPU."""

    package: str
    gpu_only: bool = False
    config: str = ""
    least_capability: tuple[int, int] = (0, 0)


METHODS: Mapping[Quantization, _Method] = {
    "bitsandbytes-8bit": _Method("bitsandbytes", gpu_only=True),
    "bitsandbytes-4bit": _Method("bitsandbytes", gpu_only=True),
    "torchao-int8": _Method("torchao", config="Int8WeightOnlyConfig"),
    "torchao-float8": _Method("torchao", config="Float8WeightOnlyConfig"),
    "torchao-int8-dynamic": _Method("torchao", config="Int8DynamicActivationInt8WeightConfig"),
    "torchao-float8-dynamic": _Method(
        "torchao", gpu_only=True, config="Float8DynamicActivationFloat8WeightConfig", least_capability=(8, 9)
    ),
}


@dataclass(frozen=True)
class Compression:
    """Compression of a model's weights. `method` (empty = none) applies to `parts`, `gguf` to `denoiser`; the layers of
    `cast` are stored in float8. `revision` is the fingerprint of the GGUF file."""

    method: str = ""
    parts: tuple[str, ...] = ()
    cast: tuple[str, ...] = ()
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
        if self.gguf and part == self.denoiser:
            return "gguf"
        return "float8" if part in self.cast else ""

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of the parts that are stored in fewer bits."""
        stored = {part: self.of(part) for part in (*self.parts, *self.cast, self.denoiser)}
        return {part: cast("Kind", kind) for part, kind in stored.items() if kind}

    @property
    def description(self) -> str:
        """For the log and for manifests; empty for an uncompressed model."""
        parts = ", ".join(f"{part} in {kind}" for part, kind in self.kinds.items())
        return f"{parts} {self.revision}".rstrip()


UNCOMPRESSED = Compression()


def choose_compression(
    spec: ModelSpec, checkpoint: Checkpoint, settings: EngineSettings, device: torch.device
) -> Compression:
    """What the options of `spec` ask for. Raises ModelUnavailable when this machine or this checkpoint cannot do it."""
    options = spec.options
    method = None if options.quantization in ("auto", "none") else options.quantization
    gguf_name = spec.repo if spec.is_gguf else options.gguf
    if not (method or options.layerwise_casting or gguf_name):
        return UNCOMPRESSED
    if spec.is_gguf and (method or options.layerwise_casting):
        raise ModelUnavailable(f"{spec.id} is a GGUF file. Remove quantization and layerwise_casting from its options.")
    if checkpoint.is_single_file and not options.layerwise_casting:
        raise ModelUnavailable(f"{spec.id}: quantization and gguf need a diffusers folder or a hub repo, not one file.")
    denoiser = denoiser_of(checkpoint)
    gguf = _find_gguf(gguf_name, spec, settings) if gguf_name else None
    parts = (options.quantized_parts or (denoiser,)) if method else ()
    unknown = [part for part in parts if part not in checkpoint.weights]
    if unknown or not denoiser:
        missing, known = (*unknown, "transformer")[0], ", ".join(checkpoint.weights)
        raise ModelUnavailable(f"{spec.id} has no part {missing!r} to make smaller; it has {known}.")
    if method:
        _require(method, spec, device)
    revision = fingerprint(gguf.parent, [gguf]) if gguf else ""
    cast_parts = (denoiser,) if options.layerwise_casting else ()
    return Compression(method or "", parts, cast_parts, gguf, denoiser, revision)


def denoiser_of(checkpoint: Checkpoint) -> str:
    """The name of the (first) denoiser; empty if there is none."""
    return next((part for part in checkpoint.kinds if part.startswith(DENOISERS)), "")


def quantization_config(compression: Compression, part: str, library: Any, dtype: torch.dtype) -> Any:
    """The configuration for loading `part`, whose class is of `library`; None when it is not quantised."""
    return _config(compression.method, library, dtype) if part in compression.parts else None


def load_gguf(compression: Compression, checkpoint: Checkpoint, dtype: torch.dtype) -> dict[str, Any]:
    """The denoiser loaded from its GGUF file, by name; empty when there is none."""
    if compression.gguf is None:
        return {}
    part_class = getattr(diffusers, checkpoint.kinds[compression.denoiser].split(".")[-1])
    with with_lowercase_suffix(compression.gguf) as file:
        part = part_class.from_single_file(
            str(file),
            config=str(checkpoint.config),
            subfolder=compression.denoiser,
            quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
            dtype=dtype,
            local_files_only=True,
        )
    return {compression.denoiser: part}


def _config(method: str, library: Any, dtype: torch.dtype) -> Any:
    if method == "bitsandbytes-8bit":
        return library.BitsAndBytesConfig(load_in_8bit=True)
    if method == "bitsandbytes-4bit":
        return library.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    torchao = importlib.import_module("torchao.quantization")
    made = getattr(torchao, METHODS[cast("Quantization", method)].config)
    rows = {"granularity": torchao.PerRow()} if method == "torchao-float8-dynamic" else {}  # a scale for each row
    return library.TorchAoConfig(made(**rows))


def _require(method: Quantization, spec: ModelSpec, device: torch.device) -> None:
    needed = METHODS[method]
    if needed.gpu_only and device.type != "cuda":
        instead = "torchao-int8-dynamic" if method.endswith("-dynamic") else "torchao-int8"
        raise ModelUnavailable(
            f"{spec.id}: {method} needs a GPU. Use {instead}, or remove quantization from the model's options."
        )
    asked = needed.least_capability
    if asked > (0, 0) and device.type == "cuda" and torch.cuda.get_device_capability(device) < asked:
        least = ".".join(map(str, asked))
        raise ModelUnavailable(
            f"{spec.id}: {method} needs a GPU of compute capability {least} (Ada, Hopper and later)."
            " Use torchao-int8-dynamic, or remove quantization from the model's options."
        )
    _require_package(needed.package, method, spec)


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _require_package(package: str, what: str, spec: ModelSpec) -> None:
    if not is_installed(package):
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

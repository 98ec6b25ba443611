"""The files of an auxiliary model in its folder: which weights are its own, and whether all is there. No torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.core.catalog import ModelOptions
from app.files.weights import DamagedFile, read_header, variant_of

REDUX_PARTS = ("image_encoder", "image_embedder")
USUAL_NAME = re.compile(r"(diffusion_pytorch_)?model([.-][^_]*)?\.safetensors")  # others are in other layouts
_RESIZED = frozenset({"F64", "F32", "F16", "BF16"})

Places = Callable[[str], Sequence[Path]]  # the folders in which a model of that name may be


@dataclass(frozen=True)
class AuxiliaryFiles:
    """The files of an auxiliary model on this machine: `folder`, that of the model which it needs besides (an image
    encoder, a detector of people), and all its weights."""

    folder: Path
    second: Path | None
    weights: Sequence[Path]

    @property
    def numbers(self) -> int:
        """Of its weights; 0 for damaged files."""
        return sum(_numbers(file, file.stat().st_size) for file in self.weights)


def files_in(folder: Path, options: ModelOptions, places: Places) -> AuxiliaryFiles | None:
    """The files of the model of a line with `options` in `folder`; None unless all are there."""
    if options.kind == "redux":
        weights = [file for part in REDUX_PARTS for file in weights_in(folder / part, options)]
        complete = all((folder / part / "config.json").is_file() for part in REDUX_PARTS) and len(weights) > 1
        return AuxiliaryFiles(folder, folder / "image_encoder", weights) if complete else None
    own = _own_files(folder, options)
    if not own or options.second is None:
        return AuxiliaryFiles(folder, None, own) if own else None
    beside = folder / options.second
    found = [beside] if beside.is_dir() else [beside, *places(options.second)]
    second = next((place for place in found if weights_in(place, options)), None)
    return None if second is None else AuxiliaryFiles(folder, second, [*own, *weights_in(second, options)])


def _own_files(folder: Path, options: ModelOptions) -> list[Path]:
    if options.kind == "ip-adapter":
        file = folder / (options.file or "")
        return [file] if file.is_file() else []
    return weights_in(folder, options) if (folder / "config.json").is_file() else []


def weights_in(folder: Path, options: ModelOptions) -> list[Path]:
    """The weights in a folder, of one variant."""
    usual = (file for file in sorted(folder.glob("*.safetensors")) if USUAL_NAME.fullmatch(file.name))
    return of_one_variant({file: variant_of(file.name) for file in usual}, options)


def of_one_variant(files: Mapping[Any, str | None], options: ModelOptions) -> list[Any]:
    """Those of the line's variant, else those without one, else those of the first."""
    variants = list(files.values())
    wanted = [variant for variant in (options.variant, None, *variants) if variant in variants]
    return [file for file, its in files.items() if its == wanted[0]] if wanted else []


@lru_cache(maxsize=1024)
def _numbers(file: Path, size: int) -> int:
    """`size` is that of the file, so that a replaced one is read again."""
    try:
        tensors = read_header(file).tensors.values()
    except (DamagedFile, OSError):
        return 0
    return sum(math.prod(tensor["shape"]) for tensor in tensors if tensor["dtype"] in _RESIZED)

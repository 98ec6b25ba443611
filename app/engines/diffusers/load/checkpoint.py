"""Inspects a checkpoint on this machine before it is loaded: its parts, weights, pipeline class and revision.

A missing shard, a pickle or a damaged file is thus reported by name instead of as an exception from a library.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from app.engines.diffusers.load.demo import DemoCard, read_demo_card
from app.engines.diffusers.load.weights import TensorCount, count_tensors, fingerprint
from app.errors import ModelUnavailable
from app.files.weights import variant_of

PICKLE_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
SKIPPED_PARTS = ("safety_checker",)  # the safety filter runs outside the pipeline (safety/filter.py)
_WEIGHTLESS = ("Tokenizer", "TokenizerFast", "Scheduler", "Processor", "Extractor")


@dataclass(frozen=True)
class Checkpoint:
    """`path` is a diffusers folder or one .safetensors file; `config` the folder of model_index.json (for a file, the
    folder that describes it). `revision` is a hub commit or a fingerprint. `parts` are those model_index.json lists,
    `weights` counts the numbers in each part's files (for a single file: all of them under ""). `demo` is the card of a
    built-in model. `kinds` maps the parts to library and class, `files` those in `weights` to their files;
    `variant` is that of the files, such as `fp16`. `folders` are those of parts from elsewhere, and `separate` maps
    parts to a single file that has their weights (composition.py).
    """

    path: Path
    config: Path
    pipeline_class: str
    parts: tuple[str, ...]
    weights: Mapping[str, TensorCount]
    revision: str
    demo: DemoCard | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    variant: str | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)
    separate: Mapping[str, Path] = field(default_factory=dict)

    def folder_of(self, part: str) -> Path:
        """The folder with a part's configuration, and its weights if it has no file of its own."""
        return self.folders.get(part, self.config / part)

    @property
    def is_single_file(self) -> bool:
        return self.path != self.config

    def bytes_at(self, item_bytes: int) -> int:
        """Size of all weights in memory when each number takes `item_bytes`."""
        return sum(count.bytes_at(item_bytes) for count in self.weights.values())


def inspect_folder(
    folder: Path, variant: str | None, revision: str | None = None, *, elsewhere: Collection[str] = ()
) -> Checkpoint:
    """Inspect a diffusers folder. `variant` prefers weights such as `model.fp16.safetensors`, which are also used
    where there are no others; `revision` is the hub's. The weights of the parts `elsewhere` come from somewhere else,
    and only their configuration is required here.

    Raises ModelUnavailable naming what is missing, damaged, or not safe to load.
    """
    index = _read_index(folder)
    for part in elsewhere:
        _require_config(folder, part, index)
    wanted = [part for part in _weight_parts(index) if part not in elsewhere]
    variant = variant or _only_variant(folder, wanted)
    found: dict[str, list[Path]] = {part: [] for part in _weight_parts(index)}
    found |= {part: _weights_of(folder / part, str(index[part][-1]), variant) for part in wanted}
    return Checkpoint(
        path=folder,
        config=folder,
        pipeline_class=_class_of(index, folder),
        parts=_part_names(index),
        weights={part: count_tensors(files) for part, files in found.items() if files},
        revision=revision or fingerprint(folder, chain.from_iterable(found.values())),
        demo=read_demo_card(folder),
        kinds={part: ".".join(map(str, index[part])) for part in found},
        files={part: files for part, files in found.items() if files},
        variant=variant,
    )


def inspect_file(file: Path, config: Path) -> Checkpoint:
    """Inspect a single .safetensors file that the folder `config` describes. Raises ModelUnavailable."""
    index = _read_index(config)
    return Checkpoint(
        path=file,
        config=config,
        pipeline_class=_class_of(index, config),
        parts=_part_names(index),
        weights={"": count_tensors([file])},
        revision=fingerprint(file.parent, [file]),
        kinds={part: ".".join(map(str, index[part])) for part in _weight_parts(index)},
        files={"": [file]},
    )


def count_encoders(folder: Path) -> int:
    """How many text encoders the pipeline in `folder` has."""
    return sum(part.startswith("text_encoder") for part in _weight_parts(_read_index(folder)))


def inspect_part(folder: Path, class_name: str, variant: str | None) -> list[Path]:
    """The weight files of a part in `folder`. Raises ModelUnavailable."""
    variants = {variant_of(file.name) for file in folder.glob("*.safetensors")}
    only = None if None in variants or len(variants) != 1 else next(iter(variants))
    return _weights_of(folder, class_name, variant or only)


def _require_config(folder: Path, part: str, index: Mapping[str, Any]) -> None:
    if (index.get(part) or [None])[0] and not (folder / part / "config.json").is_file():
        raise ModelUnavailable(f"{folder / part} has no config.json. Fetch the model again.")


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelUnavailable(f"{folder} is not a diffusers folder: it has no model_index.json.") from None
    except ValueError:
        raise ModelUnavailable(f"{path} is not valid JSON; fetch it again.") from None
    if not isinstance(index, dict):
        raise ModelUnavailable(f"{path} must hold a JSON object; fetch it again.")
    return index


def _class_of(index: dict[str, Any], folder: Path) -> str:
    name = index.get("_class_name")
    if not isinstance(name, str):  # a list names code in the repo itself
        raise ModelUnavailable(f"{folder} needs Python code of its own, which is never run. Use another model.")
    return name


def _part_names(index: dict[str, Any]) -> tuple[str, ...]:
    """All parts of the pipeline's constructor, empty ones included."""
    return tuple(name for name, value in index.items() if isinstance(value, list) and not name.startswith("_"))


def _weight_parts(index: dict[str, Any]) -> list[str]:
    """The parts that should have weights or vocabularies."""
    return [name for name in _part_names(index) if index[name] and index[name][0] and name not in SKIPPED_PARTS]


def _weights_of(folder: Path, class_name: str, variant: str | None) -> list[Path]:
    """The weight files of one part; none for tokenizers and schedulers."""
    if not folder.is_dir():
        raise ModelUnavailable(f"The model lacks the folder {folder}. Fetch the model again.")
    if class_name.endswith(_WEIGHTLESS):
        return []
    files = _of_variant(sorted(folder.glob("*.safetensors")), variant)
    if not files or any("-of-" in file.name for file in files):
        _require_shards(folder, variant)
    if files or not (folder / "config.json").is_file():
        return files
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLE_SUFFIXES)
    if pickles:
        raise ModelUnavailable(
            f"{folder / pickles[0]} is a pickle, which can run code, and is never loaded."
            " Use a version of the model with .safetensors files, or convert it."
        )
    others = sorted(file.name for file in folder.iterdir() if file.suffix.lower() == ".safetensors")
    if any(name.endswith(".safetensors") for name in others):
        raise ModelUnavailable(f"{folder} has {', '.join(others)} only. Choose one of these by the option variant.")
    if others:
        raise ModelUnavailable(f"{folder / others[0]} must end in lowercase .safetensors. Rename it.")
    raise ModelUnavailable(f"There is no .safetensors file in {folder}. Fetch the model again.")


def _of_variant(files: list[Path], variant: str | None) -> list[Path]:
    """The files of `variant`, else those without a variant."""
    variants = {file: variant_of(file.name) for file in files}
    wanted = [file for file, its in variants.items() if variant and its == variant]
    return wanted or [file for file, its in variants.items() if its is None]


def _only_variant(folder: Path, parts: Iterable[str]) -> str | None:
    """The only variant of the parts without plain weights; None when every part has plain ones."""
    only: list[set[str]] = []
    for part in parts:
        its = {variant_of(file.name) for file in (folder / part).glob("*.safetensors")}
        if its and None not in its:
            only.append({variant for variant in its if variant is not None})
    if not only:
        return None
    common = set.intersection(*only)
    if len(common) != 1:
        named = ", ".join(sorted(set.union(*only)))
        raise ModelUnavailable(f"{folder} has weights in several variants ({named}). Choose one by the option variant.")
    return common.pop()


def _require_shards(folder: Path, variant: str | None) -> None:
    """Raise ModelUnavailable when a file listed in the shard index is missing."""
    variants = (f"*.safetensors.index.{variant}.json", "*.safetensors.index.json")
    indexes = [file for pattern in variants for file in sorted(folder.glob(pattern))]
    if not indexes:
        return
    try:
        names = set(json.loads(indexes[0].read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ModelUnavailable(f"{indexes[0]} cannot be read; fetch it again.") from None
    missing = sorted(str(name) for name in names if not (folder / str(name)).is_file())
    if missing:
        raise ModelUnavailable(f"The weights file {folder / missing[0]} is missing. Fetch the model again.")

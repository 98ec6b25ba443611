"""Loads auxiliary models from their folders: ControlNets, IP-Adapters, FLUX Redux, and detectors. Safetensors only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines import pipeline_utils
from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HUB_CACHE
from safetensors import SafetensorError, safe_open

from app.core.auxiliaries import net_shape
from app.core.catalog import ModelSpec
from app.core.control_colours import ADE20K_COLOURS
from app.core.faults import is_beyond_the_job
from app.core.job import Phase
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.downloads import resumable_downloads
from app.engines.diffusers.load.errors import DOWNLOAD_ERRORS, LOAD_ERRORS, Advice, download_error, first_line
from app.engines.diffusers.load.weights import count_tensors, fingerprint
from app.errors import InputModelUnavailable
from app.files.auxiliary_files import (
    REDUX_PARTS,
    USUAL_NAME,
    AuxiliaryFiles,
    files_in,
    of_one_variant,
)
from app.files.hub_cache import is_repo_id, repo_folder
from app.files.weights import variant_of

_KIND = Advice("such a model", "copy it here and configure its folder as a local model", "the repo in the MODEL_ line")
_ENCODERS = {"clip_vision_model": "CLIPVisionModelWithProjection", "siglip_vision_model": "SiglipVisionModel"}
_USUAL_SIZE = 224  # pixels that CLIP looks at


@dataclass(frozen=True)
class AuxiliaryParts:
    """What a pipeline has: parts by name. `weights` are modules, which are measured and moved; `others` are not."""

    weights: Mapping[str, torch.nn.Module]
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def components(self) -> dict[str, Any]:
        return dict(self.weights)

    def __getattr__(self, name: str) -> Any:
        for parts in (self.__dict__.get("weights", {}), self.__dict__.get("others", {})):
            if name in parts:
                return parts[name]
        raise AttributeError(name)


class AdapterWeights(torch.nn.Module):
    """The tensors of an IP-Adapter's file by name, as buffers: measured and moved like any weights."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self._names = list(tensors)
        for index, tensor in enumerate(tensors.values()):
            self.register_buffer(f"tensor_{index}", tensor, persistent=False)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {name: self.get_buffer(f"tensor_{index}") for index, name in enumerate(self._names)}


def locate_auxiliary(spec: ModelSpec, settings: EngineSettings, control: Control) -> AuxiliaryFiles:
    """Its files on this machine, downloaded if necessary. Raises InputModelUnavailable, and what a download does."""
    files = _files_here(spec, settings)
    if files is not None:
        return files
    if spec.source == "huggingface":
        _download(spec, settings, control)
        files = _files_here(spec, settings)
    if files is None:
        wanted = spec.options.file or "config.json and .safetensors files"
        second = f", or the model {spec.options.second} is missing" if spec.options.second else ""
        raise InputModelUnavailable(
            f"{spec.id} cannot be used: {spec.repo} has no {wanted}{second}."
            " Correct its MODEL_ line. Pickles can run code and are never loaded."
        )
    return files


def revision_of(files: AuxiliaryFiles) -> str:
    """A fingerprint of the weights, and of those of the second model if they are elsewhere."""
    inside = [file for file in files.weights if file.is_relative_to(files.folder)]
    own, others = fingerprint(files.folder, inside), [file for file in files.weights if file not in inside]
    return f"{own}, {fingerprint(others[0].parent, others)}" if others else own


def bytes_at(spec: ModelSpec, files: AuxiliaryFiles, dtype: torch.dtype) -> int:
    """The size of the weights in memory, beside a model of `dtype`. Raises ModelUnavailable for a damaged file."""
    own = torch.float32 if spec.options.kind == "detector" else dtype
    return count_tensors(list(files.weights)).bytes_at(own.itemsize)


def load_auxiliary(spec: ModelSpec, files: AuxiliaryFiles, dtype: torch.dtype) -> AuxiliaryParts:
    """The parts of the model in main memory. Raises InputModelUnavailable; faults of memory and process pass."""
    try:
        return _LOADERS[str(spec.options.kind)](spec, files, dtype)
    except (*LOAD_ERRORS, SafetensorError) as error:
        if is_beyond_the_job(error):
            raise
        raise InputModelUnavailable(f"{spec.id} ({spec.repo}) cannot be loaded: {first_line(error)}.") from error


def _files_here(spec: ModelSpec, settings: EngineSettings) -> AuxiliaryFiles | None:
    for folder in _places(spec.repo, settings):
        found = files_in(folder, spec.options, lambda name: _places(name, settings))
        if found is not None:
            return found
    return None


def _places(name: str, settings: EngineSettings) -> Sequence[Path]:
    """The folders in which a model called `name` may be."""
    here = [place for place in settings.places_of(name) if place.is_dir()]
    hub = (repo_folder(Path(HF_HUB_CACHE), name) / "snapshots").glob("*") if is_repo_id(name) else ()
    return [*here, *sorted(hub, key=lambda path: path.stat().st_mtime_ns, reverse=True)]


def _download(spec: ModelSpec, settings: EngineSettings, control: Control) -> None:
    control.report(Phase.DOWNLOADING)
    second = spec.options.second or ""
    apart = second if is_repo_id(second) and not _places(second, settings) else ""
    try:
        patterns = _patterns(spec, list(HfApi().list_repo_files(spec.repo)))
        if apart and not any(pattern.startswith(f"{second}/") for pattern in patterns):
            _fetch(apart, ["config.json", "preprocessor_config.json", "model.safetensors"], settings, control)
        _fetch(spec.repo, patterns, settings, control)
    except DOWNLOAD_ERRORS as error:
        raise download_error(error, spec, _KIND) from error


def _fetch(repo: str, patterns: Sequence[str], settings: EngineSettings, control: Control) -> None:
    with resumable_downloads(control, settings.disk_floor_bytes):
        pipeline_utils.snapshot_download(repo, allow_patterns=list(patterns))  # the name that is replaced


def _patterns(spec: ModelSpec, names: Sequence[str]) -> list[str]:
    """The files of a repository that the model needs: one variant of its weights, and their configurations."""
    folders: Sequence[str] = [""]
    own = []
    if spec.options.kind == "redux":
        folders = [f"{part}/" for part in (*REDUX_PARTS, "feature_extractor")]
    elif spec.options.kind == "ip-adapter":
        own, folders = [spec.options.file or ""], [f"{spec.options.image_encoder}/"]
    wanted = []
    for folder in folders:
        inside = [name for name in names if name.startswith(folder) and "/" not in name[len(folder) :]]
        bare = {name: name.rpartition("/")[2] for name in inside}
        weights = {name: variant_of(last) for name, last in bare.items() if USUAL_NAME.fullmatch(last)}
        wanted += of_one_variant(weights, spec.options)
        wanted += [name for name in inside if name.endswith(".json")]
    return [*own, *wanted]


def _load_controlnet(spec: ModelSpec, files: AuxiliaryFiles, dtype: torch.dtype) -> AuxiliaryParts:
    shape = net_shape(_config(files.folder))
    if shape is None:
        raise InputModelUnavailable(f"{spec.id} ({spec.repo}) is no ControlNet of a class that can be used here.")
    kind = getattr(diffusers, shape.net_class)
    variant = variant_of(files.weights[0].name)
    net = kind.from_pretrained(files.folder, dtype=dtype, variant=variant, use_safetensors=True, local_files_only=True)
    return AuxiliaryParts({"controlnet": net.eval()}, {"shape": shape})


def _load_ip_adapter(spec: ModelSpec, files: AuxiliaryFiles, dtype: torch.dtype) -> AuxiliaryParts:
    assert files.second is not None  # located with it
    with safe_open(files.weights[0], framework="pt", device="cpu") as opened:
        tensors = {name: opened.get_tensor(name).to(dtype) for name in opened.keys()}  # noqa: SIM118 - no mapping
    parts = {"adapter": AdapterWeights(tensors), "image_encoder": _image_encoder(files.second, dtype)}
    extractor = _image_processor(files.second, parts["image_encoder"])
    return AuxiliaryParts(parts, {"feature_extractor": extractor, "encoder": files.second})


def _load_redux(spec: ModelSpec, files: AuxiliaryFiles, dtype: torch.dtype) -> AuxiliaryParts:
    assert files.second is not None  # located with it
    encoder = _image_encoder(files.second, dtype)
    embedder: Any = diffusers.ReduxImageEncoder
    embedder = embedder.from_pretrained(
        files.folder / "image_embedder", dtype=dtype, use_safetensors=True, local_files_only=True
    )
    own = files.folder / "feature_extractor"
    extractor = _image_processor(own if own.is_dir() else files.second, encoder)
    return AuxiliaryParts(
        {"image_encoder": encoder, "image_embedder": embedder.eval()}, {"feature_extractor": extractor}
    )


def _load_detector(spec: ModelSpec, files: AuxiliaryFiles, dtype: torch.dtype) -> AuxiliaryParts:
    detects = str(spec.options.detects)
    weights, others = _detector_in(files.folder, *_DETECTORS[detects], names=("detector", "processor"))
    classes = weights["detector"].config.num_labels if detects == "seg" else None
    if classes not in (None, len(ADE20K_COLOURS)):
        raise InputModelUnavailable(
            f"{spec.id} ({spec.repo}) tells {classes} classes apart. ControlNets for segments know the"
            f" {len(ADE20K_COLOURS)} of ADE20K: use a model for that data set."
        )
    if files.second is not None:
        people = _detector_in(files.second, _OBJECTS, names=("person_detector", "person_processor"))
        if "person" not in {str(name).lower() for name in people[0]["person_detector"].config.id2label.values()}:
            raise InputModelUnavailable(
                f"{spec.options.person_detector} finds no people: it has no class called person."
            )
        weights, others = weights | people[0], others | people[1]
    return AuxiliaryParts(weights, others)


_OBJECTS: Any = transformers.AutoModelForObjectDetection
_DETECTORS: Mapping[str, Sequence[Any]] = {  # the first that knows the model's class is taken
    "depth": (transformers.AutoModelForDepthEstimation,),
    "pose": (transformers.AutoModelForPoseEstimation,),
    "seg": (transformers.AutoModelForSemanticSegmentation, transformers.AutoModelForUniversalSegmentation),
}


def _detector_in(folder: Path, *kinds: Any, names: tuple[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model in float32 and its processor. Raises ValueError for one of another kind."""
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    kind = next((kind for kind in kinds if type(config) in kind._model_mapping), None)
    if kind is None:
        raise ValueError(f"{config.model_type} is no model for that")
    model = kind.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    return {names[0]: model.eval()}, {names[1]: processor}


_LOADERS = {
    "controlnet": _load_controlnet,
    "ip-adapter": _load_ip_adapter,
    "redux": _load_redux,
    "detector": _load_detector,
}


def _image_encoder(folder: Path, dtype: torch.dtype) -> Any:
    model_type = _config(folder).get("model_type")
    name = _ENCODERS.get(str(model_type))
    if name is None:
        raise ValueError(f"{folder.name} is {model_type}, not an image encoder of CLIP or SigLIP")
    kind = getattr(transformers, name)
    return kind.from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True).eval()


def _image_processor(folder: Path, encoder: Any) -> Any:
    """What its folder describes, else what diffusers takes for CLIP."""
    if (folder / "preprocessor_config.json").is_file():
        return transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    size = getattr(encoder.config, "image_size", _USUAL_SIZE)
    return transformers.CLIPImageProcessor(size=size, crop_size=size)


def _config(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}

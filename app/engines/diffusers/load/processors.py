"""Loads transformers' processors on machines without torchvision.

transformers 5 has two implementations of most image processors, one on torchvision and one on Pillow, and takes the
one that can run. Three kinds are left, which it refuses to load without torchvision although pictures and words need
none of it:

- processors with a video processor (Qwen-VL's, which edit pictures with Qwen-Image and encode Kandinsky's prompts):
  only the video processor needs torchvision, and no pipeline of diffusers sends it a video;
- Pixtral's (FLUX.2-dev's tokenizer), which is marked as needing torchvision and uses the Pillow one as well;
- image processors saved by transformers 4 with names in `Fast`.

OmniGen has a processor of its own in diffusers, whose three operations of torchvision are made here with torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from functools import cache, reduce
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import processing_utils
from transformers.processing_utils import ProcessorMixin
from transformers.utils import is_torchvision_available
from transformers.video_processing_utils import VideoProcessorMixin

from app.engines.diffusers.load.checkpoint import Checkpoint
from app.errors import ModelUnavailable

_PIXTRAL = "transformers.models.pixtral"
# Pipelines that import torchvision themselves.
_OWN_TORCHVISION = ("ConsisIDPipeline", "Cosmos")


class NoVideos(VideoProcessorMixin):
    """The place of a video processor that cannot run: keeps its settings, refuses videos."""

    def __init__(self, video_processor_type: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.video_processor_type = video_processor_type

    def preprocess(self, videos: Any, **options: Any) -> Any:
        raise ModelUnavailable("This model can take no videos here: install torchvision, built for this torch.")

    def to_dict(self) -> dict[str, Any]:
        """The settings under the name of the class that stands in the model's files."""
        return {**super().to_dict(), "video_processor_type": self.video_processor_type}


def load_processors(checkpoint: Checkpoint, given: Collection[str] = ()) -> dict[str, Any]:
    """The parts of `checkpoint` that diffusers cannot load by itself, by name, without those `given`; none where
    torchvision is installed.

    Raises ModelUnavailable when the pipeline itself needs torchvision, and what transformers raises on damaged files.
    """
    if is_torchvision_available():
        return {}
    prepare_pipeline(checkpoint.pipeline_class)
    loaded = {}
    for part, kind in checkpoint.kinds.items():
        library, _, name = kind.rpartition(".")
        if part not in given and library == "transformers" and name.endswith(("Processor", "ProcessorFast")):
            found = usable_class(name)
            if _takes_videos(found):
                loaded[part] = _without_videos(found, checkpoint.config / part)
    return loaded


def prepare_pipeline(pipeline_class: str) -> None:
    """Make a pipeline class of diffusers ready that imports torchvision itself.

    Raises ModelUnavailable where that is not possible without torchvision.
    """
    if is_torchvision_available():
        return
    if pipeline_class.startswith(_OWN_TORCHVISION):
        raise ModelUnavailable(
            f"{pipeline_class} needs torchvision, which is not installed."
            " Install the torchvision that is built for this torch, or use another model."
        )
    if pipeline_class == "OmniGenPipeline":
        _let_omnigen_work()


@cache
def usable_class(name: str) -> Any:
    """transformers' class `name`; where that is a placeholder for want of torchvision, the one that works on Pillow,
    which then also takes the placeholder's place, for diffusers to find."""
    found = getattr(transformers, name, None)
    if found is not None and not getattr(found, "is_dummy", False):
        # A processor looks the base classes of its parts up there; without torchvision this one is not listed.
        processing_utils.transformers_module.VideoProcessorMixin = VideoProcessorMixin
        return found
    if name == "PixtralProcessor":
        found = _pixtral_processor()
    else:
        found = getattr(transformers, name.removesuffix("Fast") + "Pil", found)
    setattr(transformers, name, found)
    return found


def _pixtral_processor() -> Any:
    """transformers' PixtralProcessor. Its module takes one function from the image processor on torchvision, which
    the one on Pillow has as well."""
    name = f"{_PIXTRAL}.image_processing_pixtral"
    sys.modules[name] = import_module(f"{_PIXTRAL}.image_processing_pil_pixtral")
    try:
        return import_module(f"{_PIXTRAL}.processing_pixtral").PixtralProcessor
    finally:
        del sys.modules[name]


@cache
def _let_omnigen_work() -> None:
    """Give the processor of OmniGen in diffusers the operations that it takes from torchvision, and its pipeline the
    processor."""
    module: Any = import_module("diffusers.pipelines.omnigen.processor_omnigen")
    module.transforms = SimpleNamespace(
        Compose=_in_turn, Lambda=lambda work: work, ToTensor=_to_tensor, Normalize=_normal
    )
    pipeline: Any = import_module("diffusers.pipelines.omnigen.pipeline_omnigen")
    pipeline.OmniGenMultiModalProcessor = module.OmniGenMultiModalProcessor


def _in_turn(works: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    return lambda value: reduce(lambda made, work: work(made), works, value)


def _to_tensor() -> Callable[[Image.Image], torch.Tensor]:
    """A picture as (channels, rows, columns) from 0 to 1."""
    return lambda picture: torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(255)


def _normal(mean: Sequence[float], std: Sequence[float], inplace: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """(value - mean) / std, for each channel."""
    return lambda picture: (picture - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def _takes_videos(found: Any) -> bool:
    attributes = found.get_attributes() if issubclass(found, ProcessorMixin) else ()
    return "video_processor" in attributes


def _without_videos(found: Any, folder: Path) -> Any:
    """The processor of class `found` in `folder`, with `NoVideos`."""
    settings, _ = found.get_processor_dict(folder, local_files_only=True)
    parts = {"image_processor": transformers.AutoImageProcessor, "tokenizer": transformers.AutoTokenizer}
    arguments = [
        NoVideos(**{"video_processor_type": "unknown", **settings.get("video_processor", {})})
        if part == "video_processor"
        else parts[part].from_pretrained(folder, local_files_only=True)
        for part in found.get_attributes()
    ]
    return found.from_args_and_dict(arguments, settings)

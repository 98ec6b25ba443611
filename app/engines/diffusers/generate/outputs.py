"""Reads what a pipeline returned: pictures or frames, and the sound of a video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from app.errors import GenerationError
from app.files.media import Sound

FloatPixels = npt.NDArray[np.float32]
_FIELDS = ("frames", "videos", "images", "image")
_USUAL_RATE = 24_000  # samples a second, where the vocoder does not say


def pictures_of(output: Any) -> Sequence[FloatPixels]:
    """The pictures, (height, width, 3), or videos, (frames, height, width, 3), of an output made with
    `output_type="np"`: 0 to 1. Raises GenerationError for a family whose output is something else."""
    field = next((name for name in _FIELDS if getattr(output, name, None) is not None), None)
    if field is None:
        raise GenerationError(f"The pipeline returned {type(output).__name__}, which holds no pictures or frames.")
    found = getattr(output, field)
    return [_as_array(each) for each in found]


def sounds_of(pipeline: Any, output: Any, videos: int) -> Sequence[Sound | None]:
    """The sound of each of `videos`; None for each of a family without."""
    audio = getattr(output, "audio", None)
    if audio is None:
        return [None] * videos
    vocoder = getattr(pipeline, "vocoder", None)
    rate = int(getattr(getattr(vocoder, "config", None), "output_sampling_rate", None) or _USUAL_RATE)
    return [Sound(_as_channels(each), rate) for each in audio]


def _as_array(picture: Any) -> FloatPixels:
    """Arrays as they are; tensors have their channels first; PIL is what a few families return whatever is asked."""
    if isinstance(picture, torch.Tensor):
        channels_last = picture.shape[-1] in (1, 3, 4)
        array: FloatPixels = picture.float().cpu().numpy()
        return array if channels_last else np.moveaxis(array, -3, -1)
    if isinstance(picture, (list, tuple)):
        return np.stack([_as_array(each) for each in picture])
    pixels = np.asarray(picture)
    scale = np.float32(255 if pixels.dtype == np.uint8 else 1)
    return pixels.astype(np.float32, copy=False) / scale


def _as_channels(audio: Any) -> npt.NDArray[np.float32]:
    """Samples as (channels, samples), -1 to 1."""
    array = audio.float().cpu().numpy() if isinstance(audio, torch.Tensor) else np.asarray(audio, np.float32)
    return np.atleast_2d(array).clip(-1, 1)

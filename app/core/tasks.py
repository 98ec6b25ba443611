"""Tasks of pipelines besides text to image: starting from an image, repainting a part, making videos.

Which pipelines support them themselves or through a sibling class is defined in diffusers (signatures of its classes,
its AutoPipeline tables). It is copied here, so that the API needs no import of diffusers; tests/engines compares it to
the installed version. For unlisted classes the worker inspects the call's signature. Video families have more rules:
see `videos.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

Task = Literal["txt2img", "img2img", "inpaint", "txt2video", "img2video"]
TXT2IMG: Task = "txt2img"
TEXT_TASKS: frozenset[Task] = frozenset({"txt2img", "txt2video"})
VIDEO_TASKS: tuple[Task, ...] = ("txt2video", "img2video")
_OF_VIDEOS: dict[Task, Task] = {"txt2img": "txt2video", "img2img": "img2video"}

_WORDS: tuple[Task, ...] = ("txt2img",)
_START: tuple[Task, ...] = ("img2img",)
_PART: tuple[Task, ...] = ("inpaint",)
_IMG2IMG: tuple[Task, ...] = (*_WORDS, *_START)
_BOTH: tuple[Task, ...] = (*_IMG2IMG, *_PART)
_BY_PIPELINE: dict[str, tuple[Task, ...]] = {
    # text to image, with sibling classes for images
    "FluxPipeline": _BOTH,
    "StableDiffusion3Pipeline": _BOTH,
    "StableDiffusionXLPipeline": _BOTH,
    "StableDiffusionPipeline": _BOTH,
    "QwenImagePipeline": _BOTH,
    "ZImagePipeline": _BOTH,
    "KolorsPipeline": _IMG2IMG,
    "LatentConsistencyModelPipeline": _IMG2IMG,
    "SanaSprintPipeline": _IMG2IMG,
    # classes that accept an image themselves
    "FluxKontextPipeline": _BOTH,
    "Flux2Pipeline": _IMG2IMG,
    "Flux2KleinPipeline": _IMG2IMG,
    "Flux2KleinKVPipeline": _IMG2IMG,
    "GlmImagePipeline": _IMG2IMG,
    "QwenImage21Pipeline": _IMG2IMG,
    "ZImageOmniPipeline": _IMG2IMG,
    # text only
    **dict.fromkeys(
        (
            *("AuraFlowPipeline", "ChromaPipeline", "CogView3PlusPipeline", "CogView4Pipeline", "HunyuanDiTPipeline"),
            *("Ideogram4Pipeline", "Krea2Pipeline", "LuminaPipeline", "Lumina2Pipeline", "NucleusMoEImagePipeline"),
            *("OvisImagePipeline", "PixArtAlphaPipeline", "PixArtSigmaPipeline", "PRXPipeline", "SanaPipeline"),
            *("StableCascadeCombinedPipeline", "WuerstchenCombinedPipeline"),
        ),
        _WORDS,
    ),
}
_BY_NAME: tuple[tuple[str, tuple[Task, ...]], ...] = (  # for other classes: the first pattern found in the name
    # these need inputs that requests do not have: a control picture, embeddings, a second prompt
    (r"Control(Net)?|Adapter|Prior|Decoder|SuperResolution|LatentUpscale|DiffEdit|Variation|Marigold|VisualCloze", ()),
    (
        r"^(Kandinsky(V22)?(Img2Img|Inpaint)|PaintByExample|RePaint|ShapEImg2Img|JoyImageEditPlus)|Layered|Redux|Audio",
        (),
    ),
    (r"Inpaint|Fill", _PART),
    (r"Img2Img|InstructPix2Pix|Edit(?!ing)|Upscale|Depth2Img|I2IPipeline|Refiner", _START),
)

_NOT_SENT = frozenset({"control_image", "control_mask", "video", "audio"})

DEFAULT_STRENGTH: dict[Task, float] = {"img2img": 0.75, "inpaint": 1.0}


def tasks_of(pipeline_class: str) -> tuple[Task, ...] | None:
    """The tasks of a diffusers pipeline; None if it is unknown, and `()` if it needs inputs that requests do not
    have."""
    if pipeline_class in _BY_PIPELINE:
        return _BY_PIPELINE[pipeline_class]
    return next((tasks for pattern, tasks in _BY_NAME if re.search(pattern, pipeline_class)), None)


def tasks_of_call(takes: Collection[str]) -> tuple[Task, ...]:
    """The tasks of a pipeline whose call has these arguments."""
    if "prompt" not in takes or not _NOT_SENT.isdisjoint(takes):
        return ()
    if "image" not in takes:
        return _WORDS
    if "mask_image" in takes:
        return _PART
    return _START if "strength" in takes else _IMG2IMG


def needs(tasks: Collection[Task]) -> str:
    """The inputs for a model that supports `tasks`, as a sentence."""
    if TXT2IMG in tasks:
        return "send no image"
    if "img2img" in tasks:
        return "send an image"
    if "inpaint" in tasks:
        return "send an image and a mask"
    return "choose another model: it needs inputs that requests do not have, such as a control picture"


def as_video(task: Task) -> Task:
    """The corresponding task of a video model."""
    return _OF_VIDEOS.get(task, task)


def steps_run(num_inference_steps: int, strength: float | None) -> int:
    """The number of steps that run: starting from a picture skips the first ones.

    Rounded down, as in most families; some run one more. 0 means that there is nothing to do.
    """
    return num_inference_steps if strength is None else min(int(num_inference_steps * strength), num_inference_steps)

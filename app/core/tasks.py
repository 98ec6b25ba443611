"""What can be done with a model, beside drawing from words alone: start from a picture, or repaint a part of one.

Which pipelines do that themselves, and which have a sibling for it, is diffusers' knowledge (calls of its classes, its
AutoPipeline tables); it is written down here, so that the API can tell without importing diffusers, and tests/engines
holds it to the installed version. A class that is not written down is left to the worker, which asks its call.
Families of videos have more rules than that: see `videos.py`.
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
    # weights that draw from words, and with a sibling of their class from a picture too
    "FluxPipeline": _BOTH,
    "StableDiffusion3Pipeline": _BOTH,
    "StableDiffusionXLPipeline": _BOTH,
    "StableDiffusionPipeline": _BOTH,
    "QwenImagePipeline": _BOTH,
    "ZImagePipeline": _BOTH,
    "KolorsPipeline": _IMG2IMG,
    "LatentConsistencyModelPipeline": _IMG2IMG,
    "SanaSprintPipeline": _IMG2IMG,
    # classes that take a picture themselves, if they are given one
    "FluxKontextPipeline": _BOTH,
    "Flux2Pipeline": _IMG2IMG,
    "Flux2KleinPipeline": _IMG2IMG,
    "Flux2KleinKVPipeline": _IMG2IMG,
    "GlmImagePipeline": _IMG2IMG,
    "QwenImage21Pipeline": _IMG2IMG,
    "ZImageOmniPipeline": _IMG2IMG,
    # words alone
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
_BY_NAME: tuple[tuple[str, tuple[Task, ...]], ...] = (  # the first that is found in the name of another class
    # what they need cannot be sent: a control picture, embeddings, a second prompt
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
    """What a model of this diffusers pipeline can do here; None when nothing is known of it, and `()` when it needs
    what cannot be sent."""
    if pipeline_class in _BY_PIPELINE:
        return _BY_PIPELINE[pipeline_class]
    return next((tasks for pattern, tasks in _BY_NAME if re.search(pattern, pipeline_class)), None)


def tasks_of_call(takes: Collection[str]) -> tuple[Task, ...]:
    """What a pipeline does itself whose call takes these arguments."""
    if "prompt" not in takes or not _NOT_SENT.isdisjoint(takes):
        return ()
    if "image" not in takes:
        return _WORDS
    if "mask_image" in takes:
        return _PART
    return _START if "strength" in takes else _IMG2IMG


def needs(tasks: Collection[Task]) -> str:
    """What must be sent to a model that does `tasks`, in words."""
    if TXT2IMG in tasks:
        return "send no image"
    if "img2img" in tasks:
        return "send an image"
    if "inpaint" in tasks:
        return "send an image and a mask"
    return "choose another model: what it needs, such as a control picture, cannot be sent"


def as_video(task: Task) -> Task:
    """What a model of videos means by `task`."""
    return _OF_VIDEOS.get(task, task)


def steps_run(num_inference_steps: int, strength: float | None) -> int:
    """Of the steps asked for, those that a start from a picture leaves: the first ones are skipped.

    Rounded down, as most families do it; some run one more. 0 means that nothing is left to do.
    """
    return num_inference_steps if strength is None else min(int(num_inference_steps * strength), num_inference_steps)

"""Pipelines by task: a loaded model's own, or another class over the same weights.

Such a pipeline holds references and no memory of its own. It is made on first use and freed with its model.
A picture made by a video pipeline is the first frame of its latents, which a video VAE decodes on its own.
"""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting

from app.core.tasks import TXT2IMG, VIDEO_TASKS, Task, needs, tasks_of, tasks_of_call
from app.engines.diffusers.memory.loaded import LoadedModel
from app.errors import UnsupportedTask

_AUTO_CLASSES = {"img2img": AutoPipelineForImage2Image, "inpaint": AutoPipelineForInpainting}
EXTRA_PIPELINES: dict[tuple[str, Task], str] = {  # classes that diffusers has but AutoPipeline does not know
    ("SanaSprintPipeline", "img2img"): "SanaSprintImg2ImgPipeline",
    ("FluxKontextPipeline", "inpaint"): "FluxKontextInpaintPipeline",
}
_VIDEOS: dict[str, tuple[str, str]] = {  # by class, those for txt2video and img2video
    "LTXPipeline": ("LTXPipeline", "LTXImageToVideoPipeline"),
    "LTXImageToVideoPipeline": ("LTXPipeline", "LTXImageToVideoPipeline"),
    "LTXConditionPipeline": ("LTXConditionPipeline", "LTXConditionPipeline"),
    "WanPipeline": ("WanPipeline", "WanImageToVideoPipeline"),
    "WanImageToVideoPipeline": ("WanPipeline", "WanImageToVideoPipeline"),
}


def pipeline_for(model: LoadedModel, task: Task) -> Any:
    """The pipeline that runs `task` with `model`. Raises UnsupportedTask when diffusers has none for this family."""
    _check_media(model, task)
    if task not in VIDEO_TASKS and task in (own := own_tasks(model.pipeline)):
        return model.pipeline
    if task not in VIDEO_TASKS and TXT2IMG not in own:
        raise _unsupported(model, task, needs(own))
    if task not in model.task_pipelines:
        model.task_pipelines[task] = (_make_for_video if task in VIDEO_TASKS else _make)(model, task)
    return model.task_pipelines[task]


def own_tasks(pipeline: Any) -> tuple[Task, ...]:
    """The tasks that `pipeline` itself can run: by the signature of its call, limited to those known of its class."""
    by_call = tasks_of_call(inspect.signature(pipeline.__call__).parameters)
    stated = tasks_of(type(pipeline).__name__)
    return tuple(task for task in by_call if stated is None or task in stated)


def _check_media(model: LoadedModel, task: Task) -> None:
    """Raise UnsupportedTask for an image task of a video model or the reverse. Checked here because the model may have
    been downloaded after submission."""
    makes_videos = "num_frames" in inspect.signature(model.pipeline.__call__).parameters
    if makes_videos and task not in VIDEO_TASKS:
        raise UnsupportedTask(f'{model.spec.id} makes videos: add "media": "video" to the options of its MODEL_ line.')
    if not makes_videos and task in VIDEO_TASKS:
        raise UnsupportedTask(f'{model.spec.id} makes images: remove "media" from the options of its MODEL_ line.')


def _make_for_video(model: LoadedModel, task: Task) -> Any:
    """A video pipeline over the model's parts. Without `from_pipe`, which converts them to float32."""
    pipeline, name = model.pipeline, type(model.pipeline).__name__
    own = _VIDEOS.get(name, (name, ""))  # an unknown family is tried for txt2video
    wanted = own[VIDEO_TASKS.index(task)]
    if wanted == name:
        return pipeline
    if not wanted or (
        name.startswith("Wan") and not pipeline.config.expand_timesteps
    ):  # its weights support one of the two
        raise _unsupported(model, task, "send no image" if task == "img2video" else "send an image")
    kind = getattr(diffusers, wanted)
    takes = inspect.signature(kind.__init__).parameters
    known = {**pipeline.config, **pipeline.components}
    made = kind(**{part: value for part, value in known.items() if part in takes})
    made.set_progress_bar_config(disable=True)
    return made


def _make(model: LoadedModel, task: Task) -> Any:
    name = type(model.pipeline).__name__
    try:
        if (name, task) in EXTRA_PIPELINES:
            made = getattr(diffusers, EXTRA_PIPELINES[name, task])(**model.pipeline.components)
        else:
            made = _AUTO_CLASSES[task].from_pipe(model.pipeline)
    except ValueError:  # it cannot find a linked pipeline
        raise _unsupported(model, task, "send no image") from None
    made.set_progress_bar_config(disable=True)
    return made


def _unsupported(model: LoadedModel, task: Task, instead: str) -> UnsupportedTask:
    name = type(model.pipeline).__name__
    advice = instead if instead.startswith("choose") else f"choose another model, or {instead}"
    return UnsupportedTask(f"{model.spec.id} ({name}) cannot do {task}: {advice}.")


def first_frame(pipeline: Any, latents: torch.Tensor, size: tuple[int | None, int | None]) -> torch.Tensor | None:
    """Latents of the first frame as (videos, channels, height, width); None when the layout is unknown. `size` is the
    width and height of the video in pixels; LTX-Video packs all latents in one row."""
    if latents.ndim == 5:
        return latents[:, :, 0]
    width, height = size
    unpack = getattr(pipeline, "_unpack_latents", None)
    shrinks = getattr(pipeline, "vae_spatial_compression_ratio", None)
    if latents.ndim != 3 or unpack is None or shrinks is None or width is None or height is None:
        return None
    patch, length = pipeline.transformer_spatial_patch_size, pipeline.transformer_temporal_patch_size
    rows, columns = height // shrinks // patch, width // shrinks // patch
    whole: torch.Tensor = unpack(latents, latents.shape[1] // (rows * columns), rows, columns, patch, length)
    return whole[:, :, 0]


def decode_frame(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Decode the `latents` from `first_frame` to (videos, 3, height, width), -1 to 1."""
    channels = (1, -1, 1, 1)
    mean, deviation = (_statistic(vae, name, latents).view(channels) for name in ("latents_mean", "latents_std"))
    plain = latents * deviation / getattr(vae.config, "scaling_factor", 1.0) + mean
    moment = {"temb": latents.new_zeros(len(latents))} if getattr(vae.config, "timestep_conditioning", False) else {}
    return vae.decode(plain[:, :, None].to(vae.dtype), **moment, return_dict=False)[0][:, :, 0]  # type: ignore[no-any-return]


def _statistic(vae: Any, name: str, like: torch.Tensor) -> torch.Tensor:
    """A latent statistic of the VAE: in Wan's configuration, among LTX-Video's weights."""
    found = getattr(vae, name, None)
    return torch.as_tensor(getattr(vae.config, name) if found is None else found).to(like)

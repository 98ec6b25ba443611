"""AUTOMATIC1111's interface."""

from __future__ import annotations

from typing import Any, Self, cast

from pydantic import ConfigDict, Field

from app.core.catalog import ModelSpec
from app.core.job import JobStatus, JobView
from app.core.response_body import ResponseBody

_ANY: dict[str, Any] = {"openapi_extra": {"description": "Any other error"}}


class WebuiError(ResponseBody):
    """An error in AUTOMATIC1111's shape."""

    model_config = cast(ConfigDict, _ANY)

    error: str = Field(description="Our code of it.")
    detail: str = Field(description="What is wrong and what to do about it.")
    body: str
    errors: str


class DrawnImages(ResponseBody):
    images: list[str] = Field(description="PNGs in base64; none with `send_images` false.")
    parameters: dict[str, Any] = Field(description="The request, without its pictures.")
    info: str = Field(description="JSON text: seeds, infotexts, and in `warnings` what was changed or not used.")


class Options(ResponseBody):
    """Those that this server knows, and what the client has set; the rest of its members are the client's own."""

    model_config = ConfigDict(extra="allow")

    sd_model_checkpoint: str
    sd_checkpoint_hash: str
    sd_vae: str
    CLIP_stop_at_last_layers: int
    samples_format: str


class SdModel(ResponseBody):
    title: str = Field(description="What `sd_model_checkpoint` takes.")
    model_name: str
    hash: str | None
    sha256: str | None
    filename: str = Field(description="Its repository.")
    config: str | None

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        return cls.read(title=spec.id, model_name=spec.id, hash=None, sha256=None, filename=spec.repo, config=None)


class Sampler(ResponseBody):
    name: str
    aliases: list[str]
    options: dict[str, str]


class NoiseSchedule(ResponseBody):
    name: str
    label: str
    aliases: list[str] | None
    default_rho: float
    need_inner_model: bool


class Upscaler(ResponseBody):
    name: str
    model_name: str | None
    model_path: str | None
    model_url: str | None
    scale: float


class UpscaledImage(ResponseBody):
    html_info: str
    image: str = Field(description="A PNG in base64.")


class UpscaledImages(ResponseBody):
    html_info: str
    images: list[str] = Field(description="PNGs in base64.")


class NamedLora(ResponseBody):
    name: str = Field(description="What `<lora:name:1>` in a prompt takes.")
    alias: str
    path: str
    metadata: dict[str, Any]


class Nothing(ResponseBody):
    """An empty object."""


class Named(ResponseBody):
    name: str


class Embeddings(ResponseBody):
    loaded: dict[str, Any]
    skipped: dict[str, Any]


class ControlVersion(ResponseBody):
    version: int


class ControlModels(ResponseBody):
    model_list: list[str]


class ControlModules(ResponseBody):
    module_list: list[str]


class Detected(ResponseBody):
    images: list[str] = Field(description="Base64 of PNGs.")
    info: str


class Scripts(ResponseBody):
    txt2img: list[str]
    img2img: list[str]


class CommandFlags(ResponseBody):
    api: bool


class Memory(ResponseBody):
    ram: dict[str, int]
    cuda: dict[str, Any]


class ProgressState(ResponseBody):
    skipped: bool
    interrupted: bool
    stopping_generation: bool
    job: str
    job_count: int = Field(description="The client's jobs that wait or run.")
    job_timestamp: str
    job_no: int
    sampling_step: int
    sampling_steps: int


class WebuiProgress(ResponseBody):
    progress: float = Field(description="0 to 1, of the client's own job.")
    eta_relative: float = Field(description="Seconds; 0 when unknown.")
    state: ProgressState
    current_image: str | None = Field(description="A preview: PNG in base64.")
    textinfo: str | None

    @classmethod
    def of(cls, view: JobView | None, job_count: int, current_image: str | None = None) -> Self:
        """`view` is the client's job; None without one."""
        job = None if view is None else view.job
        progress = None if job is None else job.progress
        state = ProgressState.read(
            skipped=False,
            interrupted=job is not None and job.cancel_requested,
            stopping_generation=job is not None and job.cancel_requested,
            job="" if job is None else job.id,
            job_count=job_count,
            job_timestamp="0",
            job_no=0,
            sampling_step=0 if progress is None else progress.step,
            sampling_steps=0 if progress is None else progress.total_steps,
        )
        return cls.read(
            progress=0.0 if progress is None else progress.percent / 100,
            eta_relative=0.0 if view is None else view.eta_seconds or 0.0,
            state=state,
            current_image=current_image,
            textinfo=None if view is None else textinfo(view),
        )


class TaskProgress(ResponseBody):
    active: bool
    queued: bool
    completed: bool
    progress: float | None
    eta: float | None
    live_preview: str | None = Field(description="A data URI.")
    id_live_preview: int
    textinfo: str | None

    @classmethod
    def of(cls, view: JobView | None, live_preview: str | None = None, id_live_preview: int = -1) -> Self:
        """`view` is the task's job; None of a task that is not known, which says nothing."""
        status = None if view is None else view.job.status
        return cls.read(
            active=status is JobStatus.PROCESSING,
            queued=status is JobStatus.PENDING,
            completed=status is not None and status.terminal,
            progress=None if view is None else view.job.progress.percent / 100,
            eta=None if view is None else view.eta_seconds,
            live_preview=live_preview,
            id_live_preview=id_live_preview,
            textinfo="Waiting..." if view is None else textinfo(view),
        )


class PictureInfo(ResponseBody):
    info: str = Field(description="The parameters as text; empty without any.")
    items: dict[str, str] = Field(description="All text of the picture.")
    parameters: dict[str, str] = Field(description="The settings in `info`, by name.")


def textinfo(view: JobView) -> str:
    if view.position is not None:
        return f"Waiting: place {view.position} in the queue"
    return view.job.progress.phase.value.replace("_", " ")

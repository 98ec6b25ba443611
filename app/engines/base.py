"""The engine protocol: load, generate, unload. Independent of HTTP, SQL and this application's files.

A local engine is used by one thread at a time, a remote one by many. Progress and cancellation go through `Control`;
engines raise the `GenerationError`s of `app.errors` and `Cancelled`, and nothing else on purpose. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from app.core.acceleration import Attention, Compile, StepCache
from app.core.builtin_models import BUILTIN_FOLDER
from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.memory_plan import Offload, Plan
from app.core.prediction import Prediction, Report
from app.core.request import GenerationRequest
from app.core.safety import SafetyPolicy, SafetyResult
from app.errors import Cancelled, CyberImageError, UnknownModel
from app.process.places import CODE

Pixels = npt.NDArray[np.uint8]
Inputs = Mapping[str, Pixels]  # by slot; (height, width, 3) RGB, to upscale also RGBA; a mask (height, width)
NO_INPUTS: Inputs = MappingProxyType({})


class Control(Protocol):
    """Progress and cancellation of a running generation. Every call is cheap and never blocks the engine."""

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        """Report the phase. `step` of `total_steps` denoising steps are done."""

    def downloaded(self, done: int, total: int) -> None:
        """Report that `done` of the `total` bytes of the model are on this machine, while it is DOWNLOADING."""

    def preview(self, pixels: Pixels, step: int) -> None:
        """Publish a preview after `step` steps: small, uint8 RGB, shape (height, width, 3)."""

    def cancelled(self) -> bool:
        """Whether to stop, for any reason: cancelled, out of time, lease lost, shutting down. Called between steps, and
        between the parts of a load."""


@runtime_checkable
class RemoteControl(Control, Protocol):
    """`Control` of a job that runs at a provider."""

    @property
    def ledger(self) -> Ledger:
        """The job's persistent prediction record."""


class Ledger(Protocol):
    """Persistent record of a job's prediction at a provider. Writes are durable when the call returns, and visible to
    the next attempt. A call may raise LeaseLost: let it propagate."""

    def find(self) -> Prediction | None:
        """The job's prediction, as recorded by an earlier attempt and updated by webhooks; None if there is none."""

    def intend(self, *, source: str, model: str, input: Mapping[str, Any]) -> Prediction:
        """Record the intent before the provider's API is called; `input` is what will be sent."""

    def created(self, prediction: Prediction, provider_id: str) -> bool:
        """Record the provider's id after the call. False if another job already claimed this prediction after a
        crash."""

    def taken(self, source: str, provider_ids: Sequence[str]) -> Collection[str]:
        """Those of `provider_ids` that belong to a job."""

    def observed(self, source: str, report: Report) -> None:
        """Record the state that the provider reports. A terminal state is never overwritten."""

    def note_download(self, prediction: Prediction, *, retries: int, error: str | None) -> None:
        """Record that its files are being downloaded, after `retries` failures, the last of which was `error`."""

    def wanted(self) -> bool:
        """False if the prediction should be cancelled too when `cancelled` is true; True if only this worker drains."""

    def wait(self, seconds: float) -> None:
        """Wait `seconds`, or until a notification about the job."""


@dataclass(frozen=True)
class ResidentModel:
    """A model in memory. `device_bytes` is measured accelerator memory, `host_bytes` measured RAM (0 = not known).
    Shared parts are counted once: `shared_bytes` of this model are in another's numbers. `offload` is its placement,
    `form` how its weights are stored, such as `16 bit`; `needed_bytes` the estimated device memory to run it (0 = not
    estimated). A `parked` model is in the RAM cache, and has to be moved back to the device before it runs."""

    model_id: str
    device: str
    dtype: str
    device_bytes: int = 0
    host_bytes: int = 0
    shared_bytes: int = 0
    offload: Plan = "none"
    needed_bytes: int = 0
    parked: bool = False
    form: str = ""
    attention: str = ""  # the kernels in use; empty where the engine has no choice
    loras: Sequence[str] = ()  # the ids of LoRAs in memory for it


@dataclass(frozen=True)
class GeneratedImage:
    """One image: uint8 RGB, shape (height, width, 3), and its seed, None if a provider was sent none."""

    pixels: Pixels
    seed: int | None
    safety: SafetyResult = SafetyResult.SKIPPED


@dataclass(frozen=True)
class GeneratedVideo:
    """One video, as the bytes of an MP4 or WebM file. `poster` is a frame to show for it: uint8 RGB."""

    content: bytes
    poster: Pixels
    seed: int | None
    mime_type: str = "video/mp4"
    seconds: float = 0.0
    fps: float = 0.0
    safety: SafetyResult = SafetyResult.SKIPPED


@dataclass(frozen=True)
class Generation:
    """The result of a request. `effective` are the call arguments as used (defaults filled in), for the manifest;
    `versions` the libraries and weights; `timings` seconds by phase; `vram_peak_bytes` None without a GPU."""

    images: Sequence[GeneratedImage]
    effective: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    vram_peak_bytes: int | None = None
    safety: SafetyResult = SafetyResult.SKIPPED  # the most severe result, blocked outputs included
    videos: Sequence[GeneratedVideo] = ()
    merged: int = 1  # how many jobs shared the call, and with it the timings
    encodings: Mapping[str, int] = field(default_factory=dict)  # of prompts: how many were `computed` and `reused`


class PartlyDrawn(Cancelled):
    """Drawing stopped early, after `generation` was finished: the first pictures of the request."""

    def __init__(self, generation: Generation) -> None:
        super().__init__()
        self.generation = generation


class Engine(Protocol):
    """Runs the models of one or more catalogue sources."""

    def load(self, spec: ModelSpec, control: Control) -> None:
        """Load `spec` into memory, unloading others to make room. Does nothing when it is loaded already."""

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        """Run `request` on `spec`, loading it first if necessary. `inputs` are its input images by slot; of the
        request's size, but for the further ones of an edit."""

    def unload(self, model_id: str) -> None:
        """Free a model's memory; unknown ids are ignored."""

    def resident(self) -> Sequence[ResidentModel]:
        """The models in memory, most recently used last."""


@runtime_checkable
class MergingEngine(Engine, Protocol):
    """An engine that can run several jobs in one call."""

    def merges(self, spec: ModelSpec) -> bool:
        """Whether `spec` can be merged now: only if it is in memory, and its pipeline is known to produce each image as
        in a call of its own, but for rounding."""

    def generate_merged(
        self, spec: ModelSpec, requests: Sequence[GenerationRequest], controls: Sequence[Control]
    ) -> Sequence[Generation | CyberImageError]:
        """Run `requests`, which differ only in prompts and seed, in one call; one image each, or its error. Every
        control is checked at every step; the call continues until all are cancelled. Raises Cancelled then, and what
        else ends the call for all."""


class PlanHistory(Protocol):
    """Memory plans of models on this machine and device, by their names; kept when a worker process dies."""

    def killed(self, model_id: str) -> Collection[str]:
        """The plans under which the kernel killed a worker that ran the model. Never raises."""

    def begin(self, model_id: str, plan: str) -> None:
        """Note that the model is about to be loaded under `plan`. Never raises."""


class NoPlanHistory:
    """The history of an engine outside of a worker."""

    def killed(self, model_id: str) -> Collection[str]:
        return ()

    def begin(self, model_id: str, plan: str) -> None: ...


@runtime_checkable
class ImportingEngine(Engine, Protocol):
    """An engine whose libraries take seconds to import."""

    def import_classes(self, spec: ModelSpec) -> None:
        """Import what `spec` needs to be loaded, as far as its files on this machine tell. Never raises."""


@runtime_checkable
class MeasuringEngine(Engine, Protocol):
    """An engine that uses a device with memory of its own."""

    def vram_bytes(self) -> int | None:
        """GPU memory that this process has allocated; None without a GPU. No use of the device: safe in any thread,
        and after the device failed."""


@runtime_checkable
class LoraEngine(Engine, Protocol):
    """An engine whose models keep LoRAs in memory."""

    def load_lora(self, spec: ModelSpec, lora_id: str, control: Control) -> bool:
        """Load a LoRA for the model `spec`, downloading it if necessary; False if the model is not in memory. Raises
        LoraUnavailable, LoraIncompatible, Cancelled and the errors of a download."""

    def unload_lora(self, model_id: str, lora_id: str) -> bool:
        """Free a LoRA of a model; False if it was not in memory."""


EngineFactory = Callable[[], Engine]


def no_upscaler(name: str) -> ModelSpec:
    """The upscalers of an engine outside of a worker."""
    raise UnknownModel(f"There is no upscaler {name!r} here.")


@dataclass(frozen=True)
class EngineSettings:
    """Where a relative `local` repo is looked for: in `root`, `model_cache_dir`, and a built-in one in the package.

    `dtype` and `attention` hold for every model whose catalogue line states none. `device` is `auto` (the first GPU, or
    the CPU), `cpu`, or a torch device such as `cuda:0`. Without `large_models` those that a CPU would run for hours
    are refused, with `no_gpu_reason`. Where downloads are kept (HF_HOME) and the token (HF_TOKEN) are read from the
    environment by huggingface_hub itself. `previews`: publish previews while an image is generated.
    `safety_checker` (empty = none) and `safety_policy` hold for every model whose catalogue line states none.

    `upscaler_of` finds the upscaler of a second pass by its id.

    The others are the settings of the same names (app/config/models.py, loras.py and storage.py); 0 means no limit.
    """

    root: Path
    model_cache_dir: Path
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = "auto"
    attention: Attention = "auto"
    device: str = "auto"
    large_models: bool = True
    no_gpu_reason: str = ""
    previews: bool = True
    safety_checker: str = ""
    safety_policy: SafetyPolicy = "block"
    compile: Compile = "none"
    step_cache: StepCache | None = None
    fuse_qkv: bool = False
    vae_channels_last: bool = False
    offload: Offload = "auto"
    quantization: Literal["auto", "none"] = "auto"
    park_models: bool = True
    vae_tiling: bool = False
    max_loaded_models: int = 0
    cpu_threads: int = 0
    images_per_batch: int = 1
    loras_dir: Path = Path("models/loras")
    lora_hub: bool = True
    lora_max_bytes: int = 2**31
    lora_cache_max: int = 8
    lora_cache_bytes: int = 2**31
    prompt_cache_bytes: int = 2**28
    disk_floor_bytes: int = 0
    plan_history: PlanHistory = field(default_factory=NoPlanHistory)
    upscaler_of: Callable[[str], ModelSpec] = no_upscaler
    auxiliaries: Mapping[str, ModelSpec] = field(default_factory=dict)  # of the catalogue, by id
    embeddings_dir: Path = Path("models/embeddings")

    def places_of(self, name: str) -> tuple[Path, ...]:
        """The paths at which a local model or file named in the catalogue may be, in search order."""
        relative = Path(name).expanduser()
        packaged = (CODE / relative,) if name.startswith(BUILTIN_FOLDER) else ()
        return tuple(dict.fromkeys((self.root / relative, self.model_cache_dir / relative, *packaged)))

"""The contract of an engine: load + generate + unload. It knows no HTTP, no SQL and no files of ours.

An engine is used by one thread at a time; those of remote sources by many. It reports through `Control` and is stopped
through it; it raises the `GenerationError`s of `app.errors`, `Cancelled`, and nothing else on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from app.core.catalog import ModelSpec
from app.core.inputs import Role
from app.core.job import Phase
from app.core.offload import Plan
from app.core.prediction import Prediction, Report
from app.core.request import GenerationRequest
from app.core.safety import SafetyResult
from app.errors import CyberImageError

Pixels = npt.NDArray[np.uint8]
Inputs = Mapping[Role, Pixels]  # image: (height, width, 3) RGB; mask: (height, width), white = paint anew
NO_INPUTS: Inputs = MappingProxyType({})


class Control(Protocol):
    """How a running generation talks to whoever runs it. Every call is cheap and never blocks the engine."""

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        """Say what is happening. `step` of `total_steps` denoising steps are done."""

    def downloaded(self, done: int, total: int) -> None:
        """Say that `done` of the `total` bytes of the model are on this machine, while it is DOWNLOADING."""

    def preview(self, pixels: Pixels, step: int) -> None:
        """Show what the picture looks like after `step` steps: small, uint8 RGB, shape (height, width, 3)."""

    def cancelled(self) -> bool:
        """Whether to stop: asked between steps, and between the parts of a load."""


@runtime_checkable
class RemoteControl(Control, Protocol):
    """Of a job whose engine asks a provider."""

    @property
    def ledger(self) -> Ledger:
        """What must be remembered even if this process dies."""


class Ledger(Protocol):
    """What was asked of a provider for this job. Whatever is written here is on the disk when the call returns, and is
    there for the next attempt. A call may raise LeaseLost: let it through."""

    def find(self) -> Prediction | None:
        """What an earlier attempt asked for, or what a webhook told since."""

    def intend(self, *, source: str, model: str, input: Mapping[str, Any]) -> Prediction:
        """Before the provider is asked: `input` is what it will be sent."""

    def created(self, prediction: Prediction, provider_id: str) -> bool:
        """After it was asked. False when another job took this very one for its own, after a crash."""

    def taken(self, source: str, provider_ids: Sequence[str]) -> Collection[str]:
        """Those of `provider_ids` that are known to be some job's."""

    def observed(self, source: str, report: Report) -> None:
        """What the provider says now. An end stays an end, whatever comes later."""

    def note_download(self, prediction: Prediction, *, retries: int, error: str | None) -> None:
        """Its files are being fetched, after `retries` failures, the last of which was `error`."""

    def wanted(self) -> bool:
        """Whether anybody still wants the result, when `cancelled` says to stop: it may only be this process' end."""

    def wait(self, seconds: float) -> None:
        """Wait that long, or until there may be news."""


@dataclass(frozen=True)
class ResidentModel:
    """A model in memory. `device_bytes` is measured accelerator memory, `host_bytes` measured RAM (0 = not known). What
    another model holds too is counted once: `shared_bytes` of this one are in the other's numbers. `offload` is where
    its weights wait; `needed_bytes` is what it was estimated to need on the device to draw (0 = not estimated). One
    that is `parked` waits in main memory, and has to come back to the device before it draws."""

    model_id: str
    device: str
    dtype: str
    device_bytes: int = 0
    host_bytes: int = 0
    shared_bytes: int = 0
    offload: Plan = "none"
    needed_bytes: int = 0
    parked: bool = False


@dataclass(frozen=True)
class GeneratedImage:
    """One picture: uint8 RGB, shape (height, width, 3), and the seed that made it."""

    pixels: Pixels
    seed: int
    safety: SafetyResult = SafetyResult.SKIPPED


@dataclass(frozen=True)
class GeneratedVideo:
    """One video, as the bytes of an MP4 or WebM file. `poster` is a frame to show for it: uint8 RGB."""

    content: bytes
    poster: Pixels
    seed: int
    mime_type: str = "video/mp4"
    seconds: float = 0.0
    fps: float = 0.0
    safety: SafetyResult = SafetyResult.SKIPPED


@dataclass(frozen=True)
class Generation:
    """What a request gave. `effective` are the call arguments as really used (defaults filled in), for the manifest;
    `versions` the libraries and weights behind them; `timings` seconds by phase; `vram_peak_bytes` 0 without a GPU."""

    images: Sequence[GeneratedImage]
    effective: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    vram_peak_bytes: int = 0
    safety: SafetyResult = SafetyResult.SKIPPED  # the most severe result, also of pictures that were held back
    videos: Sequence[GeneratedVideo] = ()
    merged: int = 1  # how many jobs shared the call, and with it the timings


class Engine(Protocol):
    """Runs the models of one or more catalogue sources."""

    def load(self, spec: ModelSpec, control: Control) -> None:
        """Make `spec` resident, unloading others to make room. Does nothing when it already is."""

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        """Run `request` on `spec`, loading it first if need be. `inputs` are the pictures that its task starts from,
        of the request's size."""

    def unload(self, model_id: str) -> None:
        """Free the memory of a model; unknown ids are ignored."""

    def resident(self) -> Sequence[ResidentModel]:
        """The models in memory, most recently used last."""


@runtime_checkable
class MergingEngine(Engine, Protocol):
    """One that can draw for several jobs in one call."""

    def merges(self, spec: ModelSpec) -> bool:
        """Whether it can do so with `spec` just now: only with a model in memory, whose pipeline is known to draw each
        picture as it would alone, but for rounding."""

    def generate_merged(
        self, spec: ModelSpec, requests: Sequence[GenerationRequest], controls: Sequence[Control]
    ) -> Sequence[Generation | CyberImageError]:
        """What each of `requests`, alike in all but words and seed, gave; one picture each. Every control is asked at
        every step: who is cancelled may leave, and the call goes on for the others. Raises Cancelled when nobody is
        left, and what else ends the call for all."""


EngineFactory = Callable[[], Engine]

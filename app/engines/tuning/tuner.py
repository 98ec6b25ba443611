"""Finds the options under which a model draws fastest on this device, or with the least memory, by trying them.

Each option is measured alone against the plain model; the better ones are then put together, the best first. What was
measured is handed out after each, so that a run that ends early can go on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.core.trial import trial_request
from app.core.tuned_profiles import Goal, Measurement, TunedOptions, choose, untuned
from app.engines.base import Control, Pixels
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.tuning.candidates import single_options, together
from app.engines.tuning.picture_change import change
from app.errors import Cancelled, CyberImageError

_PLAIN = TunedOptions()
_CANDIDATE = "-tuned"  # after the id of the model under other options


@dataclass(frozen=True)
class Subject:
    """What is drawn to measure: each prompt with each seed, in `steps` (None: the model's own number) and of `size`."""

    prompts: Sequence[str]
    seeds: Sequence[int]
    steps: int | None = None
    size: tuple[int, int] | None = None

    def requests(self, spec: ModelSpec) -> list[GenerationRequest]:
        return [
            trial_request(spec, prompt=prompt, steps=self.steps, seed=seed, size=self.size)
            for prompt in self.prompts
            for seed in self.seeds
        ]

    @property
    def label(self) -> str:
        size = "own size" if self.size is None else f"{self.size[0]} × {self.size[1]}"
        steps = "own steps" if self.steps is None else f"{self.steps} steps"
        return f"{len(self.prompts)} prompts, {len(self.seeds)} seeds, {size}, {steps}"


class Deadline:
    """A `Control` that cancels what runs when the time is over."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = clock() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._ends_at - self._clock())

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None: ...

    def downloaded(self, done: int, total: int) -> None: ...

    def preview(self, pixels: Pixels, step: int) -> None: ...

    def cancelled(self) -> bool:
        return self.left == 0


_UNBOUNDED = Deadline(float("inf"))  # of what everything is compared with, and of pictures to look at


@dataclass
class Tuner:
    """Tunes `spec` on the engine's device. `known` are measurements of an earlier run; `measured` is called with each
    new one. Measures nothing new when `deadline` is over."""

    engine: DiffusersEngine
    spec: ModelSpec
    subject: Subject
    goal: Goal
    deadline: Deadline
    known: Sequence[Measurement] = ()
    measured: Callable[[Measurement], None] = lambda _: None
    clock: Callable[[], float] | None = None  # None: seconds of the processor on a CPU, else those that pass
    skipped: list[str] = field(default_factory=list)  # what there was no time for

    def __post_init__(self) -> None:
        self.spec = untuned(self.spec)
        self._pictures: list[Pixels] = []
        self._plain_seconds: list[float] = []
        self._beside: list[float] = []
        self._plain_peak = 0

    @property
    def device(self) -> torch.device:
        return self.engine.device

    def run(self) -> tuple[Measurement, ...]:
        """All measurements, the plain model first. Raises what loading and drawing the plain model raise."""
        found = [self.measure_plain()]
        name = type(self._load(self.spec).pipeline).__name__
        for options in single_options(self.spec, name, self.device, self.goal):
            self._add(options, found)
        combined, best = _PLAIN, found[0]
        for each in self._winners(found[1:]):
            both = together(combined, each.options)
            if both is None:
                continue
            made = self._add(both, found)  # the first winner alone was measured already
            if made is not None and choose((found[0], best, made), self.goal) is made:
                combined, best = both, made
        self.engine.unload(self._spec_of(_PLAIN).id + _CANDIDATE)
        return tuple(found)

    def pictures_under(self, options: TunedOptions) -> list[Pixels]:
        """The pictures of the subject under `options`, to look at."""
        return [picture for picture, _, _ in self._draw(self._spec_of(options), control=_UNBOUNDED)]

    def revision(self) -> str:
        return self._load(self.spec).checkpoint.revision

    def _winners(self, singles: Sequence[Measurement]) -> list[Measurement]:
        """Those that serve the goal, the best first."""
        left, winners = list(singles), list[Measurement]()
        plain = Measurement(options=_PLAIN, ratio=1.0, peak_bytes=self._plain_peak)
        while (best := choose((plain, *left), self.goal)) is not plain:
            winners.append(best)
            left.remove(best)
        return winners

    def _add(self, options: TunedOptions, found: list[Measurement]) -> Measurement | None:
        """Measure `options`, unless that was done before; None when there is no time left."""
        before = next((each for each in (*found, *self.known) if each.options == options), None)
        if before is None:
            if self.deadline.cancelled():
                self.skipped.append(Measurement(options=options).label)
                return None
            before = self.measure(options)
            if before is None:
                return None
            self.measured(before)
        if before not in found:
            found.append(before)
        return before

    def measure_plain(self) -> Measurement:
        """Draw with the plain model, with which all others are compared."""
        size = self._load(self.spec).size
        drawn = list(self._draw(self.spec, control=_UNBOUNDED, warm_up=True))
        self._pictures = [picture for picture, _, _ in drawn]
        self._plain_seconds = [seconds for _, seconds, _ in drawn]
        self._plain_peak = max((peak for _, _, peak in drawn if peak), default=size)
        seconds = statistics.median(self._plain_seconds)
        return Measurement(options=_PLAIN, seconds=seconds, ratio=1.0, peak_bytes=self._plain_peak)

    def measure(self, options: TunedOptions) -> Measurement | None:
        """Measure `options` against the plain model; None when the time is over."""
        spec = self._spec_of(options)
        alone = self.device.type != "cpu"
        try:
            self.engine.unload(spec.id)
            if alone:
                self.engine.unload(self.spec.id)
            began = time.perf_counter()
            model = self._load(spec)
            load_seconds = round(time.perf_counter() - began, 3)
            if problem := _without_effect(model, options):
                return Measurement(options=options, problem=problem)
            size = model.size
            del model
            return self._compared(options, spec, load_seconds, size, alone=alone)
        except Cancelled:
            self.skipped.append(Measurement(options=options).label)
            return None
        except CyberImageError as error:
            return Measurement(options=options, problem=error.detail[:2000])

    def _compared(
        self, options: TunedOptions, spec: ModelSpec, load_seconds: float, size: int, *, alone: bool
    ) -> Measurement:
        """On a CPU the plain model draws in between, so that other work of the machine slows both alike."""
        drawn = list(self._draw(spec, beside=None if alone else self.spec, warm_up=True))
        took = [seconds for _, seconds, _ in drawn]
        if alone:
            ratio = statistics.median(took) / statistics.median(self._plain_seconds)
        else:
            ratio = statistics.median(one / other for one, other in zip(took, self._beside, strict=True))
        return Measurement(
            options=options,
            seconds=statistics.median(took),
            ratio=round(ratio, 4),
            load_seconds=load_seconds,
            peak_bytes=max((peak for _, _, peak in drawn if peak), default=size),
            change=change([picture for picture, _, _ in drawn], self._pictures),
        )

    def _draw(
        self,
        spec: ModelSpec,
        *,
        control: Control | None = None,
        beside: ModelSpec | None = None,
        warm_up: bool = False,
    ) -> Iterator[tuple[Pixels, float, int | None]]:
        """Each picture of the subject with its seconds, on a CPU those of the processor, and its peak of memory."""
        self._beside = []
        clock = self.clock or (time.process_time if self.device.type == "cpu" else time.perf_counter)
        requests, control = self.subject.requests(spec), control or self.deadline
        if warm_up:
            self.engine.generate(spec, requests[0], control)
        for request in requests:
            if beside is not None:
                began = clock()
                self.engine.generate(beside, request.model_copy(update={"model_id": beside.id}), control)
                self._beside.append(clock() - began)
            began = clock()
            made = self.engine.generate(spec, request, control)
            took = clock() - began
            pixels = made.images[0].pixels if made.images else made.videos[0].poster
            yield pixels, took, made.vram_peak_bytes

    def _spec_of(self, options: TunedOptions) -> ModelSpec:
        """The model under `options`, beside the plain one."""
        chosen = {name: getattr(options, name) for name in options.model_fields_set}
        made = self.spec.options.model_copy(update=chosen)
        return self.spec.model_copy(update={"options": made, "id": f"{self.spec.id}{_CANDIDATE if chosen else ''}"})

    def _load(self, spec: ModelSpec) -> LoadedModel:
        self.engine.load(spec, _UNBOUNDED if spec is self.spec else self.deadline)
        return self.engine.resident_model(spec)


def _without_effect(model: LoadedModel, options: TunedOptions) -> str:
    """Why `options` are not in use though they were asked for; empty if they are."""
    if model.acceleration.refused:
        return model.acceleration.refused[0]
    if options.attention is not None and model.attention != options.attention:
        return f"the kernels {options.attention} do not work here, or not for {type(model.pipeline).__name__}"
    return ""

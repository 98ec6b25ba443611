"""Accelerates a pipeline as its model's line and the settings ask for, and says what of that cannot be used.

What cannot be used is left out with a line in the log: no picture depends on it, and the same setting is for many
models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from app.core.acceleration import Compile, StepCache
from app.core.catalog import ModelSpec
from app.core.families.lookup import caches_of
from app.core.faults import is_beyond_the_job
from app.engines.base import EngineSettings
from app.engines.diffusers.load.errors import warn_once
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.speed import compilation, layout
from app.engines.diffusers.speed.step_caches import StepCaching, denoisers_of


@dataclass
class CompileOutcome:
    """`problem`: why the compiler failed; empty if it did not."""

    problem: str = ""


@dataclass
class Acceleration:
    """What accelerates a loaded model. `compiled` becomes `none` when it turns out that it cannot be compiled."""

    compiled: Compile = "none"
    fused: bool = False
    channels_last: bool = False
    steps: StepCaching = field(default_factory=StepCaching)
    denoisers: Sequence[Any] = ()
    refused: tuple[str, ...] = ()
    _has_compiled: bool = False
    _softly: bool = True

    @property
    def description(self) -> str:
        """For the log; empty when nothing is accelerated."""
        cache = self.steps.config
        found = (
            f"compile {self.compiled}" if self.compiled != "none" else "",
            "fused QKV" if self.fused else "",
            "VAE channels-last" if self.channels_last else "",
            f"step cache {cache.label}" if cache else "",
        )
        return ", ".join(part for part in found if part)

    @contextmanager
    def running(self, *, changed: bool, with_loras: bool) -> Iterator[None]:
        """Prepare for a job. `changed`: something changes the modules for this job, so that compiled code does not
        fit; `with_loras`: LoRAs on the separate weights of query, key and value."""
        with ExitStack() as stack:
            stack.enter_context(layout.separate(self.denoisers, self.fused and with_loras))
            if self._has_compiled:
                stack.enter_context(compilation.uncompiled(changed or self.compiled == "none"))
                if self._softly:
                    stack.enter_context(compilation.failing_softly())
            yield

    @contextmanager
    def compiling(self) -> Iterator[CompileOutcome]:
        """Have errors of the compiler end the block, with the reason in the outcome; the model is used uncompiled
        then. Faults of memory and device pass through."""
        outcome = CompileOutcome()
        self._softly = False
        try:
            yield outcome
        except (*compilation.COMPILER_ERRORS, RuntimeError) as error:
            if is_beyond_the_job(error):
                raise
            outcome.problem = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self.compiled = "none"
            self.refused = (*self.refused, f"compile is left out: {outcome.problem}")
        finally:
            self._softly = True

    def compile(self, how: Compile) -> None:
        """Have the denoisers compiled when they first run."""
        compilation.compile_denoisers(list(self.denoisers), how)
        self.compiled, self._has_compiled = how, True


def wants_channels_last(spec: ModelSpec, settings: EngineSettings) -> bool:
    """Whether its VAE shall be channels-last; decided before loading, since models share only equal parts."""
    chosen = spec.options.vae_channels_last
    return settings.vae_channels_last if chosen is None else chosen


def accelerate(pipeline: Any, spec: ModelSpec, settings: EngineSettings, load_plan: LoadPlan) -> Acceleration:
    """Accelerate `pipeline`, which is on its device."""
    made = Acceleration(denoisers=denoisers_of(pipeline))
    problems = [
        _fuse(made, spec, settings, load_plan),
        _channels_last(made, pipeline, load_plan),
        _cache(made, pipeline, spec, settings),
        _compile(made, spec, settings, load_plan),
    ]
    made.refused = tuple(problem for problem in problems if problem)
    for problem in made.refused:
        warn_once(f"{spec.id}: {problem}")
    return made


def _fuse(made: Acceleration, spec: ModelSpec, settings: EngineSettings, load_plan: LoadPlan) -> str:
    asked = spec.options.fuse_qkv
    if not (settings.fuse_qkv if asked is None else asked):
        return ""
    able = layout.fusable(made.denoisers)
    if not able:
        return "fuse_qkv is left out: its denoiser cannot fuse query, key and value"
    if load_plan.plan != "none" or load_plan.attention != "native":
        return f"fuse_qkv is left out: it needs offload none and native attention, not {load_plan.plan} and" + (
            f" {load_plan.attention}"
        )
    if load_plan.compression.kinds:
        return "fuse_qkv is left out: the weights are stored in fewer bits"
    layout.fuse(able)
    made.fused = True
    return ""


def _channels_last(made: Acceleration, pipeline: Any, load_plan: LoadPlan) -> str:
    if not load_plan.channels_last:
        return ""
    vae: Any = getattr(pipeline, "vae", None)
    if not layout.can_be_channels_last(vae):
        return "vae_channels_last is left out: it is for VAEs of pictures"
    if load_plan.plan not in ("none", "model"):
        return f"vae_channels_last is left out under offload {load_plan.plan}"
    layout.make_channels_last(vae)
    made.channels_last = True
    return ""


def _cache(made: Acceleration, pipeline: Any, spec: ModelSpec, settings: EngineSettings) -> str:
    cache: StepCache | None = spec.options.cache or settings.step_cache
    if cache is None or cache.kind == "none":
        return ""
    name, caching = type(pipeline).__name__, StepCaching(cache)
    if problem := caching.problem(pipeline, {}):
        known = ", ".join(caches_of(name)) or "none"
        return f"the step cache is left out: {problem.partition(':')[0]} (it can use: {known})"
    made.steps = caching
    return ""


def _compile(made: Acceleration, spec: ModelSpec, settings: EngineSettings, load_plan: LoadPlan) -> str:
    how = settings.compile if spec.options.compile is None else spec.options.compile
    if how == "none":
        return ""
    if load_plan.plan == "sequential" or (load_plan.plan == "group" and how == "full"):
        return f"compile {how} is left out under offload {load_plan.plan}"
    if problem := compilation.compiler_problem(load_plan.device):
        return f"compile is left out: {problem}"
    if not made.denoisers or (how == "regional" and not any(map(compilation.repeated_blocks, made.denoisers))):
        return f"compile {how} is left out: its denoiser has no repeated blocks"
    made.compile(how)
    return ""

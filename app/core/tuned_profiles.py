"""Profiles: options that `cyberimage models tune` found to be the best for a model on one device, with the evidence.

A profile fills in what the model's line leaves out, on the device that it was measured on. Pure: no files.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.core.acceleration import AccelerationOptions
from app.core.catalog import ModelOptions, ModelSpec, Quantization
from app.core.memory_plan import Offload

Goal = Literal["fastest-without-visible-change", "fastest", "least-memory"]
GOALS: tuple[Goal, ...] = get_args(Goal)
LEAST_SSIM, LEAST_PSNR = 0.95, 30.0  # of the worst picture: below, a change counts as visible


class TunedOptions(AccelerationOptions):
    """The options of a model that tuning chooses among."""

    offload: Offload | None = None
    vae_tiling: bool | None = None
    layerwise_casting: bool = False
    quantization: Quantization | None = None


class Change(BaseModel):
    """How much pictures differ from those of the plain model, over all prompts and seeds: the least and the mean PSNR
    (decibels, None where all pixels are equal) and SSIM (1 = equal)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_psnr: float | None
    mean_psnr: float | None
    least_ssim: float
    mean_ssim: float

    @property
    def is_visible(self) -> bool:
        return self.least_ssim < LEAST_SSIM or (self.least_psnr is not None and self.least_psnr < LEAST_PSNR)


class Measurement(BaseModel):
    """One combination of options: seconds a picture (the median, and as a share of the plain model's), to load and to
    compile, the peak of memory in bytes. `problem` says why it could not be measured, or had no effect."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: TunedOptions
    seconds: float | None = Field(default=None, gt=0)
    ratio: float | None = Field(default=None, gt=0)
    load_seconds: float | None = None
    peak_bytes: int | None = None
    change: Change | None = None
    problem: str = Field(default="", max_length=2000)

    @property
    def label(self) -> str:
        chosen = self.options.model_dump(exclude_unset=True, exclude_none=True)
        return ", ".join(_described(name, value) for name, value in chosen.items()) or "plain"


class TunedProfile(BaseModel):
    """What tuning chose for `model_id` on `device`, and everything that it measured there, the plain model first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    model_id: str = Field(max_length=100)
    repo: str = Field(max_length=1000)
    revision: str = Field(max_length=1000)
    device: str = Field(min_length=1, max_length=200)
    software: dict[str, str] = Field(max_length=20)
    subject: str = Field(default="", max_length=500, description="Size, steps, prompts and seeds that were drawn.")
    goal: Goal
    options: TunedOptions
    measured_at: AwareDatetime
    measurements: tuple[Measurement, ...] = Field(max_length=500)


def with_profile(spec: ModelSpec, profile: TunedProfile) -> ModelSpec:
    """`spec` with the options of `profile` that its line leaves out. Raises ValueError where they contradict it."""
    written = spec.options.model_fields_set
    chosen = {
        name: getattr(profile.options, name)
        for name in profile.options.model_fields_set
        if name not in written and getattr(profile.options, name) is not None
    }
    if not chosen or profile.repo != spec.repo or spec.lane != "local":
        return spec
    options = spec.options.model_copy(update=chosen)
    ModelOptions.model_validate(options.model_dump(exclude_unset=True))  # together with those of the line
    return spec.model_copy(update={"options": options, "tuned": tuple(sorted(chosen)), "tuned_for": profile.device})


def untuned(spec: ModelSpec) -> ModelSpec:
    """`spec` without the options of its profile."""
    usual: dict[str, Any] = {name: ModelOptions.model_fields[name].default for name in spec.tuned}
    options = spec.options.model_copy(update=usual)
    options.model_fields_set.difference_update(spec.tuned)  # its line says nothing of them
    return spec.model_copy(update={"options": options, "tuned": (), "tuned_for": ""})


def choose(measurements: tuple[Measurement, ...], goal: Goal) -> Measurement:
    """The measurement that serves `goal` best; the first, of the plain model, if none is better."""
    plain, *others = measurements
    able = [each for each in others if not each.problem and each.ratio is not None]
    if goal != "fastest":
        able = [each for each in able if each.change is not None and not each.change.is_visible]
    if goal == "least-memory":
        smaller = [each for each in able if (each.peak_bytes or 0) < 0.98 * (plain.peak_bytes or 0)]
        return min(smaller, key=lambda each: (each.peak_bytes or 0, each.ratio or 1), default=plain)
    faster = [each for each in able if (each.ratio or 1) <= WORTH]
    return min(faster, key=lambda each: each.ratio or 1, default=plain)


WORTH = 0.97  # of the plain model's seconds: less is within what two measurements differ


def _described(name: str, value: Any) -> str:
    if isinstance(value, dict):
        value = "/".join(str(each) for each in value.values() if not isinstance(each, tuple))
    return name if value is True else f"{name} {value}"

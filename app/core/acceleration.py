"""Options with which a local model draws faster: compilation, step caches, kernels of attention, layouts of weights.

Each is off unless the model's line, a setting or a tuned profile chooses it. Pure: names, bounds and how they combine;
what they do is in `app/engines/diffusers/speed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

# `auto`, and the names of diffusers' attention dispatcher (a test compares them with its list).
Attention = Literal[
    "auto",
    "native",
    "xformers",
    "flex",
    "flash",
    "flash_varlen",
    "_flash_3",
    "_flash_varlen_3",
    "sage",
    "sage_varlen",
    "_native_cudnn",
    "_native_efficient",
    "_native_flash",
    "_native_math",
    "_native_npu",
    "_native_xla",
    "_sage_qk_int8_pv_fp8_cuda",
    "_sage_qk_int8_pv_fp8_cuda_sm90",
    "_sage_qk_int8_pv_fp16_cuda",
    "_sage_qk_int8_pv_fp16_triton",
    "flash_hub",
    "flash_varlen_hub",
    "flash_4_hub",
    "_flash_3_hub",
    "_flash_3_varlen_hub",
    "aiter_fa2_hub",
    "sage_hub",
    "sage_blackwell_hub",
]
Compile = Literal["none", "regional", "full"]
CacheKind = Literal["none", "first-block", "taylorseer", "mag", "pyramid", "faster", "sea"]
ATTENTION_NAMES: tuple[str, ...] = get_args(Attention)
USUAL_ATTENTION = ("auto", "native", "xformers")
_HUB = "_hub"

_FIELDS: Mapping[CacheKind, frozenset[str]] = {
    "none": frozenset(),
    "first-block": frozenset({"threshold"}),
    "taylorseer": frozenset({"interval", "warmup_steps", "order"}),
    "mag": frozenset({"threshold", "ratios"}),
    "pyramid": frozenset({"interval"}),
    "faster": frozenset({"interval"}),
    "sea": frozenset({"threshold"}),
}
CACHE_KINDS: tuple[CacheKind, ...] = get_args(CacheKind)
_THRESHOLDS: Mapping[CacheKind, float] = {"first-block": 0.05, "mag": 0.06, "sea": 0.25}  # diffusers' own
_INTERVALS: Mapping[CacheKind, int] = {"taylorseer": 5, "pyramid": 2, "faster": 2}


class StepCache(BaseModel):
    """Skips what changes little from one denoising step to the next. Pictures differ from those without it.

    `threshold` (0 to 1): how much change is skipped over, of first-block, mag and sea. `interval` (2 to 20 steps):
    how often everything is computed, of taylorseer, and attention, of pyramid and faster. `warmup_steps` are computed
    in full before, `order` is that of the Taylor series. `ratios` of mag are those of the model, step by step; FLUX.1
    has known ones. What is left out is diffusers' default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: CacheKind
    threshold: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    interval: int | None = Field(default=None, ge=2, le=20)
    warmup_steps: int | None = Field(default=None, ge=1, le=100)
    order: int | None = Field(default=None, ge=0, le=3)
    ratios: tuple[Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)], ...] | None = Field(
        default=None, min_length=1, max_length=1000
    )

    @model_validator(mode="after")
    def _fields_of_its_kind(self) -> Self:
        given = {name for name in self.model_fields_set - {"kind"} if getattr(self, name) is not None}
        if unused := sorted(given - _FIELDS[self.kind]):
            known = ", ".join(sorted(_FIELDS[self.kind])) or "nothing else"
            raise ValueError(f"a cache of kind {self.kind} has no {unused[0]}; it takes {known}")
        return self

    @property
    def threshold_or_default(self) -> float:
        return _THRESHOLDS[self.kind] if self.threshold is None else self.threshold

    @property
    def interval_or_default(self) -> int:
        return _INTERVALS[self.kind] if self.interval is None else self.interval

    @property
    def label(self) -> str:
        """Kind and strength, such as `first-block 0.05`."""
        if self.kind in _THRESHOLDS:
            return f"{self.kind} {self.threshold_or_default:g}"
        return f"{self.kind} {self.interval_or_default}" if self.kind in _INTERVALS else self.kind


class AccelerationOptions(BaseModel):
    """Those options of a catalogue line; None means the setting of the whole installation (COMPILE, STEP_CACHE,
    FUSE_QKV, VAE_CHANNELS_LAST)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compile: Compile | None = None
    cache: StepCache | None = None
    fuse_qkv: bool | None = None
    vae_channels_last: bool | None = None
    attention: Attention | None = None


ACCELERATION_NAMES = tuple(AccelerationOptions.model_fields)


def parse_step_cache(text: str) -> StepCache | None:
    """The value of STEP_CACHE: a kind, or a kind and its threshold or interval, such as `first-block:0.08`; empty for
    none. Raises ValueError with a sentence."""
    kind, _, strength = (part.strip() for part in text.partition(":"))
    if not kind:
        return None
    if kind not in CACHE_KINDS:
        raise ValueError(f"there is no step cache {kind!r}; use {', '.join(CACHE_KINDS)}")
    field = "threshold" if "threshold" in _FIELDS[kind] else "interval"
    try:
        return StepCache.model_validate({"kind": kind} | ({field: strength} if strength else {}))
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"{kind}: {field}: {problem['msg'].removeprefix('Value error, ')}") from None


def fetches_code(attention: str | None) -> bool:
    """Whether these kernels are code of the hub, downloaded and run."""
    return attention is not None and attention.endswith(_HUB)

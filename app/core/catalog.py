"""The model catalogue: one `ModelSpec` per model. `catalog_lines.py` makes it of the `MODEL_<KEY>=…` lines.

Pure: no files, network or weights. Whether a model is downloaded or loaded is determined elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.acceleration import ACCELERATION_NAMES, AccelerationOptions
from app.core.auxiliaries import AuxiliaryOptions
from app.core.builtin_models import BUILTIN_FOLDER, BUILTIN_IDS
from app.core.engine_servers import TASKS as ENGINE_TASKS
from app.core.engine_servers import EngineServer
from app.core.inputs import MOST_INPUTS
from app.core.memory_plan import Offload
from app.core.model_names import ModelNames, NamedModel
from app.core.safety import SafetyPolicy
from app.core.schedulers.names import Sigmas, TimestepSpacing, closest, read_name
from app.core.schedulers.table import BY_NAME, Prediction
from app.core.tasks import TXT2IMG, Task
from app.errors import ConfigurationError, UnknownModel

LocalSource = Literal["huggingface", "local"]
RemoteSource = Literal["replicate", "openai", "engine"]
Source = LocalSource | RemoteSource
Media = Literal["image", "video"]
Group = Literal["built-in", "image", "edit", "video", "provider"]
Lane = Literal["local", "remote"]
Quantization = Literal[
    "auto",
    "none",
    "bitsandbytes-8bit",
    "bitsandbytes-4bit",
    "torchao-int8",
    "torchao-float8",
    "torchao-int8-dynamic",
    "torchao-float8-dynamic",
]

LANES: tuple[Lane, ...] = ("local", "remote")
GROUPS: tuple[Group, ...] = get_args(Group)  # in the order of a list
REMOTE_SOURCES: frozenset[str] = frozenset(get_args(RemoteSource))

STEPS_MIN, STEPS_MAX = 1, 100  # limits for models without a step rule
MOST_FRAMES = 10_000
_SLIDER = (20, 50, 30)  # of a slider for such a model: min, max, default


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepRule(_Frozen):
    """How many denoising steps a model takes: a `fixed` number, or `min`..`max` with a `default`.

    min and max are for a slider; requests may have 1 to STEPS_MAX, or to a greater max. `declared`: the catalogue line
    has a rule; then steps outside min..max get a warning.
    """

    fixed: int | None = Field(default=None, ge=1, le=1000)
    min: int = Field(default=_SLIDER[0], ge=1, le=1000)
    max: int = Field(default=_SLIDER[1], ge=1, le=1000)
    default: int = Field(default=_SLIDER[2], ge=1, le=1000)
    declared: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> StepRule:
        if self.fixed is None and not self.min <= self.default <= self.max:
            raise ValueError(f"steps need min <= default <= max, not {self.min} <= {self.default} <= {self.max}")
        return self

    def describe(self) -> dict[str, int]:
        """The rule in API responses: `{"fixed": 25}` or `{"min", "max", "default"}`."""
        if self.fixed is not None:
            return {"fixed": self.fixed}
        return {"min": self.min, "max": self.max, "default": self.default}


class Defaults(_Frozen):
    """Settings for requests that leave them out. None: the pipeline's default."""

    width: int | None = Field(default=None, ge=8, le=8192)
    height: int | None = Field(default=None, ge=8, le=8192)
    guidance_scale: float | None = Field(default=None, ge=0, le=100)
    max_sequence_length: int | None = Field(default=None, ge=1, le=4096)
    num_frames: int | None = Field(default=None, ge=1, le=MOST_FRAMES)
    fps: int | None = Field(default=None, ge=1, le=120)
    scheduler: str | None = None
    shift: float | None = Field(default=None, ge=0.01, le=100)
    timestep_spacing: TimestepSpacing | None = None
    sigmas: Sigmas | None = None

    @model_validator(mode="before")
    @classmethod
    def _scheduler_by_any_name(cls, given: Any) -> Any:
        written = given.get("scheduler") if isinstance(given, Mapping) else None
        if not isinstance(written, str):
            return given
        found = read_name(written)
        if found is None:
            raise ValueError(f"there is no scheduler {written!r}; did you mean {closest(written) or 'euler'}?")
        said = {"scheduler": found.name, "sigmas": found.sigmas, "timestep_spacing": found.timestep_spacing}
        return {**given, **{name: value for name, value in said.items() if value is not None}}


class Limits(_Frozen):
    """The sizes (pixels) and guidance a model accepts. `multiple_of` is required by its VAE and patches; `num_frames`
    of a video is one more than a multiple of `frame_step`."""

    min_width: int = Field(default=64, ge=8)
    max_width: int = Field(default=2048, le=8192)
    min_height: int = Field(default=64, ge=8)
    max_height: int = Field(default=2048, le=8192)
    multiple_of: int = Field(default=16, ge=1, le=128)
    min_guidance_scale: float = Field(default=0.0, ge=0)
    max_guidance_scale: float = Field(default=20.0, le=100)
    max_images: int = Field(default=8, ge=1, le=64)
    max_input_images: int | None = Field(
        default=None, ge=1, le=MOST_INPUTS, description="Input pictures of an edit; None: as the model's family allows."
    )
    max_pixels: int | None = Field(default=None, ge=64, description="Width times height; None: as the sides allow.")
    max_steps: int | None = Field(default=None, ge=1, description="None: as the step rule allows.")
    frame_step: int = Field(default=1, ge=1, le=64)
    max_frames: int | None = Field(default=None, ge=1, le=MOST_FRAMES, description="None: as the installation allows.")
    max_fps: int | None = Field(default=None, ge=1, le=120, description="None: as the installation allows.")

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        for what in ("width", "height", "guidance_scale"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if low > high:
                raise ValueError(f"min_{what} is {low:g}, more than max_{what} {high:g}")
        return self


class ModelOptions(AccelerationOptions, AuxiliaryOptions, _Frozen):
    """The optional JSON at the end of a `MODEL_…` line. `tasks`, `schedulers`, `prediction` and `prompt_weights`, where
    the line states none, are read from the model's files."""

    aliases: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()
    fixed_steps: int | None = Field(default=None, ge=1, le=1000)
    steps: dict[Literal["min", "max", "default"], int] | None = None
    defaults: Defaults = Defaults()
    limits: Limits = Limits()
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = "auto"
    offload: Offload | None = None
    vae_tiling: bool | None = None
    layerwise_casting: bool = False
    quantization: Quantization | None = None
    quantized_parts: tuple[str, ...] = ()
    gguf: str | None = Field(default=None, pattern=r"\.(?i:gguf)$", max_length=500)
    base: str | None = Field(default=None, min_length=1, max_length=500)
    vae: str | None = Field(default=None, min_length=1, max_length=500)
    preview_vae: str | None = Field(default=None, min_length=1, max_length=500)
    pipeline_class: str | None = Field(default=None, pattern=r"^[A-Za-z][A-Za-z0-9]*Pipeline$")
    revision: str | None = None
    variant: str | None = None
    media: Media = "image"
    group: Literal["image", "edit", "video"] | None = None
    tasks: tuple[Task, ...] | None = Field(default=None, min_length=1)
    safety_checker: str | None = Field(default=None, max_length=300)
    safety_policy: SafetyPolicy | None = None
    negative_prompt: bool = True
    schedulers: tuple[str, ...] | None = None
    prediction: Prediction | None = None
    prompt_weights: bool | None = None
    example_prompts: tuple[str, ...] = ()
    hint: str = ""
    price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    server: EngineServer | None = None

    @model_validator(mode="after")
    def _one_step_rule(self) -> ModelOptions:
        if self.fixed_steps is not None and self.steps is not None:
            raise ValueError("set either fixed_steps or steps, not both")
        return self

    @model_validator(mode="after")
    def _known_schedulers(self) -> ModelOptions:
        unknown = [name for name in self.schedulers or () if name not in BY_NAME]
        if unknown:
            raise ValueError(f"there is no scheduler {unknown[0]!r}; known are {', '.join(BY_NAME)}")
        if self.schedulers is not None and self.defaults.scheduler not in (None, *self.schedulers):
            raise ValueError(f"the default scheduler {self.defaults.scheduler} is not among its schedulers")
        return self

    @model_validator(mode="after")
    def _one_way_to_keep_weights(self) -> ModelOptions:
        quantized = self.quantization not in (None, "auto", "none")
        ways = (quantized, self.layerwise_casting, self.gguf is not None)
        if sum(ways) > 1:
            raise ValueError("set only one of quantization, layerwise_casting and gguf")
        if self.quantized_parts and not quantized:
            raise ValueError("quantized_parts needs quantization")
        return self

    @model_validator(mode="after")
    def _fused_weights_are_plain(self) -> ModelOptions:
        stored = self.quantization not in (None, "auto", "none") or self.layerwise_casting or self.gguf is not None
        if self.fuse_qkv and stored:
            raise ValueError(
                "fuse_qkv is for weights in 16 or 32 bits: leave out quantization, layerwise_casting, gguf"
            )
        return self

    @model_validator(mode="after")
    def _defaults_within_limits(self) -> ModelOptions:
        """Otherwise every request without a size would fail in the pipeline."""
        for what in ("width", "height", "guidance_scale"):
            value = getattr(self.defaults, what)
            low, high = getattr(self.limits, f"min_{what}"), getattr(self.limits, f"max_{what}")
            if value is not None and not low <= value <= high:
                raise ValueError(f"the default {what} {value:g} is outside the limits {low:g} to {high:g}")
            if what != "guidance_scale" and value is not None and value % self.limits.multiple_of:
                raise ValueError(f"the default {what} {value:g} is not a multiple of {self.limits.multiple_of}")
        return self

    def step_rule(self) -> StepRule:
        if self.fixed_steps is not None:
            return StepRule(fixed=self.fixed_steps, declared=True)
        if self.steps is None:
            return StepRule()
        low, high = self.steps.get("min", 1), self.steps.get("max", STEPS_MAX)
        default = self.steps.get("default", min(max(_SLIDER[2], low), high))
        return StepRule(min=low, max=high, default=default, declared=True)


class ModelSpec(_Frozen):
    """One entry of the catalogue. `id` is the `model_id` of the API; `repo` is where the weights are, or the name of
    the model at its provider or engine server. Only a provider's model without a catalogue line has an id with a slash.
    `tuned` are the options that a profile for the device `tuned_for` filled in (core/tuned_profiles.py)."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9._-]+)?$", max_length=100)]
    name: str
    repo: str
    description: str
    source: Source
    requires_auth: bool = False
    steps: StepRule = StepRule()
    options: ModelOptions = ModelOptions()
    tuned: tuple[str, ...] = ()
    tuned_for: str = ""

    @model_validator(mode="after")
    def _files_here(self) -> ModelSpec:
        if self.options.kind is not None and self.lane == "remote":
            raise ValueError(f"a line of kind {self.options.kind} runs here, not at a provider")
        if self.options.kind is not None or self.lane == "remote":
            for name in ACCELERATION_NAMES:
                if getattr(self.options, name) is not None:
                    raise ValueError(f"{name} is for models that draw here")
        if self.options.base is not None and self.source != "local":
            raise ValueError("base is for a file: its source must be local")
        for name in ("vae", "preview_vae"):
            if getattr(self.options, name) is not None and self.lane == "remote":
                raise ValueError(f"{name} is for models that run here, not at a provider")
        if (self.options.server is None) == (self.source == "engine"):
            raise ValueError("a line with the source engine, and no other, has the option server")
        if self.source == "engine" and (self.media != "image" or not ENGINE_TASKS.issuperset(self.options.tasks or ())):
            raise ValueError(f"an engine server makes images; its tasks may be {', '.join(sorted(ENGINE_TASKS))}")
        if self.options.gguf is not None and self.is_gguf:
            raise ValueError("the model is a .gguf file itself; remove the option gguf")
        if self.is_upscaler and self.options.file is not None and self.source != "huggingface":
            raise ValueError("file names the weights of an upscaler in a repository of the hub")
        if self.is_upscaler and (self.options.revision or self.options.variant):
            raise ValueError("an upscaler has no revision and no variant; name its file")
        return self

    @property
    def is_upscaler(self) -> bool:
        """Whether it enlarges pictures instead of drawing them."""
        return self.options.kind == "upscaler"

    @property
    def is_auxiliary(self) -> bool:
        """Whether it only runs beside a model that draws."""
        return self.options.kind is not None and not self.is_upscaler

    @property
    def is_gguf(self) -> bool:
        """Whether the model is a GGUF file on a base."""
        return self.source == "local" and self.repo.lower().endswith(".gguf")

    @property
    def media(self) -> Media:
        return self.options.media

    @property
    def lane(self) -> Lane:
        """Which workers run it: those that load models, or those that call providers."""
        return "remote" if self.source in REMOTE_SOURCES else "local"

    @property
    def group(self) -> Group:
        """Where it stands in a list of models: with those built in, at a provider, or by what it makes. A model that
        draws from words alone is with the pictures although it edits too, unless its line says otherwise."""
        if self.lane == "remote":
            return "provider"
        if self.source == "local" and self.repo.startswith(BUILTIN_FOLDER):
            return "built-in"
        if self.options.group is not None or self.media == "video":
            return self.options.group or "video"
        return "edit" if self.options.tasks and TXT2IMG not in self.options.tasks else "image"

    @property
    def defaults(self) -> Defaults:
        return self.options.defaults

    @property
    def limits(self) -> Limits:
        return self.options.limits


class Catalog:
    """The models of this installation by id, in display order, and the default model, given by any of its names.

    Upscalers and the `auxiliaries` (ControlNets, adapters, detectors) have names and lists of their own: no request to
    draw is sent to one.
    """

    def __init__(self, specs: Iterable[ModelSpec], default_name: str) -> None:
        self.everything = tuple(specs)
        self._specs = {spec.id: spec for spec in self.everything if spec.options.kind is None}
        self._upscalers = {spec.id: spec for spec in self.everything if spec.is_upscaler}
        self.auxiliaries = {spec.id: spec for spec in self.everything if spec.is_auxiliary}
        self._names, self._upscaler_names = _names_of(self._specs.values()), _names_of(self._upscalers.values())
        self._auxiliary_names = _names_of(self.auxiliaries.values())
        default_id = self._names.find(default_name)
        if default_id is None:
            raise ConfigurationError(
                [f"DEFAULT_MODEL_ID: there is no model {default_name!r}. Choose one of {', '.join(self._specs)}"]
            )
        self.default_id = default_id

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)

    def get(self, name: str | None) -> ModelSpec:
        """The spec of the model called `name` (id, alias or repository, in any case), or of the default model if None.
        Raises UnknownModel."""
        found = self.default_id if name is None else self._names.find(name)
        if found is None:
            if self._auxiliary_names.find(str(name)) is not None:
                raise UnknownModel(
                    f"{str(name)[:100]!r} draws nothing by itself: name it as model of an input picture."
                )
            closest = self._names.closest(str(name))
            meant = "" if closest is None else f" Did you mean {closest!r}?"
            raise UnknownModel(f"There is no model {str(name)[:100]!r}.{meant} Known models: {', '.join(self._specs)}.")
        return self._specs[found]

    @property
    def upscalers(self) -> Sequence[ModelSpec]:
        """Those of the operator first."""
        return sorted(self._upscalers.values(), key=lambda spec: spec.id in BUILTIN_IDS)

    def upscaler(self, name: str) -> ModelSpec:
        """The upscaler called `name` (id, alias or repository, in any case). Raises UnknownModel."""
        found = self.find_upscaler(name)
        if found is None:
            known = ", ".join(self._upscalers)
            raise UnknownModel(f"There is no upscaler {name[:100]!r}. Known upscalers: {known}.")
        return found

    def find_upscaler(self, name: str) -> ModelSpec | None:
        """The upscaler called `name`; None if there is none."""
        found = self._upscaler_names.find(name)
        return None if found is None else self._upscalers[found]

    def auxiliary(self, name: str) -> ModelSpec | None:
        """The auxiliary model called `name`; None if there is none."""
        found = self._auxiliary_names.find(name)
        return None if found is None else self.auxiliaries[found]

    def id_of(self, name: str) -> str:
        """The id of the model or upscaler called `name`; `name` itself for one that is not, or no longer, in the
        catalogue."""
        return self._names.find(name) or self._upscaler_names.find(name) or name


def _names_of(specs: Iterable[ModelSpec]) -> ModelNames:
    own_first = sorted(specs, key=lambda spec: spec.id in BUILTIN_IDS)  # the operator's lines win
    return ModelNames(NamedModel(spec.id, spec.options.aliases, spec.repo) for spec in own_first)

"""Generation requests. `GenerationInput` is the client's request, with gaps; `resolve.py` validates it against a model
and returns the frozen `GenerationRequest` that is stored, run and written into the picture's metadata.

All façades build a `GenerationInput`; the rules are here, once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.catalog import (
    Catalog,
    Media,
    ModelOptions,
    ModelSpec,
    Source,
)
from app.core.field_aliases import REQUEST_ALIASES
from app.core.generation_settings import GenerationSettings, LoraChoice
from app.core.inputs import MOST_INPUTS, PICTURE, InputChoice, InputRef, Role, slots
from app.core.json_values import AliasedBody
from app.core.repaint import FIELDS as REPAINT_FIELDS
from app.core.repaint import Area, Fill
from app.core.rerun import RerunOf
from app.core.schedulers.names import Sigmas, TimestepSpacing
from app.core.tasks import (
    TXT2IMG,
    UPSCALE,
    VIDEO_TASKS,
    Task,
    steps_run,
)
from app.core.upscaling import Upscale


class GenerationInput(AliasedBody):
    """A client's request, before the model's rules are applied."""

    ALIASES = REQUEST_ALIASES

    prompt: str
    negative_prompt: str | None = None
    model_id: str | None = None
    settings: GenerationSettings = GenerationSettings()
    image: str | None = Field(default=None, description=f"{PICTURE} The picture to start from.")
    mask: str | None = Field(default=None, description=f"{PICTURE} With an image: white areas are repainted.")
    inputs: tuple[InputChoice, ...] = Field(
        default=(),
        max_length=MOST_INPUTS,
        strict=False,
        description="Input pictures by role, in order; `image` and `mask` are the short way for one of each.",
    )

    @model_validator(mode="before")
    @classmethod
    def _inputs_among_settings(cls, given: Any) -> Any:
        """They may be sent beside the settings or among them."""
        settings = given.get("settings") if isinstance(given, Mapping) else None
        if not isinstance(settings, Mapping) or settings.get("inputs") is None or given.get("inputs") is not None:
            return given
        rest = {name: value for name, value in settings.items() if name != "inputs"}
        return {**given, "settings": rest, "inputs": settings["inputs"]}

    @property
    def pictures(self) -> Sequence[InputChoice]:
        """All input pictures: `image` and `mask` first."""
        short: tuple[tuple[Role, str | None], ...] = (("image", self.image), ("mask", self.mask))
        return (
            *(InputChoice(role=role, source=source) for role, source in short if source is not None),
            *(self.inputs or ()),
        )

    @property
    def controls(self) -> Sequence[InputChoice]:
        """The control pictures, in order."""
        return [picture for picture in self.pictures if picture.role == "control"]


class RemoteCall(BaseModel):
    """The part of a request for its provider.

    `model` is the provider's name of it. `input` is in the model's schema and validated; None: it is translated when
    the request is sent, and of its settings only those in `chosen` were set explicitly. `pictures` are the ids of
    gallery pictures in `input` that its owner may see: no other is uploaded. None: the job is from a
    version that did not store them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: Source
    model: str
    media: Media = "image"
    version: str | None = None
    input: dict[str, Any] | None = None
    chosen: tuple[str, ...] = ()
    pictures: tuple[str, ...] | None = None


class GenerationRequest(BaseModel):
    """A complete, validated request. `width`, `height`, `guidance_scale`, `num_frames` and `fps` may be None: the
    pipeline's default.

    `prompt_weighting` is `auto` for prompts that have weights, or may be longer than CLIP reads at once, and None for
    plain ones; `embeddings` are those that they name. `pictures` are empty unless `task` uses them, or controls and
    references. Their pixels are stored with the job. `strength` is None unless the task uses it; a video keeps its
    start image unchanged.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_id: str
    prompt: str
    negative_prompt: str | None = None
    num_inference_steps: int
    guidance_scale: float | None = None
    true_cfg_scale: float | None = None
    guidance_scale_2: float | None = None
    width: int | None = None
    height: int | None = None
    seed: int
    num_images: int = 1
    task: Task = TXT2IMG
    strength: float | None = None
    num_frames: int | None = None
    fps: int | None = None
    loras: tuple[LoraChoice, ...] = ()
    scheduler: str | None = None
    shift: float | None = None
    timestep_spacing: TimestepSpacing | None = None
    sigmas: Sigmas | None = None
    clip_skip: int | None = None
    prompt_2: str | None = None
    prompt_weighting: Literal["auto", "off"] | None = None
    mask_blur: int | None = None
    mask_invert: bool | None = None
    inpaint_area: Area | None = None
    inpaint_padding: int | None = None
    inpaint_fill: Fill | None = None
    upscale: Upscale | None = None
    pictures: tuple[InputRef, ...] = ()
    embeddings: tuple[str, ...] = ()
    rerun_of: RerunOf | None = None
    remote: RemoteCall | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, given: Any) -> Any:
        """Jobs stored before there were more than one input of a role."""
        if not isinstance(given, Mapping) or not {"image", "mask"} & given.keys():
            return given
        roles: tuple[Role, ...] = ("image", "mask")
        found = [dict(given[role]) | {"role": role} for role in roles if given.get(role)]
        return {name: value for name, value in given.items() if name not in roles} | {"pictures": found}

    @property
    def slots(self) -> Sequence[str]:
        """The names of its input pictures, in their order."""
        return slots(picture.role for picture in self.pictures)

    @property
    def models_used(self) -> Sequence[str]:
        """The ids of its model and of the auxiliary models of its input pictures."""
        return [self.model_id, *(picture.model for picture in self.pictures if picture.model is not None)]

    @property
    def steps_run(self) -> int:
        """Denoising steps that are actually run per picture, in both passes: starting from a picture skips the first
        ones. 0 for a provider's model, which reports its own, and for an upscaler, which reports its tiles."""
        if self.remote is not None or self.task == UPSCALE:
            return 0
        second = 0 if self.upscale is None else self.upscale.steps_run((self.width, self.height))
        return steps_run(self.num_inference_steps, self.strength) + second

    def settings(self) -> dict[str, Any]:
        """The settings as shown in a status, which clients may send again. Pictures have no length, and what says how
        a mask is used is only in requests with one."""
        others = set() if self.task in VIDEO_TASKS else {"num_frames", "fps"}
        others |= set() if self.task == "inpaint" else set(REPAINT_FIELDS)
        others |= {"upscale"} if self.upscale is None else set()
        dumped = self.model_dump(mode="json", include=set(GenerationSettings.model_fields) - others)
        return dumped | ({"num_inference_steps": None} if self.task == UPSCALE else {})

    def inputs(self) -> dict[str, Any]:
        """References to the input pictures by slot; empty without any."""
        dumped = (picture.model_dump(mode="json", exclude_none=True, exclude={"role"}) for picture in self.pictures)
        return dict(zip(self.slots, dumped, strict=True))

    def stored(self) -> dict[str, Any]:
        """Everything except prompts and model, as stored in a job's row."""
        return self.model_dump(mode="json", exclude=_COLUMNS, exclude_defaults=True)

    def stored_json(self) -> str:
        """`stored` as JSON."""
        return self.model_dump_json(exclude=_COLUMNS, exclude_defaults=True)


_COLUMNS = {"model_id", "prompt", "negative_prompt"}  # of a job's row


def spec_for(catalog: Catalog, request: GenerationRequest) -> ModelSpec:
    """The model of `request`: from the catalogue, or a provider's model without an entry. Raises
    UnknownModel."""
    if request.task == UPSCALE:
        return catalog.upscaler(request.model_id)
    call = request.remote
    if call is None or call.source == "engine":  # whose line says where its server is
        return catalog.get(request.model_id)
    return remote_spec(catalog, call.source, call.model, call.media)


def remote_spec(catalog: Catalog, source: Source, model: str, media: Media) -> ModelSpec:
    """The catalogue's entry for a provider's `model` and what it makes, else one made from its name."""
    listed = (spec for spec in catalog if (spec.source, spec.repo, spec.media) == (source, model, media))
    bare = ModelSpec(
        id=re.sub(r"[^a-z0-9._/-]+", "-", model.lower())[:100],
        name=model,
        repo=model,
        description="",
        source=source,
        options=ModelOptions(media=media),
    )
    return next(listed, bare)

"""Flat request bodies of the versioned API, and their translation to a GenerationInput."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.core.field_aliases import REQUEST_ALIASES, SETTING_ALIASES
from app.core.generation_settings import RANDOM_SEED, SEED_MAX
from app.core.inputs import MOST_INPUTS, InputChoice
from app.core.json_values import AliasedBody, FiniteFloat, Integer
from app.core.repaint import Area, Fill
from app.core.request import PICTURE, GenerationInput, GenerationSettings, LoraChoice
from app.core.schedulers.names import Sigmas, TimestepSpacing
from app.core.upscaling import UpscaleChoice
from app.core.webhooks import URL_MAX_CHARS
from app.errors import CyberImageError, FieldError

LONGEST_TIMEOUT_SECONDS = 3600
_NESTED = "settings."
_FLAT_NAMES = {"settings.loras": "lora_path"}

Timeout = Annotated[
    FiniteFloat | None,
    Field(
        ge=0,
        le=LONGEST_TIMEOUT_SECONDS,
        description="Seconds to wait before the answer is 202; absent = SYNC_TIMEOUT_SECONDS, 0 = do not wait.",
    ),
]


class Flat(AliasedBody):
    """What both requests have."""

    ALIASES = {**REQUEST_ALIASES, **SETTING_ALIASES}

    prompt: str
    negative_prompt: str | None = None
    model_id: str | None = Field(default=None, description="Of `GET /api/v1/models`; absent = the default model.")
    num_inference_steps: Integer | None = Field(default=None, ge=1, le=100, description="Each model has its rule.")
    guidance_scale: FiniteFloat | None = Field(default=None, ge=1.0, le=20.0)
    seed: Integer | None = Field(default=None, ge=RANDOM_SEED, le=SEED_MAX, description="-1 or absent draws one.")
    width: Integer | None = Field(default=None, description="Pixels, within the model's limits.")
    height: Integer | None = Field(default=None, description="Pixels, within the model's limits.")
    num_images: Integer = Field(default=1, ge=1, le=8, description="Image i uses seed + i.")
    scheduler: str | None = Field(default=None, min_length=1, max_length=60, description="Of `GET /api/schedulers`.")
    shift: FiniteFloat | None = Field(default=None, ge=0.01, le=100, description="Of flow models.")
    timestep_spacing: TimestepSpacing | None = Field(default=None, description="How the steps are spread.")
    sigmas: Sigmas | None = Field(default=None, description="Spacing of the noise levels, if not the usual one.")
    clip_skip: Integer | None = Field(default=None, ge=0, le=11, description="Last layers of CLIP to leave out.")
    prompt_2: str | None = Field(default=None, description="For the second text encoder; absent = the prompt.")
    prompt_weighting: Literal["auto", "off"] | None = Field(
        default=None, description="off: weights and LoRA tags in the prompt are plain text."
    )
    lora_path: str | None = Field(
        default=None, min_length=1, max_length=300, description="A name of `GET /api/v1/loras`, or a repo of the hub."
    )
    lora_scale: FiniteFloat | None = Field(default=None, ge=0, le=2, description="How strongly it works; 1 if absent.")
    inputs: tuple[InputChoice, ...] = Field(
        default=(),
        max_length=MOST_INPUTS - 1,
        strict=False,
        description="Further pictures by role: of an edit, control pictures, references.",
    )
    timeout: Timeout = None
    webhook_url: str | None = Field(default=None, max_length=URL_MAX_CHARS, description="As for `POST /api/generate`.")

    def asked(self) -> GenerationInput:
        """The same request as a GenerationInput."""
        sent = self.model_dump()
        known = {name: sent[name] for name in GenerationSettings.model_fields if name in sent}
        if self.lora_path is not None:
            known["loras"] = (LoraChoice(id=self.lora_path, scale=1.0 if self.lora_scale is None else self.lora_scale),)
        named = {name: sent[name] for name in GenerationInput.model_fields if name in sent}
        asked = GenerationInput.model_validate({**named, "settings": GenerationSettings.model_validate(known)})
        return asked.with_renamed(self.renamed)

    @model_validator(mode="after")
    def _scale_of_something(self) -> Self:
        if self.lora_scale is not None and self.lora_path is None:
            raise ValueError("lora_scale needs a lora_path")
        return self


class Txt2ImgBody(Flat):
    """A picture from words."""

    upscale: UpscaleChoice | None = Field(
        default=None, description="A second pass: the picture is enlarged and drawn over."
    )


class Img2ImgBody(Flat):
    """A picture from a picture."""

    image: str = Field(description=f"{PICTURE} The picture to start from.")
    mask: str | None = Field(default=None, description=f"{PICTURE} What is white is painted anew.")
    strength: FiniteFloat | None = Field(
        default=None, ge=0, le=1, description="How far to leave the picture: 1 keeps nothing; 0 is refused."
    )
    mask_blur: Integer | None = Field(default=None, ge=0, le=256, description="Softens the mask's edges, in pixels.")
    mask_invert: bool | None = Field(default=None, description="What is black is painted anew.")
    inpaint_area: Area | None = Field(default=None, description="masked: draw the part around the mask at full size.")
    inpaint_padding: Integer | None = Field(default=None, ge=0, le=2048, description="Pixels around a masked area.")
    inpaint_fill: Fill | None = Field(default=None, description="What the masked part starts from.")


@contextmanager
def flat_field_names() -> Iterator[None]:
    """Complaints about `settings.width` name `width`, which is what the client sent."""
    try:
        yield
    except CyberImageError as error:
        wrong = [
            FieldError(_FLAT_NAMES.get(one.field, one.field.removeprefix(_NESTED)), one.message) for one in error.errors
        ]
        raise type(error)(error.detail.replace(_NESTED, ""), errors=wrong, retry_after=error.retry_after) from None

"""The settings of a request, as clients send them: names, types and bounds that hold for every model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.core.field_aliases import SETTING_ALIASES
from app.core.json_values import AliasedBody, Body, FiniteFloat, Integer
from app.core.repaint import Area, Fill
from app.core.schedulers.names import Sigmas, TimestepSpacing
from app.core.upscaling import UpscaleChoice

SEED_MAX = 2**32 - 1  # supported by all providers and file formats
RANDOM_SEED = -1
MOST_LORAS = 8
_MOST = 2**31  # of what only the model's limits bound: integers of Python may have any number of digits


class LoraChoice(Body):
    """One LoRA of a request. Scale 1 is full effect, 0 none."""

    id: str = Field(min_length=1, max_length=300, description="A name from GET /api/loras, or a hub repo.")
    scale: FiniteFloat = Field(default=1.0, ge=0, le=2, description="Strength of its effect.")


class GenerationSettings(AliasedBody):
    """The settings of a generation, in diffusers' names. All are optional; the model's defaults fill the rest."""

    ALIASES = SETTING_ALIASES

    num_inference_steps: Integer | None = Field(
        default=None, ge=-_MOST, le=_MOST, description="Denoising steps; each model has a range."
    )
    guidance_scale: FiniteFloat | None = Field(default=None, description="How closely the prompt is followed.")
    true_cfg_scale: FiniteFloat | None = Field(
        default=None, ge=0, le=100, description="Guidance by a negative prompt in models that have a second kind of it."
    )
    guidance_scale_2: FiniteFloat | None = Field(
        default=None, ge=0, le=100, description="Of a model's second transformer; absent: guidance_scale."
    )
    width: Integer | None = Field(default=None, ge=-_MOST, le=_MOST, description="Pixels, within the model's limits.")
    height: Integer | None = Field(default=None, ge=-_MOST, le=_MOST, description="Pixels, within the model's limits.")
    seed: Integer | None = Field(
        default=None, ge=RANDOM_SEED, le=SEED_MAX, description="-1 or absent: random; the seed used is reported."
    )
    num_images: Integer = Field(default=1, ge=1, le=8, description="Number of pictures; picture i uses seed + i.")
    strength: FiniteFloat | None = Field(
        default=None,
        ge=0,
        le=1,
        description="With an image: how much to change it. 1 keeps nothing; 0 is refused.",
    )
    num_frames: Integer | None = Field(
        default=None, ge=1, le=_MOST, description="Of a video; the range depends on the model."
    )
    fps: Integer | None = Field(default=None, ge=1, le=_MOST, description="Of a video: frames per second.")
    loras: tuple[LoraChoice, ...] = Field(
        default=(), max_length=MOST_LORAS, strict=False, description="Applied together, in this order."
    )
    scheduler: str | None = Field(
        default=None,
        min_length=1,
        max_length=60,
        description="A name of GET /api/schedulers, or AUTOMATIC1111's such as `DPM++ 2M Karras`; absent: the model's.",
    )
    shift: FiniteFloat | None = Field(
        default=None,
        ge=0.01,
        le=100,
        description="Of flow models: above 1 more steps go to the noisy part. Instead of one that depends on the size.",
    )
    timestep_spacing: TimestepSpacing | None = Field(
        default=None, description="How the steps are spread; distilled models such as Lightning want trailing."
    )
    sigmas: Sigmas | None = Field(default=None, description="Spacing of the noise levels, if not the usual one.")
    clip_skip: Integer | None = Field(
        default=None,
        ge=0,
        le=11,
        description="Last layers of CLIP to leave out: 1 is what others call clip skip 2.",
    )
    prompt_2: str | None = Field(
        default=None, description="For the second text encoder of SDXL, SD 3 and FLUX; absent: the prompt."
    )
    prompt_weighting: Literal["auto", "off"] | None = Field(
        default=None, description="off: weights such as (word:1.3), BREAK and LoRA tags in a prompt are plain text."
    )
    mask_blur: Integer | None = Field(
        default=None, ge=0, le=256, description="Softens the mask's edges: deviation in pixels of the picture."
    )
    mask_invert: bool | None = Field(default=None, description="Repaint what is black instead.")
    inpaint_area: Area | None = Field(
        default=None,
        description="whole: the picture is drawn at its size; masked: the part around the mask is drawn at the model's"
        " size, or at width and height, and put back into the picture.",
    )
    inpaint_padding: Integer | None = Field(
        default=None, ge=0, le=2048, description="Pixels around the mask that a masked area includes; 32 if absent."
    )
    inpaint_fill: Fill | None = Field(
        default=None, description="What the masked part starts from: original, blur (colours around it) or noise."
    )
    upscale: UpscaleChoice | None = Field(
        default=None, description="A second pass: the picture is enlarged and drawn over, by models that can (img2img)."
    )

"""Bodies of OpenAI's image requests. Numbers may be text, as forms have them; what is unknown is told in `warnings`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.core.inputs import MOST_INPUTS
from app.core.json_values import Body, FiniteFloat
from app.core.picture_formats import PictureFormat
from app.core.webhooks import URL_MAX_CHARS

Quality = Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]
PICTURE = "Base64, a data URI, the id of a gallery picture, or a public http(s) URL; in a form, a file."
_SIZE = re.compile(r"([1-9][0-9]{0,4})\s*[xX×]\s*([1-9][0-9]{0,4})")


def _checked_size(text: str) -> str:
    if text != "auto" and not _SIZE.fullmatch(text):
        raise ValueError("must be auto, or width and height such as 1024x1024")
    return text


def size_of(text: str | None) -> tuple[int, int] | None:
    """Width and height of a valid `size`; None for `auto`."""
    found = None if text is None else _SIZE.fullmatch(text)
    return None if found is None else (int(found[1]), int(found[2]))


Size = Annotated[str, AfterValidator(_checked_size)]


class Drawing(Body):
    """What all three requests have."""

    model_config = ConfigDict(extra="allow", strict=False)

    model: str | None = Field(default=None, description="Of `GET /v1/models`; absent = the default model.")
    n: int = Field(default=1, ge=1, description="Number of pictures.")
    size: Size | None = Field(
        default=None,
        description="`auto` or such as `1024x1024`. Where the model cannot draw it, the nearest size that it can is"
        " drawn: `size` and `warnings` of the answer and the header `X-Image-Size` say so.",
    )
    response_format: Literal["url", "b64_json"] | None = Field(
        default=None,
        description="url: signed, expiring URLs. Absent: both, since clients of DALL·E read url and others b64_json.",
    )
    user: str | None = Field(default=None, description="Accepted; not used.")
    webhook_url: str | None = Field(default=None, max_length=URL_MAX_CHARS, description="As for `POST /api/generate`.")
    negative_prompt: str | None = Field(default=None, description="Not OpenAI's; as are the fields that follow.")
    seed: int | None = Field(default=None, description="-1 or absent draws one.")
    num_inference_steps: int | None = Field(default=None, description="Instead of `quality`; also `steps`.")
    guidance_scale: FiniteFloat | None = Field(default=None, description="How closely the prompt is followed.")
    strength: FiniteFloat | None = Field(default=None, description="With a picture: how much to change it.")

    @property
    def extras(self) -> dict[str, Any]:
        """Fields that are not declared."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}


class Presented(Drawing):
    """What GPT Image requests have besides."""

    quality: Quality = Field(
        default="auto", description="Denoising steps by the model's rule: low = its least, high = its most."
    )
    background: Literal["auto", "opaque", "transparent"] = Field(default="auto", description="Pictures are opaque.")
    output_format: PictureFormat = Field(default="png", description="Of `b64_json`; URLs lead to the stored PNG.")
    output_compression: int = Field(default=100, ge=0, le=100, description="Quality of webp and jpeg.")
    stream: bool = Field(default=False, description="Answer with server-sent events.")
    partial_images: int = Field(default=0, ge=0, le=3, description="With `stream`: most previews before the picture.")
    safety_identifier: str | None = Field(default=None, description="Accepted; not used.")


class GenerationsBody(Presented):
    prompt: str


class Linked(BaseModel):
    """A picture of a JSON edit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_url: str = Field(description=PICTURE)


Picture = str | Linked
Pictures = Annotated[list[Picture], Field(max_length=MOST_INPUTS - 1)]


class EditsBody(Presented):
    prompt: str
    image: Picture | Pictures | None = Field(
        default=None,
        description=f"{PICTURE} Several, in a form as `image[]`, for models that edit several.",
    )
    images: Pictures | None = Field(default=None, description="As `image`.")
    mask: Picture | None = Field(default=None, description=f"{PICTURE} Transparent parts are painted anew.")


class VariationsBody(Drawing):
    image: Picture = Field(description=PICTURE)
    prompt: str | None = Field(default=None, description="Not OpenAI's: what the variation should show.")

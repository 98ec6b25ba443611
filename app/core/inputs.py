"""Input pictures of a job: what is stored and what is reported about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.json_values import Body, Integer

Role = Literal["image", "mask", "reference"]
Channel = Literal["luminance", "alpha"]
MOST_INPUTS = 10
LARGEST_EXTENSION = 4096  # pixels
PICTURE = "Base64, a data URI, the id of a gallery picture, or a public http(s) URL."


class Extend(Body):
    """By how many pixels a picture grows on each side."""

    left: Integer = Field(default=0, ge=0, le=LARGEST_EXTENSION)
    top: Integer = Field(default=0, ge=0, le=LARGEST_EXTENSION)
    right: Integer = Field(default=0, ge=0, le=LARGEST_EXTENSION)
    bottom: Integer = Field(default=0, ge=0, le=LARGEST_EXTENSION)

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not (self.left or self.top or self.right or self.bottom):
            raise ValueError("extends no side: set left, top, right or bottom, in pixels")
        return self


class InputChoice(Body):
    """One input picture of a request."""

    role: Role = Field(
        description="image: to start from or to edit; mask: white areas are repainted;"
        " reference: a further picture of an edit."
    )
    source: str = Field(description=PICTURE)
    extend: Extend | None = Field(
        default=None, description="Of an image: pixels to add around it, which are drawn (outpainting)."
    )
    channel: Channel = Field(
        default="luminance",
        description="Of a mask: what marks the part to repaint. luminance: white; alpha: transparency, as in OpenAI's"
        " API.",
    )

    @model_validator(mode="after")
    def _only_an_image_grows(self) -> Self:
        if self.extend is not None and self.role != "image":
            raise ValueError("extend is for a picture of role image")
        return self


class InputRef(BaseModel):
    """Reference to an input picture in jobs, manifests and statuses. `sha256` is of the file as sent, `width` and
    `height` as used; `image_id` is set if it came from the gallery, `extend` if the picture was extended."""

    model_config = ConfigDict(frozen=True)

    role: Role = "image"
    sha256: str
    width: int
    height: int
    image_id: str | None = None
    extend: Extend | None = None


@dataclass(frozen=True)
class InputPicture:
    """A prepared input: `png` is RGB, or grey for a `mask` (white = repaint). `slot` is its name within the job."""

    slot: str
    ref: InputRef
    png: bytes


def slots(roles: Iterable[Role]) -> list[str]:
    """A name for each of a job's inputs: `image`, `image-2`, `mask`, `ref`. At most 8 characters, as the database's."""
    seen: Counter[Role] = Counter()
    names = []
    for role in roles:
        seen[role] += 1
        base = "ref" if role == "reference" else role
        names.append(base if seen[role] == 1 else f"{base}-{seen[role]}")
    return names


def role_of(slot: str) -> Role:
    """The role of an input by its slot."""
    if slot.startswith("ref"):
        return "reference"
    return "mask" if slot.startswith("mask") else "image"

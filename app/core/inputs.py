"""Input pictures of a job: what is stored and what is reported about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

Role = Literal["image", "mask"]


class InputRef(BaseModel):
    """Reference to an input picture in jobs, manifests and statuses. `sha256` is of the file as sent, `width` and
    `height` as used; `image_id` is set if it came from the gallery."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    width: int
    height: int
    image_id: str | None = None


@dataclass(frozen=True)
class InputPicture:
    """A prepared input: `png` is RGB for an `image`, grey for a `mask` (white = repaint)."""

    role: Role
    ref: InputRef
    png: bytes

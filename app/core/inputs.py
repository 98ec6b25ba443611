"""The pictures a job starts from: what is kept of them while the job lives, and what is told about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

Role = Literal["image", "mask"]


class InputRef(BaseModel):
    """What a job, a manifest and a status say of an input. `sha256` is of the file as it was sent, `width` and `height`
    are those it is used at; `image_id` is set when it came from the gallery."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    width: int
    height: int
    image_id: str | None = None


@dataclass(frozen=True)
class InputPicture:
    """An input, ready to be used: `png` is RGB for an `image`, grey for a `mask` (white = paint anew)."""

    role: Role
    ref: InputRef
    png: bytes

"""The formats in which pictures are sent."""

from __future__ import annotations

from typing import Literal

PictureFormat = Literal["png", "webp", "jpeg"]

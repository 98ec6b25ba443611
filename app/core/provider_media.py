"""Whether a provider's model makes pictures or videos. Providers do not publish it: a file is only a URL to them."""

from __future__ import annotations

import re

from app.core.catalog import Media
from app.core.model_schema import InputSchema
from app.core.provider_input import NAMES

_OF_VIDEOS = frozenset((*NAMES["num_frames"], *NAMES["fps"], "duration", "start_image", "first_frame_image"))
_OF_PICTURES = frozenset(NAMES["num_images"])
_VIDEO_NAMES = frozenset(("video", "i2v", "t2v", "animate", "animatediff"))
_VIDEO_TEXT = ("video", "animat")


def media_of(model: str, description: str, schema: InputSchema) -> Media:
    """By the model's name, then by inputs that only one kind has, then by its description."""
    inputs = set(schema.properties)
    if _VIDEO_NAMES & set(re.split(r"[^a-z0-9]+", model.lower())) or _OF_VIDEOS & inputs:
        return "video"
    if _OF_PICTURES & inputs:
        return "image"
    return "video" if any(word in description.lower() for word in _VIDEO_TEXT) else "image"

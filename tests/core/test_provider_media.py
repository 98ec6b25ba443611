"""Whether a provider's model makes pictures or videos."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.model_schema import InputSchema
from app.core.provider_media import media_of
from tests.providers.schemas import CLIP, PAINTER, SIZED, document


@pytest.mark.parametrize(
    ("model", "description", "published", "media"),
    [
        ("acme/painter", "Prompts guided by CLIP", PAINTER, "image"),
        ("acme/sized", "", SIZED, "image"),
        ("acme/clip", "", CLIP, "video"),
        ("acme/wan-2.2-i2v-fast", "", document({"prompt": {"type": "string"}}), "video"),
        ("acme/frames", "", document({"frames_per_second": {"type": "integer"}}, required=()), "video"),
        ("acme/unknown", "Animates a picture", {}, "video"),
        ("acme/unknown", "Turns a picture into a video", document({"image": {"type": "string"}}, ()), "video"),
        ("acme/unknown", "Also draws frames of a video", document({"num_outputs": {"type": "integer"}}, ()), "image"),
        ("acme/unknown", "Paints", {}, "image"),
    ],
)
def test_what_a_model_makes(model: str, description: str, published: dict[str, Any], media: str) -> None:
    assert media_of(model, description, InputSchema(published)) == media

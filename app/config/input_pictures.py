"""Input pictures of img2img and inpainting"""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.config.kinds import Seconds


class InputPictures(BaseModel):
    input_max_bytes: int = Field(16_777_216, ge=1024, description="Largest input picture, in bytes.")
    input_max_pixels: int = Field(
        40_000_000, ge=4096, description="Most pixels of an input picture; more are refused before they are decoded."
    )
    input_allow_private: bool = Field(
        False, description="Allow fetching pictures from private and loopback addresses. Clients can then reach them."
    )
    input_fetch_seconds: Seconds = Field(15, description="Time limit for fetching a picture from a URL.")

    @property
    def input_body_bytes(self) -> int:
        """Size limit of a body with an image and a mask in base64, and its other fields."""
        return 2 * (self.input_max_bytes * 4 // 3 + 1024)

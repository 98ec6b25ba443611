"""Generation: limits of a request"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.config.kinds import LIVE


class Generation(BaseModel):
    previews: bool = Field(True, description="Show previews of a picture while it is generated.")
    images_per_batch: int = Field(
        1,
        ge=1,
        le=64,
        description="Pictures of one job per pipeline call. More is faster if pictures are small or the GPU is not"
        " fully used; each may differ by rounding from the picture that its seed gives alone.",
    )
    merge_jobs: int = Field(
        1,
        ge=1,
        le=32,
        description="Most waiting jobs merged into one pipeline call, if they differ only in prompt and seed; 1 = each"
        " alone. As with IMAGES_PER_BATCH this is faster if pictures are small or the GPU is not fully used, and each"
        " may differ by rounding from the picture that its seed gives alone.",
        json_schema_extra=LIVE,
    )
    prompt_max_chars: int = Field(
        500, ge=1, le=100_000, description="Longest prompt accepted, in characters.", json_schema_extra=LIVE
    )
    max_images_per_job: int = Field(8, ge=1, le=8, description="Most pictures of one job.")
    max_pixels: int = Field(
        4_194_304,
        ge=4096,
        le=67_108_864,
        description="Most pixels of one picture (width x height). A model's own default size is always allowed.",
    )
    max_steps: int = Field(
        100, ge=1, le=1000, description="Most denoising steps. A model with a fixed number keeps it."
    )
    max_num_frames: int = Field(
        257, ge=1, le=10_000, description="Most frames of one video. A model's own default is always allowed."
    )
    max_fps: int = Field(60, ge=1, le=120, description="Most frames per second of a video.")
    embed_metadata: bool = Field(
        True,
        description="Write prompt, settings and manifest into each picture. Off: only the ids of picture and job.",
        json_schema_extra=LIVE,
    )
    mark_ai_generated: bool = Field(
        True,
        description="Mark each file as AI-generated (XMP DigitalSourceType), independently of EMBED_METADATA.",
        json_schema_extra=LIVE,
    )
    safety_checker: str = Field(
        "",
        description="Repo or folder of the safety checker for models whose line names none; empty = no checker.",
    )
    safety_policy: Literal["block", "blur", "mark"] = Field(
        "block",
        description="What happens to pictures that the safety checker flags: not published, blurred, or only marked.",
    )

"""Generation: limits of a request"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.config.kinds import LIVE


class Generation(BaseModel):
    previews: bool = Field(True, description="Show what a picture looks like while it is drawn.")
    images_per_batch: int = Field(
        1,
        ge=1,
        le=64,
        description="Pictures of one job drawn in one call. More is faster where pictures are small or the GPU is idle;"
        " each may then differ by a rounding from the one that its seed gives alone.",
    )
    merge_jobs: int = Field(
        1,
        ge=1,
        le=32,
        description="Most waiting jobs drawn in one call, where they differ in nothing but prompt and seed; 1 = each"
        " alone. As with IMAGES_PER_BATCH it is faster where pictures are small or the GPU is idle, and each may then"
        " differ by a rounding from the one that its seed gives alone.",
        json_schema_extra=LIVE,
    )
    prompt_max_chars: int = Field(
        500, ge=1, le=100_000, description="Longest prompt accepted, in characters.", json_schema_extra=LIVE
    )
    max_images_per_job: int = Field(8, ge=1, le=8, description="Most pictures that one job may ask for.")
    max_pixels: int = Field(
        4_194_304,
        ge=4096,
        le=67_108_864,
        description="Most pixels of one picture (width x height). A model's own default size is always allowed.",
    )
    max_steps: int = Field(
        100, ge=1, le=1000, description="Most denoising steps. A model with a fixed number keeps that."
    )
    max_num_frames: int = Field(
        257, ge=1, le=10_000, description="Most frames of one video. A model's own default is always allowed."
    )
    max_fps: int = Field(60, ge=1, le=120, description="Most frames per second that a video may be shown at.")
    embed_metadata: bool = Field(
        True,
        description="Write prompt, settings and manifest into each picture. Off: only what ties it to its job.",
        json_schema_extra=LIVE,
    )
    mark_ai_generated: bool = Field(
        True,
        description="Say in each file that a machine made it (XMP DigitalSourceType), whatever EMBED_METADATA is.",
        json_schema_extra=LIVE,
    )
    safety_checker: str = Field(
        "",
        description="Repo or folder of the safety checker of all models whose line names none; empty = none looks.",
    )
    safety_policy: Literal["block", "blur", "mark"] = Field(
        "block",
        description="What is done with pictures that the safety checker flags: held back, blurred, or told.",
    )

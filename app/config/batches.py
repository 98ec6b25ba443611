"""Batches"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from app.config.kinds import LIVE, ROOT, PathText


class Batches(BaseModel):
    max_batch_jobs: int = Field(10_000, ge=1, le=100_000, description="Most jobs of one batch.", json_schema_extra=LIVE)
    wildcards_dir: PathText = Field(
        "",
        description="Folder of wildcard files (colours.txt, one choice a line), which prompts of batches name as"
        " __colours__; empty = wildcards in MODEL_CACHE_DIR.",
    )

    @property
    def wildcards_folder(self) -> Path:
        """The folder of wildcard files; a relative WILDCARDS_DIR is relative to the project's folder."""
        cache: Path = getattr(self, "model_cache_dir", Path("models"))
        return ROOT / self.wildcards_dir if self.wildcards_dir else ROOT / cache / "wildcards"

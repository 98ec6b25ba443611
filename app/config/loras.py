"""LoRAs"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from app.config.kinds import ROOT, PathText


class Loras(BaseModel):
    loras_dir: PathText = Field(
        "", description="Folder of LoRA files (.safetensors); empty = loras in MODEL_CACHE_DIR."
    )
    lora_hub: bool = Field(
        True, description="Whether requests may name LoRAs by a repo of the hub, which workers then download."
    )
    lora_max_bytes: int = Field(2_147_483_648, ge=1024, description="Largest LoRA file that is downloaded, in bytes.")
    lora_cache_max: int = Field(8, ge=1, le=1000, description="LoRAs that a worker keeps in memory with each model.")
    lora_cache_bytes: int = Field(
        2_147_483_648, ge=0, description="Bytes of LoRAs that a worker keeps with each model; the oldest used go first."
    )

    @property
    def loras_folder(self) -> Path:
        """Where LoRA files are; a relative LORAS_DIR starts at the project's folder."""
        cache: Path = getattr(self, "model_cache_dir", Path("models"))
        return ROOT / self.loras_dir if self.loras_dir else ROOT / cache / "loras"

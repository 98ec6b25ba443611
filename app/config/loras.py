"""LoRAs"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from app.config.kinds import ROOT, PathText


class Loras(BaseModel):
    loras_dir: PathText = Field(
        "", description="Folder of LoRA files (.safetensors); empty = loras in MODEL_CACHE_DIR."
    )
    lora_hub: bool = Field(True, description="Allow requests to name LoRAs by a hub repo, which workers then download.")
    lora_max_bytes: int = Field(2_147_483_648, ge=1024, description="Largest LoRA file to download, in bytes.")
    lora_cache_max: int = Field(8, ge=1, le=1000, description="Most LoRAs that a worker keeps in memory per model.")
    lora_cache_bytes: int = Field(
        2_147_483_648, ge=0, description="Most bytes of LoRAs in memory per model; the least recently used are evicted."
    )

    embeddings_dir: PathText = Field(
        "",
        description="Folder of textual-inversion embeddings (.safetensors), named in prompts by their file names; empty"
        " = embeddings in MODEL_CACHE_DIR.",
    )

    @property
    def embeddings_folder(self) -> Path:
        """The folder of embeddings; a relative EMBEDDINGS_DIR is relative to the project's folder."""
        cache: Path = getattr(self, "model_cache_dir", Path("models"))
        return ROOT / self.embeddings_dir if self.embeddings_dir else ROOT / cache / "embeddings"

    @property
    def loras_folder(self) -> Path:
        """The folder of LoRA files; a relative LORAS_DIR is relative to the project's folder."""
        cache: Path = getattr(self, "model_cache_dir", Path("models"))
        return ROOT / self.loras_dir if self.loras_dir else ROOT / cache / "loras"

"""Models and the engine"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr

from app.config.kinds import LIVE, ROOT, Folder, PathText


class Models(BaseModel):
    default_model_id: str = Field("demo", description="The model used when a request names none.")
    model_cache_dir: Folder = Field(Path("models"), description="Folder that downloaded models are kept in.")
    hf_home: PathText = Field("", description="Hugging Face's own cache folder; empty = inside MODEL_CACHE_DIR.")
    hf_token: SecretStr = Field(SecretStr(""), description="Hugging Face token for gated models. Never logged.")
    hf_endpoint: str = Field(
        "https://huggingface.co", pattern="^https?://[^/]", description="The hub that models and users come from."
    )
    torch_home: PathText = Field("", description="torch's own cache folder; empty = torch's default.")
    cuda_visible_devices: str = Field("", description="GPUs that may be used, as CUDA reads it; empty = all.")
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="Precision of the weights; auto = what the family is known to be safe with, float32 on CPU."
    )
    attention_backend: Literal["auto", "native", "xformers"] = Field(
        "auto", description="Attention kernels; auto chooses by GPU generation, xformers forces xformers."
    )
    offload: Literal["auto", "none", "model", "group", "sequential"] = Field(
        "auto",
        description="Where weights wait on a GPU: none = on it; model = each part in main memory until its turn;"
        " group = block by block; sequential = layer by layer, least memory and slowest; auto = the first of these that"
        " fits by an estimate. Nothing changes on a CPU.",
    )
    park_models: Literal["auto", "off"] = Field(
        "auto",
        description="Models that have to leave a GPU wait in main memory while there is room (auto), or are dropped"
        " (off). A tenth of it, at least 2 GB, stays free. Nothing changes on a CPU.",
    )
    vae_tiling: bool = Field(
        False, description="Decode large pictures in tiles: less memory, faint seams possible. Else only when short."
    )
    max_loaded_models: int = Field(
        0, ge=0, le=100, description="Most models that a worker keeps in memory; 0 = as many as fit."
    )
    cpu_threads: int = Field(
        0, ge=0, le=1024, description="Threads that torch computes with on a CPU; 0 = one per core, or OMP_NUM_THREADS."
    )
    model_idle_seconds: float = Field(
        0,
        ge=0,
        description="Seconds after its last job when a worker drops a model from memory; 0 = never.",
        json_schema_extra=LIVE,
    )

    @property
    def hub_cache(self) -> Path:
        """Where huggingface_hub keeps its downloads."""
        return Path(self.hf_home or self.model_cache_dir / "huggingface") / "hub"

    def local_path(self, repo: str) -> Path:
        """The folder or file of a `local` model; relative ones start at the project's folder, or MODEL_CACHE_DIR."""
        relative = Path(repo).expanduser()
        own, cached = ROOT / relative, Path(self.model_cache_dir) / relative
        return cached if cached.exists() and not own.exists() else own

    def library_environment(self) -> dict[str, str]:
        """The variables that torch and Hugging Face read on their own, for a worker to set before it imports them."""
        wanted = {
            "HF_HOME": self.hf_home or str(self.model_cache_dir / "huggingface"),
            "HF_TOKEN": self.hf_token.get_secret_value(),
            "HF_ENDPOINT": self.hf_endpoint,
            "TORCH_HOME": self.torch_home,
            "CUDA_VISIBLE_DEVICES": self.cuda_visible_devices,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TRANSFORMERS_VERBOSITY": "error",  # else every start warns of a package that only datasets need
        }
        return {name: value for name, value in wanted.items() if value}

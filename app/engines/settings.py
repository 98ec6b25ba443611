"""Settings of the local engines. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.core.offload import Offload
from app.core.safety import SafetyPolicy


@dataclass(frozen=True)
class EngineSettings:
    """`root` and then `model_cache_dir` are where a relative `local` repo is looked for.

    `dtype` and `attention` hold for every model whose catalogue line states none. `device` is `auto` (the first GPU, or
    the CPU), `cpu`, or a torch device such as `cuda:0`. Where downloads are kept (HF_HOME) and the token (HF_TOKEN) are
    read from the environment by huggingface_hub itself. `previews`: publish previews while an image is generated.
    `safety_checker` (empty = none) and `safety_policy` hold for every model whose catalogue line states none.

    The others are the settings of the same names (app/config/models.py, loras.py and storage.py); 0 means no limit.
    """

    root: Path
    model_cache_dir: Path
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = "auto"
    attention: Literal["auto", "native", "xformers"] = "auto"
    device: str = "auto"
    previews: bool = True
    safety_checker: str = ""
    safety_policy: SafetyPolicy = "block"
    offload: Offload = "auto"
    park_models: bool = True
    vae_tiling: bool = False
    max_loaded_models: int = 0
    cpu_threads: int = 0
    images_per_batch: int = 1
    loras_dir: Path = Path("models/loras")
    lora_hub: bool = True
    lora_max_bytes: int = 2**31
    lora_cache_max: int = 8
    lora_cache_bytes: int = 2**31
    disk_floor_bytes: int = 0

    def places_of(self, name: str) -> tuple[Path, ...]:
        """The paths at which a local model or file named in the catalogue may be, in search order."""
        relative = Path(name).expanduser()
        return tuple(dict.fromkeys((self.root / relative, self.model_cache_dir / relative)))

"""Models and the engine"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr

from app.config.kinds import LIVE, ROOT, Folder, PathText
from app.process.places import CODE

_BUILTIN = ("builtin",)  # the first folder of the built-in models, in the checkout and in a wheel


class Models(BaseModel):
    default_model_id: str = Field("demo", description="The model for requests without a model_id.")
    preload: str = Field(
        "libraries",
        max_length=2000,
        description="What a worker does before it takes jobs: libraries = import what the models on this machine need;"
        " default = load the default model, too; ids of models, separated by commas = load these, too; none = nothing,"
        " less memory while idle, and the first job waits.",
    )
    model_cache_dir: Folder = Field(Path("models"), description="Folder of downloaded models.")
    hf_home: PathText = Field("", description="Hugging Face's cache folder; empty = in MODEL_CACHE_DIR.")
    hf_token: SecretStr = Field(SecretStr(""), description="Hugging Face token for gated models. Never logged.")
    hf_endpoint: str = Field(
        "https://huggingface.co", pattern="^https?://[^/]", description="URL of the Hugging Face hub."
    )
    torch_home: PathText = Field("", description="torch's cache folder; empty = torch's default.")
    device: str = Field(
        "auto",
        pattern="^(auto|cpu|cuda(:[0-9]+)?|mps|xpu)$",
        description="Device of the workers: auto = every GPU that torch can use, else the CPU for small models; cpu ="
        " the CPU for all models; cuda = GPUs or nothing, cuda:N = one of the visible ones; mps = Apple's; xpu ="
        " Intel's. See docs/GPU.md.",
    )
    cuda_visible_devices: str = Field(
        "",
        description="GPUs to use: numbers by PCI bus, UUIDs or MIG ids, one worker each; not set = all, -1 = none. Set"
        " to nothing in the environment of the process it hides all, as CUDA defines.",
    )
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="Precision of the weights; auto = known safe for the model family, float32 on CPU."
    )
    offload: Literal["auto", "none", "model", "group", "sequential"] = Field(
        "auto",
        description="Where weights are kept on a GPU: none = on the GPU; model = each part in main memory until used;"
        " group = block by block; sequential = layer by layer, least memory and slowest; auto = the first of these that"
        " is estimated to fit. No effect on a CPU.",
    )
    quantization: Literal["auto", "none"] = Field(
        "auto",
        description="Whether local models whose line says nothing are stored in fewer bits (float8, 4 bit) when they do"
        " not fit in 16 bit with OFFLOAD none or model (auto), or never (none).",
    )
    park_models: Literal["auto", "off"] = Field(
        "auto",
        description="Whether models evicted from a GPU stay in main memory while it has space (auto), or are dropped"
        " (off). A tenth of it, at least 2 GB, stays free. No effect on a CPU.",
    )
    vae_tiling: bool = Field(
        False,
        description="Always decode large pictures in tiles: less memory, maybe faint seams. Off: only when needed.",
    )
    max_loaded_models: int = Field(
        0, ge=0, le=100, description="Most models that a worker keeps in memory; 0 = as many as fit."
    )
    cpu_threads: int = Field(
        0, ge=0, le=1024, description="Threads of torch on a CPU; 0 = one per core, or OMP_NUM_THREADS."
    )
    prompt_cache_bytes: int = Field(
        268_435_456,
        ge=0,
        description="Most bytes of encoded prompts that a worker keeps in main memory per loaded model, so that a"
        " prompt used again is not encoded again; 0 = none.",
    )
    model_idle_seconds: float = Field(
        0,
        ge=0,
        description="Seconds without a job after which a worker unloads a model; 0 = never.",
        json_schema_extra=LIVE,
    )

    @property
    def hub_cache(self) -> Path:
        """The folder of huggingface_hub's downloads."""
        return Path(self.hf_home or self.model_cache_dir / "huggingface") / "hub"

    def local_path(self, repo: str) -> Path:
        """The folder or file of a `local` model, relative to the project's folder, or else MODEL_CACHE_DIR or, of a
        built-in model, the installed package's."""
        relative = Path(repo).expanduser()
        own = ROOT / relative
        others = [Path(self.model_cache_dir) / relative, *([CODE / relative] if relative.parts[:1] == _BUILTIN else [])]
        return next((path for path in (own, *others) if path.exists()), own)

    def library_environment(self) -> dict[str, str]:
        """The variables that torch and Hugging Face read; a worker sets them before importing these."""
        wanted = {
            "HF_HOME": self.hf_home or str(self.model_cache_dir / "huggingface"),
            "HF_TOKEN": self.hf_token.get_secret_value(),
            "HF_ENDPOINT": self.hf_endpoint,
            "TORCH_HOME": self.torch_home,
            "CUDA_VISIBLE_DEVICES": self.cuda_visible_devices,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TRANSFORMERS_VERBOSITY": "error",  # otherwise every start warns about a package for datasets
        }
        return {name: value for name, value in wanted.items() if value}

"""Acceleration of local models"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.config.kinds import PathText

# Those of core/acceleration.py, which the engine imports without the settings (a test compares them).
Attention = Literal[
    "auto",
    "native",
    "xformers",
    "flex",
    "flash",
    "flash_varlen",
    "_flash_3",
    "_flash_varlen_3",
    "sage",
    "sage_varlen",
    "_native_cudnn",
    "_native_efficient",
    "_native_flash",
    "_native_math",
    "_native_npu",
    "_native_xla",
    "_sage_qk_int8_pv_fp8_cuda",
    "_sage_qk_int8_pv_fp8_cuda_sm90",
    "_sage_qk_int8_pv_fp16_cuda",
    "_sage_qk_int8_pv_fp16_triton",
    "flash_hub",
    "flash_varlen_hub",
    "flash_4_hub",
    "_flash_3_hub",
    "_flash_3_varlen_hub",
    "aiter_fa2_hub",
    "sage_hub",
    "sage_blackwell_hub",
]
Compile = Literal["none", "regional", "full"]


class Acceleration(BaseModel):
    attention_backend: Attention = Field(
        "auto",
        description="Attention kernels; auto chooses by GPU generation among those that work here. xformers is tried at"
        " start, and a worker on whose device it does not work refuses to start. For the other names see docs/SPEED.md;"
        " where they do not work, native is used.",
    )
    allow_hub_kernels: bool = Field(
        False,
        description="Whether attention kernels whose names end with _hub may be chosen: their code is downloaded from"
        " the hub, and run.",
    )
    compile: Compile = Field(
        "none",
        description="Compile the denoisers of local models whose line says nothing: regional = their repeated blocks,"
        " full = all of them. The first load takes minutes; pictures may differ by rounding.",
    )
    compile_cache_dir: PathText = Field(
        "", description="Folder of compiled code, kept over restarts; empty = in MODEL_CACHE_DIR."
    )
    step_cache: str = Field(
        "",
        max_length=100,
        description="Step cache of local models whose line says nothing: first-block, taylorseer, mag, pyramid, faster"
        " or sea, or with a strength, such as first-block:0.08; empty = none. Pictures change: docs/SPEED.md.",
    )
    fuse_qkv: bool = Field(
        False,
        description="Compute query, key and value of attention in one multiplication, in local models that can.",
    )
    vae_channels_last: bool = Field(False, description="Keep the weights of VAEs of pictures channels-last in memory.")
    tuned_profiles_dir: PathText = Field(
        "",
        description="Folder of the profiles that `cyberimage models tune` writes; empty = in MODEL_CACHE_DIR.",
    )

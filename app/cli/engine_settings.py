"""The settings of the installation as those of its local engines."""

from __future__ import annotations

from app.cli.devices import WorkerDevice
from app.config import ROOT, Settings
from app.core.acceleration import parse_step_cache
from app.core.catalog import Catalog
from app.engines.base import EngineSettings


def engine_settings(settings: Settings, device: WorkerDevice, catalog: Catalog) -> EngineSettings:
    """For engines on `device`, with the auxiliary models and upscalers of `catalog`."""
    return EngineSettings(
        root=ROOT,
        model_cache_dir=settings.model_cache_dir,
        dtype=settings.dtype,
        attention=device.attention,
        compile=settings.compile,
        step_cache=parse_step_cache(settings.step_cache),
        fuse_qkv=settings.fuse_qkv,
        vae_channels_last=settings.vae_channels_last,
        device=device.plan.device,
        large_models=device.plan.large_models,
        no_gpu_reason=device.plan.reason,
        previews=settings.previews,
        safety_checker=settings.safety_checker,
        safety_policy=settings.safety_policy,
        offload=settings.offload,
        quantization=settings.quantization,
        park_models=settings.park_models == "auto",
        vae_tiling=settings.vae_tiling,
        max_loaded_models=settings.max_loaded_models,
        cpu_threads=settings.cpu_threads,
        images_per_batch=settings.images_per_batch,
        loras_dir=settings.loras_folder,
        lora_hub=settings.lora_hub,
        lora_max_bytes=settings.lora_max_bytes,
        lora_cache_max=settings.lora_cache_max,
        lora_cache_bytes=settings.lora_cache_bytes,
        prompt_cache_bytes=settings.prompt_cache_bytes,
        disk_floor_bytes=settings.disk_floor_bytes,
        embeddings_dir=settings.embeddings_folder,
        auxiliaries=catalog.auxiliaries,
        upscaler_of=catalog.upscaler,
    )

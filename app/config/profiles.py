"""Defaults by ENVIRONMENT and PRESET. Settings that are set explicitly take precedence.

Other settings keep the defaults of their fields; if both set the same one, the preset decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ENVIRONMENTS: Mapping[str, Mapping[str, Any]] = {
    "development": {},
    "production": {"log_format": "json", "log_prompts": False},
}

_HIGH: Mapping[str, Any] = {
    "server_threads": 96,
    "max_pixels": 16_777_216,
    "queue_max_pending": 100_000,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # A machine with 16 GB of RAM or a GPU of 8 to 12 GB.
    "low": {
        "server_threads": 24,
        "vae_tiling": True,
        "max_loaded_models": 1,
        "model_idle_seconds": 900,
        "previews": False,
        "max_images_per_job": 4,
        "max_pixels": 1_048_576,
        "queue_max_pending": 1000,
    },
    "balanced": {},
    # A server with several GPUs of 24 GB or more, and a fast disk.
    "high": _HIGH,
    # The same, for models that stay loaded: compiled, which takes minutes at the first load.
    "fast": {**_HIGH, "compile": "regional", "vae_channels_last": True},
}


def profile_defaults(environment: str, preset: str) -> dict[str, Any]:
    """The defaults of both. An unknown name has none: its own field refuses it."""
    return {**ENVIRONMENTS.get(environment, {}), **PRESETS.get(preset, {})}


def profiled_settings() -> Iterator[str]:
    """The names of all settings that an environment or preset changes, each once."""
    profiles = (*ENVIRONMENTS.values(), *PRESETS.values())
    yield from dict.fromkeys(name for profile in profiles for name in profile)

"""Options of acceleration: processor seconds a picture against the plain model, and how much the picture changes.

The plain model and the same one under an option draw in turn on one thread. On a CPU, these are checks that an option
does what it says; what it brings on a GPU only a GPU can tell. `BENCH_COMPILE=1` compiles too, which takes minutes.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import torch

from app.config import ROOT
from app.core.catalog_lines import build_catalog
from app.core.tuned_profiles import TunedOptions
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.tuning.tuner import Deadline, Subject, Tuner

MODELS = ("demo", "demo-sd3")
PROMPTS = ("a red circle on a blue background", "a sailboat on the ocean at sunset")
SECONDS = 3600.0  # never reached: it only bounds a run that hangs


def options() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"vae_channels_last": True},
        {"fuse_qkv": True},
        {"attention": "_native_math"},
        {"layerwise_casting": True},
        {"cache": {"kind": "first-block", "threshold": 0.05}},
        {"cache": {"kind": "first-block", "threshold": 0.15}},
        {"cache": {"kind": "taylorseer", "interval": 3}},
        {"cache": {"kind": "mag", "threshold": 0.06}},
        {"cache": {"kind": "pyramid", "interval": 2}},
    ]
    if importlib.util.find_spec("torchao"):
        found += [{"quantization": "torchao-int8-dynamic"}, {"quantization": "torchao-int8"}]
    if os.environ.get("BENCH_COMPILE"):
        found += [{"compile": "regional"}, {"compile": "full"}]
    return found


def main() -> None:
    torch.set_num_threads(1)
    catalog = build_catalog({}, "demo")
    print("| model | option | ÷ plain | to load, s | least SSIM | least PSNR, dB |\n|---|---|---|---|---|---|")
    for name in MODELS:
        engine = DiffusersEngine(EngineSettings(root=ROOT, model_cache_dir=ROOT, previews=False))
        tuner = Tuner(engine, catalog.get(name), Subject(PROMPTS, (1, 2)), "fastest", Deadline(SECONDS))
        tuner.measure_plain()
        for each in options():
            made = tuner.measure(TunedOptions.model_validate(each))
            if made is None or made.problem or made.change is None:
                print(f"| {name} | {TunedOptions.model_validate(each)} | {made and made.problem} | | | |", flush=True)
                continue
            seen = made.change
            print(
                f"| {name} | {made.label} | {made.ratio:.2f} | {made.load_seconds:.1f} | {seen.least_ssim:.4f} |"
                f" {'equal' if seen.least_psnr is None else f'{seen.least_psnr:.1f}'} |",
                flush=True,
            )

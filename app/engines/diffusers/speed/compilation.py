"""torch.compile of a model's denoisers: whole, or their repeated blocks, which takes a fraction of the time.

What changes the modules for one job is invisible to code that was compiled before: torch does not look for new forward
hooks by default (`skip_nnmodule_hook_guards`), so that a LoRA would be ignored without a word. Looking for them would
compile anew for each set of layers that LoRAs change. So such jobs run without the compiled code (`uncompiled`).
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from app.core.acceleration import Compile

BACKEND = "inductor"
# Several models, sizes and batches share one function's code. Beyond the limit torch would run it uncompiled.
_MOST_VARIANTS, _MOST_VARIANTS_IN_ALL = 64, 1024
COMPILER_ERRORS = (torch._dynamo.exc.TorchDynamoException,)


def compiler_problem(device: torch.device) -> str:
    """What is missing to compile for `device`, and what to do; empty if nothing is."""
    if BACKEND != "inductor":
        return ""
    compiler = next((name for name in ("g++", "clang++", "c++", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        return "there is no C++ compiler: install one (on Debian and Ubuntu: apt-get install g++)"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton, which torch's builds for CUDA bring, is not installed"
    return ""


def compile_denoisers(denoisers: list[Any], how: Compile) -> None:
    """Have `denoisers` compiled when they first run. Sizes are fixed for the first one and general from the second on,
    so that a third compiles nothing."""
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _MOST_VARIANTS)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, _MOST_VARIANTS_IN_ALL)
    for denoiser in denoisers:
        if how == "full":
            # Its forward, not the module: hooks of the module itself then stay outside, where they are seen.
            denoiser.forward = torch.compile(denoiser.forward, backend=BACKEND)
        else:
            for block in repeated_blocks(denoiser):
                block.compile(backend=BACKEND)


def repeated_blocks(denoiser: nn.Module) -> list[nn.Module]:
    """The blocks that diffusers names for its class, or else those of its lists."""
    named = getattr(denoiser, "_repeated_blocks", None)
    if named:
        return [module for module in denoiser.modules() if type(module).__name__ in named]
    lists = (child for child in denoiser.children() if isinstance(child, nn.ModuleList))
    return [block for blocks in lists for block in blocks]


@contextmanager
def uncompiled(wanted: bool) -> Iterator[None]:
    """Run the original code within the block, if `wanted`, and compile nothing."""
    if not wanted:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def failing_softly() -> Iterator[None]:
    """Run what cannot be compiled as it is within the block, instead of raising."""
    with torch._dynamo.config.patch(suppress_errors=True):
        yield

"""Loads upscalers of any architecture that spandrel knows, on machines with and without torchvision.

Of its 44 architectures two that are no upscalers import functions of torchvision, which is not required here
(docs/decisions): while spandrel is imported, empty modules take its place where it is missing or does not work.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError

from app.core.catalog import ModelSpec
from app.core.faults import is_beyond_the_job
from app.engines.diffusers.load.errors import LOAD_ERRORS, first_line
from app.engines.diffusers.load.weights import tensor_shapes, with_lowercase_suffix
from app.errors import ModelUnavailable

_COLORS = 3


def load_model(path: Path, spec: ModelSpec) -> Any:
    """spandrel's descriptor of the upscaler in `path`, in float32 on the CPU. Raises ModelUnavailable; out of memory
    passes through."""
    tensor_shapes(path)  # says what is wrong with a damaged file
    library = spandrel()
    try:
        with with_lowercase_suffix(path) as file:
            model = library.ModelLoader().load_from_file(file)
    except (*LOAD_ERRORS, SafetensorError, library.UnsupportedModelError) as error:
        if is_beyond_the_job(error):
            raise
        reason = "its architecture is not known" if isinstance(error, library.UnsupportedModelError) else ""
        raise ModelUnavailable(
            f"The upscaler {spec.id} ({path.name}) cannot be loaded: {reason or first_line(error)}."
            " Use a file of ESRGAN, Real-ESRGAN, SPAN, SwinIR, HAT, DAT or another architecture of spandrel."
        ) from error
    if not isinstance(model, library.ImageModelDescriptor) or model.scale < 2 or model.input_channels != _COLORS:
        raise ModelUnavailable(
            f"{spec.id} ({path.name}) is a {model.architecture.name} that enlarges no colour pictures."
            " Use a model for super-resolution."
        )
    return model.to(dtype=torch.float32).eval()


@cache
def spandrel() -> Any:
    """The library, imported once. Raises ModelUnavailable where it is not installed."""
    try:
        with _stand_ins():
            return import_module("spandrel")
    except ImportError as error:
        raise ModelUnavailable(
            f"Upscalers with weights need the package spandrel ({first_line(error)}). Run `make run` again, or: pip"
            " install --no-deps -r requirements-no-deps.txt. The upscaler lanczos works without it."
        ) from None


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Have imports find the names that spandrel takes from torchvision."""
    if _works("torchvision.transforms.functional"):
        yield
        return
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    before = {name: sys.modules.get(name) for name in names}
    modules = {name: ModuleType(name) for name in names}
    for missing in ("InterpolationMode", "normalize", "rotate"):
        setattr(modules[names[-1]], missing, None)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name)
            if (module := before[name]) is not None:
                sys.modules[name] = module


def _works(name: str) -> bool:
    try:
        import_module(name)
    except (ImportError, RuntimeError):  # built for another torch
        return False
    return True

"""Versions of the application and of its main packages, read without importing them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from app.version import __version__

_PACKAGES = ("flask", "sqlalchemy", "torch", "diffusers", "transformers")


@cache
def versions() -> Mapping[str, str]:
    found = {"cyberimage": __version__, "python": platform.python_version()}
    return found | {name: installed for name in _PACKAGES if (installed := _installed(name))}


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # an API alone needs no torch
        return None

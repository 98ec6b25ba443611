"""Reads the name of a scheduler as people write it: ours, AUTOMATIC1111's, ComfyUI's or the class's of diffusers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from app.core.schedulers.table import SCHEDULERS

Sigmas = Literal["karras", "exponential", "beta"]
TimestepSpacing = Literal["leading", "linspace", "trailing"]
# What follows the sampler's name in AUTOMATIC1111's older names, and is a choice of its own in newer ones.
_SUFFIXES: Mapping[str, tuple[Sigmas | None, TimestepSpacing | None]] = {
    "karras": ("karras", None),
    "exponential": ("exponential", None),
    "beta": ("beta", None),
    "sgmuniform": (None, "trailing"),
    "trailing": (None, "trailing"),
    "automatic": (None, None),
    "uniform": (None, None),
    "normal": (None, None),
    "simple": (None, None),
    "k": ("karras", None),  # InvokeAI's dpmpp_2m_k
}


@dataclass(frozen=True)
class NamedScheduler:
    """`name` of the table; `sigmas` and `timestep_spacing` if the written name says them."""

    name: str
    sigmas: Sigmas | None = None
    timestep_spacing: TimestepSpacing | None = None


def read_name(written: str) -> NamedScheduler | None:
    """The scheduler called `written`, in any case and punctuation; None if there is none."""
    names, plain = _names(), _plain(written)
    if plain in names:
        return NamedScheduler(names[plain])
    for suffix, (sigmas, spacing) in _SUFFIXES.items():
        if plain.endswith(suffix) and plain.removesuffix(suffix) in names:
            return NamedScheduler(names[plain.removesuffix(suffix)], sigmas, spacing)
    return None


def closest(written: str) -> str | None:
    """The name most like an unknown one."""
    found = difflib.get_close_matches(_plain(written), _names(), n=1)
    return _names()[found[0]] if found else None


def is_sigmas(written: str) -> bool:
    """Whether AUTOMATIC1111 calls this a scheduler: there it is a spacing of the noise levels."""
    return _plain(written) in _SUFFIXES


@cache
def _names() -> Mapping[str, str]:
    return {_plain(name): each.name for each in SCHEDULERS for name in (each.name, each.label, *each.aliases)}


def _plain(written: str) -> str:
    return "".join(letter for letter in written.casefold().replace("+", "p") if letter.isalnum())

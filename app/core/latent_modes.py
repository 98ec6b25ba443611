"""How latents are enlarged between two passes, by AUTOMATIC1111's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LatentMode:
    """Arguments of torch's `interpolate`."""

    mode: str
    antialias: bool = False


LATENT_MODES: Mapping[str, LatentMode] = {
    "Latent": LatentMode("bilinear"),
    "Latent (antialiased)": LatentMode("bilinear", antialias=True),
    "Latent (bicubic)": LatentMode("bicubic"),
    "Latent (bicubic antialiased)": LatentMode("bicubic", antialias=True),
    "Latent (nearest)": LatentMode("nearest"),
    "Latent (nearest-exact)": LatentMode("nearest-exact"),
}
_MARKS = re.compile(r"[^a-z]+")


def latent_mode(name: str) -> str | None:
    """The mode that `name` means, in any case and punctuation, such as `latent-nearest-exact`; None if it is none."""
    wanted = _plain(name)
    return next((mode for mode in LATENT_MODES if _plain(mode) == wanted), None)


def _plain(name: str) -> str:
    return _MARKS.sub(" ", name.casefold()).strip()

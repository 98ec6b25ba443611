"""How much pictures changed: PSNR, and the structural similarity of Wang, Bovik, Sheikh and Simoncelli (2004)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from app.core.tuned_profiles import Change
from app.engines.base import Pixels

_SIGMA, _RADIUS = 1.5, 5  # the window of the paper: 11 × 11 pixels
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(one: Pixels, other: Pixels) -> float | None:
    """In decibels; None for equal pictures."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return None if error == 0 else 10 * float(np.log10(255**2 / error))


def ssim(one: Pixels, other: Pixels) -> float:
    """Of the luminance, -1 to 1; 1 for equal pictures."""
    a, b = _luminance(one), _luminance(other)
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a, var_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    return float(np.mean(likeness / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))))


def change(made: Sequence[Pixels], plain: Sequence[Pixels]) -> Change:
    """Of pictures by the same prompts and seeds."""
    ratios = [psnr(one, other) for one, other in zip(made, plain, strict=True)]
    finite = [ratio for ratio in ratios if ratio is not None]
    likenesses = [ssim(one, other) for one, other in zip(made, plain, strict=True)]
    return Change(
        least_psnr=round(min(finite), 2) if finite else None,
        mean_psnr=round(sum(finite) / len(finite), 2) if finite else None,
        least_ssim=round(min(likenesses), 4),
        mean_ssim=round(sum(likenesses) / len(likenesses), 4),
    )


def _luminance(picture: Pixels) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = picture[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return found


def _blurred(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = gaussian_filter(values, _SIGMA, radius=_RADIUS)
    return found

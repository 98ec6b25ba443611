"""Calculates the size at which an input picture is used."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from app.core.catalog import Limits, ModelSpec

LARGEST_UNSTATED = 1024  # side of the square that limits a picture's area if the model has no default size


def working_size(own: tuple[int, int], asked: tuple[int | None, int | None], spec: ModelSpec) -> tuple[int, int]:
    """Width and height (pixels) at which `spec` uses a picture of size `own`.

    A requested size is used as it is; a missing side follows the picture's aspect ratio. With neither, the picture
    keeps its size unless it has more pixels than the model's default; then it is scaled down to that many. Sides are
    limited to the model's range and rounded to the nearest allowed multiple.
    """
    limits, (width, height) = spec.limits, own
    if asked[0] is not None:
        scale = asked[0] / width
    elif asked[1] is not None:
        scale = asked[1] / height
    else:
        area = (spec.defaults.width or LARGEST_UNSTATED) * (spec.defaults.height or LARGEST_UNSTATED)
        scale = min(1.0, sqrt(min(area, limits.max_pixels or area) / (width * height)))
    used = [
        asked[0] or _nearest(width * scale, limits.min_width, limits.max_width, limits.multiple_of),
        asked[1] or _nearest(height * scale, limits.min_height, limits.max_height, limits.multiple_of),
    ]
    return _within_pixels(used, [side for side in (0, 1) if asked[side] is None], limits)


def nearest_size(wanted: tuple[int, int], spec: ModelSpec) -> tuple[int, int]:
    """The size (pixels) nearest to `wanted` that `spec` can draw; the aspect ratio is kept as far as its limits
    allow."""
    limits, (width, height) = spec.limits, wanted
    least = max(limits.min_width / width, limits.min_height / height)
    most = min(limits.max_width / width, limits.max_height / height)
    if limits.max_pixels is not None:
        most = min(most, sqrt(limits.max_pixels / (width * height)))
    scale = min(max(1.0, least), most)
    used = [
        _nearest(width * scale, limits.min_width, limits.max_width, limits.multiple_of),
        _nearest(height * scale, limits.min_height, limits.max_height, limits.multiple_of),
    ]
    return _within_pixels(used, (0, 1), limits)


def _within_pixels(used: list[int], free: Sequence[int], limits: Limits) -> tuple[int, int]:
    """`used` with its `free` sides, by index, made smaller until there are no more pixels than allowed."""
    least = (limits.min_width, limits.min_height)
    while limits.max_pixels is not None and used[0] * used[1] > limits.max_pixels:
        shrinkable = [side for side in free if used[side] - limits.multiple_of >= least[side]]
        if not shrinkable:
            break
        used[max(shrinkable, key=lambda side: used[side])] -= limits.multiple_of
    return used[0], used[1]


def _nearest(side: float, low: int, high: int, multiple: int) -> int:
    """The multiple nearest to `side` within `low` and `high`."""
    smallest, largest = -(-low // multiple), high // multiple
    return max(smallest, min(largest, round(side / multiple))) * multiple

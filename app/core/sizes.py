"""Calculates the size at which an input picture is used."""

from __future__ import annotations

from math import sqrt

from app.core.catalog import ModelSpec

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
    least, free = (limits.min_width, limits.min_height), [side for side in (0, 1) if asked[side] is None]
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

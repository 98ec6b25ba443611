"""Rules of repainting a part of a picture: the settings of the mask, the area that is drawn, and extensions.

Boxes are (left, top, right, bottom) in pixels of the picture, right and bottom exclusive.
"""

from __future__ import annotations

from collections.abc import Collection
from math import sqrt
from typing import Any, Literal, Protocol

from app.core.catalog import ModelSpec
from app.core.inputs import Extend
from app.core.sizes import LARGEST_UNSTATED, working_size
from app.errors import FieldError

Area = Literal["whole", "masked"]
Fill = Literal["original", "blur", "noise"]
Box = tuple[int, int, int, int]
Size = tuple[int, int]

FIELDS = ("mask_blur", "mask_invert", "inpaint_area", "inpaint_padding", "inpaint_fill")
DEFAULT_PADDING = 32  # pixels around the mask, as in AUTOMATIC1111
EXTENDED_STRENGTH = 0.95  # with 1 nothing of the extended edges is left to go on from
OVERLAP = 16  # pixels of the picture beside an extension that are blended, so that no edge is seen


class RepaintSettings(Protocol):
    """The fields of a request's settings."""

    @property
    def mask_blur(self) -> int | None: ...
    @property
    def mask_invert(self) -> bool | None: ...
    @property
    def inpaint_area(self) -> Area | None: ...
    @property
    def inpaint_padding(self) -> int | None: ...
    @property
    def inpaint_fill(self) -> Fill | None: ...


def choose_repaint(
    wanted: RepaintSettings,
    *,
    masked: bool,
    local: bool,
    strength: float | None,
    warnings: list[str],
    problems: list[FieldError],
) -> dict[str, Any]:
    """The settings of a job by name; none without a mask. Adds what cannot be used to `problems`, and what has no
    effect to `warnings`."""
    given = {name: getattr(wanted, name) for name in FIELDS if getattr(wanted, name) is not None}
    if given and not masked:
        warnings.append(f"{', '.join(given)} not used: there is no mask.")
        return {}
    if given and not local:
        problems.append(FieldError(f"settings.{next(iter(given))}", "is for models that run here, not at a provider"))
    area = given.get("inpaint_area")
    if area == "masked":
        given.setdefault("inpaint_padding", DEFAULT_PADDING)
    elif given.pop("inpaint_padding", None) is not None:
        warnings.append("inpaint_padding was not used: it is for inpaint_area masked.")
    if given.get("inpaint_fill") not in (None, "original") and strength == 1:
        warnings.append("inpaint_fill has no effect with strength 1, which keeps nothing; send less, such as 0.9.")
    return given


def padded(bounds: Box, picture: Size, padding: int) -> Box:
    """`bounds` with `padding` pixels around, within the picture."""
    left, top, right, bottom = bounds
    return (
        max(left - padding, 0),
        max(top - padding, 0),
        min(right + padding, picture[0]),
        min(bottom + padding, picture[1]),
    )


def drawn_size(bounds: Box, picture: Size, padding: int, asked: tuple[int | None, int | None], spec: ModelSpec) -> Size:
    """Width and height at which the part of a picture is drawn: as asked, else in its shape with as many pixels as the
    model's default size; of a model without one it keeps its own size, unless that is larger than most draw."""
    left, top, right, bottom = padded(bounds, picture, padding)
    width, height = right - left, bottom - top
    stated = spec.defaults.width is not None and spec.defaults.height is not None
    usual = (spec.defaults.width or LARGEST_UNSTATED) * (spec.defaults.height or LARGEST_UNSTATED)
    scale = sqrt(usual / (width * height))
    scale = scale if stated else min(scale, 1.0)
    return working_size((max(1, round(width * scale)), max(1, round(height * scale))), asked, spec)


def drawn_box(bounds: Box, picture: Size, padding: int, drawn: Size) -> Box:
    """The part of the picture that is drawn at the size `drawn`: around `bounds`, in the shape of `drawn` where the
    picture is large enough for that."""
    left, top, right, bottom = padded(bounds, picture, padding)
    width = min(picture[0], max(right - left, round((bottom - top) * drawn[0] / drawn[1])))
    height = min(picture[1], max(bottom - top, round((right - left) * drawn[1] / drawn[0])))
    x = min(max(0, (left + right - width) // 2), picture[0] - width)
    y = min(max(0, (top + bottom - height) // 2), picture[1] - height)
    return x, y, x + width, y + height


def whole_extension(own: Size, extend: Extend, spec: ModelSpec) -> Extend:
    """`extend` with what is missing to the model's next size added, on a side that is extended if there is one. Raises
    ValueError with a sentence if the result has a size that the model does not draw."""
    limits = spec.limits
    sides = {
        "left": extend.left,
        "top": extend.top,
        "right": extend.right + _missing(own[0] + extend.left + extend.right, limits.multiple_of),
        "bottom": extend.bottom + _missing(own[1] + extend.top + extend.bottom, limits.multiple_of),
    }
    for far, near in (("right", "left"), ("bottom", "top")):
        if not getattr(extend, far) and getattr(extend, near):
            sides[near], sides[far] = sides[near] + sides[far], 0
    width, height = own[0] + sides["left"] + sides["right"], own[1] + sides["top"] + sides["bottom"]
    most = limits.max_pixels or width * height
    fits = limits.min_width <= width <= limits.max_width and limits.min_height <= height <= limits.max_height
    if not fits or width * height > most:
        raise ValueError(
            f"would be {width} × {height} with its extension; {spec.id} draws"
            f" {limits.min_width} to {limits.max_width} × {limits.min_height} to {limits.max_height} pixels"
            f"{f', at most {most:,} in all' if limits.max_pixels else ''}. Extend it by less, or send a smaller picture"
        )
    return Extend(**sides)


def repaints(roles: Collection[str], extended: bool) -> bool:
    """Whether a request with inputs of these roles repaints a part of a picture."""
    return "image" in roles and ("mask" in roles or extended)


def _missing(side: int, multiple: int) -> int:
    return -side % multiple

"""Prepares the mask of a request and the part that is drawn, and puts what was drawn back into the picture.

The pixels outside of the mask are the picture's own, bit by bit: a VAE changes what it decodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from app.core.repaint import Box, drawn_box
from app.core.request import GenerationRequest
from app.engines.base import Inputs, Pixels
from app.errors import GenerationError
from app.files.repaint import blurred, filled, painted_bounds

Part = tuple[slice, slice]  # of rows and columns
_SURROUNDINGS = 128  # pixels from which a fill takes its colours


@dataclass(frozen=True)
class Repaint:
    """`inputs` are those of the pipeline. `picture` is whole, None without a mask; `box` is the part that is drawn,
    None for all of it, and `mask` that part's."""

    inputs: Inputs
    picture: Pixels | None = None
    mask: Pixels | None = None
    box: Box | None = None

    def restored(self, drawn: Pixels) -> Pixels:
        """`drawn` where the mask is white, the picture where it is black; grey blends."""
        if self.picture is None or self.mask is None:
            return drawn
        if self.box is None:
            return _blended(drawn, self.picture, self.mask) if drawn.shape == self.picture.shape else drawn
        left, top, right, bottom = self.box
        result, part = self.picture.copy(), (slice(top, bottom), slice(left, right))
        scaled = _scaled(drawn, (right - left, bottom - top))
        result[part] = _blended(scaled, self.picture[part], self.mask)
        return result


def repaint_of(inputs: Inputs, request: GenerationRequest) -> Repaint:
    """What a pipeline draws for `request`. Raises GenerationError for a mask that paints nothing of a masked area."""
    if "mask" not in inputs or "image" not in inputs:
        return Repaint(inputs)
    picture, mask = inputs["image"], inputs["mask"]
    if request.mask_invert:
        mask = 255 - mask
    if request.inpaint_area != "masked":
        start, soft = _prepared(picture, mask, request)
        return Repaint({**inputs, "image": start, "mask": soft}, picture, soft)
    box = _box(mask, request)
    around, inner = _around(box, mask.shape, 3 * (request.mask_blur or 0) + _SURROUNDINGS)
    start, soft = (pixels[inner] for pixels in _prepared(picture[around], mask[around], request))
    drawn = _drawn_size(request)
    cut = {"image": _scaled(start, drawn), "mask": _scaled(soft, drawn)}
    return Repaint({**inputs, **cut}, picture, soft, box)


def _prepared(picture: Pixels, mask: Pixels, request: GenerationRequest) -> tuple[Pixels, Pixels]:
    """What repainting starts from, and the softened mask."""
    soft = blurred(mask, request.mask_blur or 0)
    return filled(picture, soft, request.inpaint_fill or "original"), soft


def _around(box: Box, shape: tuple[int, ...], margin: int) -> tuple[Part, Part]:
    """The part `margin` pixels around the box, and where the box is in it: the rest of a picture has no effect."""
    left, top, right, bottom = box
    first, above = max(0, left - margin), max(0, top - margin)
    around = (slice(above, min(shape[0], bottom + margin)), slice(first, min(shape[1], right + margin)))
    return around, (slice(top - above, bottom - above), slice(left - first, right - first))


def _box(mask: Pixels, request: GenerationRequest) -> Box:
    bounds = painted_bounds(mask)
    if bounds is None:
        raise GenerationError("The mask has nothing to repaint: no part of it is white.")
    return drawn_box(bounds, (mask.shape[1], mask.shape[0]), request.inpaint_padding or 0, _drawn_size(request))


def _drawn_size(request: GenerationRequest) -> tuple[int, int]:
    if request.width is None or request.height is None:
        raise GenerationError("The size at which the masked area is drawn is not known. Send width and height.")
    return request.width, request.height


def _scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _blended(drawn: Pixels, picture: Pixels, mask: Pixels) -> Pixels:
    weight = mask[..., None].astype(np.float32) / 255
    blended = drawn * weight + picture * (1 - weight)
    return blended.round().astype(np.uint8)

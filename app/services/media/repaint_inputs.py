"""Input pictures of which a part is repainted: extended ones get their mask, of others the drawn part's size is
calculated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.catalog import ModelSpec
from app.core.inputs import Extend
from app.core.repaint import Size, drawn_size, whole_extension
from app.core.request import GenerationRequest
from app.errors import FieldError, InvalidImage

if TYPE_CHECKING:  # Pillow and numpy use much memory: import them only for input pictures
    from app.files.inputs import Decoded


def extended(image: Decoded, extend: Extend, spec: ModelSpec, seed: int) -> tuple[Decoded, Decoded, tuple[str, ...]]:
    """The picture with its edges continued, the mask of what is new, and warnings. Raises InvalidImage for a size that
    `spec` does not draw."""
    import numpy as np
    from PIL import Image

    from app.files.inputs import Decoded
    from app.files.repaint import extended as extended_pixels

    try:
        whole = whole_extension(image.size, extend, spec)
    except ValueError as problem:
        raise InvalidImage(f"The image {problem}.", errors=[FieldError("inputs", str(problem))]) from None
    picture, mask = extended_pixels(np.asarray(image.picture), whole, seed)
    made = Decoded(Image.fromarray(picture), image.notes), Decoded(Image.fromarray(mask))
    return *made, _notes(extend, whole, spec)


def size_of_part(image: Decoded, mask: Decoded, request: GenerationRequest, spec: ModelSpec) -> Size:
    """The size at which the masked part is drawn. Raises InvalidImage for a mask that paints nothing."""
    import numpy as np

    from app.files.repaint import painted_bounds

    pixels = np.asarray(mask.picture)
    bounds = painted_bounds(255 - pixels if request.mask_invert else pixels)
    if bounds is None:
        message = "has nothing to repaint: no part of it is white"
        raise InvalidImage(f"mask {message}.", errors=[FieldError("mask", message)])
    asked = (request.width, request.height)
    return drawn_size(bounds, image.size, request.inpaint_padding or 0, asked, spec)


def _notes(asked: Extend, used: Extend, spec: ModelSpec) -> tuple[str, ...]:
    if asked == used:
        return ()
    sides = ", ".join(f"{side} {pixels}" for side, pixels in used.model_dump().items() if pixels)
    return (f"{spec.id} draws multiples of {spec.limits.multiple_of} pixels: the picture was extended by {sides}.",)

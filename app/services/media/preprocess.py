"""Shows what a processor makes of a picture, before it is sent as a control picture."""

from __future__ import annotations

import io

from app.core.control_inputs import WEIGHTLESS
from app.errors import FieldError, InvalidRequest
from app.services.context import AppContext
from app.services.media.input_images import one_picture

LARGEST_SIDE = 1024  # pixels: bounds what a request costs
_WORKING = 8 * LARGEST_SIDE**2  # pixels of the budget: edges are found with numbers of 32 bits


def preprocessed(context: AppContext, source: str, processor: str, *, client_id: str) -> bytes:
    """The control picture as a PNG, scaled down to LARGEST_SIDE. Raises InvalidRequest for a processor that needs
    weights, InvalidImage, Unavailable."""
    if processor not in WEIGHTLESS:
        message = f"is {processor}, which needs a model: only jobs can use it. Here: {', '.join(sorted(WEIGHTLESS))}"
        raise InvalidRequest(f"processor {message}.", errors=[FieldError("processor", message)])
    import numpy as np  # imported here, like Pillow: much memory
    from PIL import Image

    from app.files.control_pictures import control_picture

    with one_picture(context, source, client_id=client_id, least=_WORKING) as decoded:
        decoded.picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        made = control_picture(processor, np.asarray(decoded.picture))
        buffer = io.BytesIO()
        Image.fromarray(made).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()

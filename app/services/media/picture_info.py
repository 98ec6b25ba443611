"""The text that programs write into pictures: the settings they were made with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.core.base64_text import decode_base64, decode_data_uri, is_data_uri
from app.errors import FieldError, InvalidImage
from app.services.context import AppContext

PARAMETERS = "parameters"  # the keyword that AUTOMATIC1111 writes, and we do
_PAIR = re.compile(r'\s*([\w ]{1,60}):\s*("(?:\\.|[^"\\]){0,2000}"|[^,]{0,2000})(?:,|$)')


@dataclass(frozen=True)
class PictureText:
    """`items` are all texts by keyword; `parameters` the one about the settings, empty without; `settings` what it
    says, by name."""

    items: Mapping[str, str] = field(default_factory=dict)
    parameters: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def picture_text(context: AppContext, picture: str) -> PictureText:
    """Of a picture in base64 or as a data URI. Raises InvalidImage."""
    from app.files.inputs import UnusablePicture, text_of  # Pillow uses much memory: imported only for pictures

    try:
        data = decode_data_uri(picture)[1] if is_data_uri(picture) else decode_base64(picture)
        items = text_of(data, max_pixels=context.settings.input_max_pixels)
    except (ValueError, UnusablePicture) as problem:
        message = str(problem) if isinstance(problem, UnusablePicture) else "is neither base64 nor a data URI"
        raise InvalidImage(f"image {message}.", errors=[FieldError("image", message)]) from None
    parameters = items.get(PARAMETERS, "")
    return PictureText(items, parameters, _settings(parameters))


def _settings(parameters: str) -> dict[str, str]:
    """The pairs of the last line, and the prompts before it."""
    lines = parameters.split("\n")
    pairs = {name.strip(): value.strip() for name, value in _PAIR.findall(lines[-1])}
    if len(pairs) < 3:  # it is part of a prompt
        return {}
    text = "\n".join(lines[:-1])
    prompt, _, negative = text.partition("\nNegative prompt: ")
    return {"Prompt": prompt, "Negative prompt": negative, **pairs}

"""The text that programs write into pictures: the settings they were made with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from app.core.base64_text import decode_base64, decode_data_uri, is_data_uri
from app.errors import FieldError, InvalidImage
from app.files.metadata import CONTROL_UNIT
from app.services.context import AppContext

PARAMETERS = "parameters"  # the keyword that AUTOMATIC1111 writes, and we do
_UNIT = re.compile(rf"{CONTROL_UNIT} \d{{1,2}}")
_NAME = re.compile(r"[\w ]{1,60}")
_MOST_TEXT = 262_144  # characters of all texts of a picture
_LONGEST_LINE = 20_000  # of settings, in characters: anybody can write a megabyte into a picture


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
        items = _bounded(text_of(data, max_pixels=context.settings.input_max_pixels))
    except (ValueError, UnusablePicture) as problem:
        message = str(problem) if isinstance(problem, UnusablePicture) else "is neither base64 nor a data URI"
        raise InvalidImage(f"image {message}.", errors=[FieldError("image", message)]) from None
    parameters = items.get(PARAMETERS, "")
    return PictureText(items, parameters, _settings(parameters))


def _bounded(items: Mapping[str, str]) -> Mapping[str, str]:
    """A picture of a few kilobytes may hold megabytes of text."""
    found, left = {}, _MOST_TEXT
    for name, text in items.items():
        if left > len(name):
            found[name] = text[: left - len(name)]
            left -= len(name) + len(found[name])
    return found


def _settings(parameters: str) -> dict[str, str]:
    """The pairs of the last line, and the prompts before it."""
    lines = parameters.split("\n")
    pairs = dict(_pairs(lines[-1])) if len(lines[-1]) <= _LONGEST_LINE else {}
    if len(pairs) < 3:  # it is part of a prompt
        return {}
    text = "\n".join(lines[:-1])
    prompt, _, negative = text.partition("\nNegative prompt: ")
    plain = {name: _unquoted(value) for name, value in pairs.items()}
    return {"Prompt": prompt, "Negative prompt": negative, **plain, **_control_units(plain)}


def _unquoted(value: str) -> str:
    """A value that was written in quotes since it holds a comma or a colon."""
    if not (value.startswith('"') and value.endswith('"')):
        return value
    try:
        found = json.loads(value)
        return found if isinstance(found, str) and found.encode() else value
    except ValueError:  # no JSON, or half of a surrogate pair, which no answer can hold
        return value


def _control_units(pairs: Mapping[str, str]) -> dict[str, str]:
    """What the units of the ControlNet extension say, as its reader names it: `ControlNet 0 module` and so on."""
    return {
        f"{unit} {name.strip().lower().replace(' ', '_')}": value.strip()
        for unit, text in pairs.items()
        if _UNIT.fullmatch(unit)
        for name, value in _pairs(text)
    }


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """(name, value) of `name: value, name: "a, b"`."""
    for part in _split(line):
        name, colon, value = part.partition(":")
        if colon and _NAME.fullmatch(name.strip()):
            yield name.strip(), value.strip()


def _split(line: str) -> Iterator[str]:
    """The parts between commas that stand in no quotes."""
    start, quoted, escaped = 0, False, False
    for place, letter in enumerate(line):
        if escaped:
            escaped = False
        elif letter == "\\" and quoted:
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            yield line[start:place]
            start = place + 1
    yield line[start:]

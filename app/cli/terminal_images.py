"""Inline images in terminals that can show them.

Kitty's graphics protocol (kitty, Ghostty, WezTerm; https://sw.kovidgoyal.net/kitty/graphics-protocol/) and iTerm2's
inline images (https://iterm2.com/documentation-images.html).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Literal

Protocol = Literal["kitty", "iterm"]

ROWS = 12  # height of an image, in lines of text
_CHUNK = 4096  # bytes of base64 in one escape sequence of kitty's


def protocol_of(environment: Mapping[str, str]) -> Protocol | None:
    """The protocol of the terminal that `environment` describes; None when it shows no images."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or term.startswith(("screen", "tmux")):
        return None  # they pass no images through
    if "kitty" in term or environment.get("KITTY_WINDOW_ID") or program in ("ghostty", "WezTerm"):
        return "kitty"
    return "iterm" if program == "iTerm.app" or environment.get("LC_TERMINAL") == "iTerm2" else None


def inline_image(image: bytes, protocol: Protocol) -> str:
    """The escape sequences that show `image` (any format that Pillow reads) in `ROWS` lines, the cursor below it."""
    if protocol == "iterm":
        data = base64.b64encode(image).decode()
        return f"\x1b]1337;File=inline=1;height={ROWS};preserveAspectRatio=1:{data}\a\n"
    data = base64.b64encode(_png(image)).decode()
    pieces = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    controls = [f"a=T,f=100,r={ROWS},q=2,m={int(len(pieces) > 1)}"]
    controls += [f"m={int(number < len(pieces) - 1)}" for number in range(1, len(pieces))]
    return "".join(f"\x1b_G{keys};{piece}\x1b\\" for keys, piece in zip(controls, pieces, strict=True)) + "\n"


def back_to_top() -> str:
    """Moves the cursor to where the last image began, so that the next one takes its place."""
    return f"\x1b[{ROWS}A\r"


def _png(image: bytes) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(image)) as opened:
        opened.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()

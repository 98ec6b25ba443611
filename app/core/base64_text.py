"""Decodes base64 and data URIs in all variants that clients use."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote, unquote_to_bytes

_HEAD = re.compile(r"data:([^,]{0,500}),", re.IGNORECASE)
MOST_ESCAPES = 10_000  # each becomes an object while decoding
_URL_SAFE = str.maketrans("-_", "+/")


def decode_base64(text: str) -> bytes:
    """Decode with or without padding and line breaks, in either alphabet. Raises ValueError."""
    compact = "".join(text.split())
    if "-" in compact or "_" in compact:
        compact = compact.translate(_URL_SAFE)
    if len(compact) % 4 or compact.endswith("=="):  # avoids a second copy in memory
        compact = compact.rstrip("=")
        compact += "=" * (-len(compact) % 4)
    try:
        return base64.b64decode(compact, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def is_data_uri(text: str) -> bool:
    return _HEAD.match(text) is not None


def decode_data_uri(uri: str) -> tuple[str, bytes]:
    """The media type and content of a data URI: base64, optionally percent-encoded, or percent-encoded bytes. Raises
    ValueError."""
    head = _HEAD.match(uri)
    if head is None:
        raise ValueError("it does not begin with data: and a comma")
    media_type, *parameters = (part.strip() for part in head[1].split(";"))
    text = uri[head.end() :]
    if text.count("%") > MOST_ESCAPES:
        raise ValueError("it has too many percent signs; send base64")
    if any(parameter.lower() == "base64" for parameter in parameters):
        if not text.isascii():
            raise ValueError("base64 is ASCII")
        return media_type, decode_base64(unquote(text) if "%" in text else text)
    return media_type, unquote_to_bytes(text)

"""Signatures of URLs that open one file until a time, without a token.

A signature is the HMAC-SHA256 of the file's kind, the id of its picture or video, and the time; it is compared as the
text that was sent, so that no other spelling of it is valid.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Literal

from app.core.gallery_references import is_image_id
from app.errors import InvalidSignature, UrlExpired

FileKind = Literal["file", "thumbnail"]

EXPIRES, SIGNATURE = "expires", "signature"  # parameters of the query
_SECONDS = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_VERSION = "1"


def signature_of(key: str, kind: FileKind, image_id: str, expires: str) -> str:
    """`expires` is the decimal number of seconds since the epoch, as it stands in the URL."""
    message = "\n".join((_VERSION, kind, image_id, expires))
    digest = hmac.new(key.encode(), message.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def check_signature(key: str, kind: FileKind, image_id: str, expires: str, signature: str, now: float) -> int:
    """The seconds that are left. Raises InvalidSignature, or UrlExpired for one that was valid."""
    expected = signature_of(key, kind, image_id, expires)
    sent = signature.encode("utf-8", "surrogatepass")
    is_well_formed = is_image_id(image_id) and _SECONDS.fullmatch(expires)
    if not hmac.compare_digest(expected.encode(), sent) or not is_well_formed:
        raise InvalidSignature
    left = int(expires) - int(now)
    if left <= 0:
        raise UrlExpired
    return left

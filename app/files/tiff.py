"""Checks sizes in a TIFF's first directory as libtiff reads them: Pillow skips tags with unknown number types, but
libtiff then uses these unchecked sizes (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct
from collections import Counter

_SIZES = {256, 257, 278, 322, 323}  # width, length, rows per strip, tile width, tile length
_WHOLE = {3, 4}  # SHORT, LONG
_WHOLE_IN_BIGTIFF = _WHOLE | {16}  # LONG8
_MOST_TAGS = 4096


def sizes_are_plain(data: bytes) -> bool:
    """True if each size occurs at most once, as one number of a common type. False if it is not a TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
    try:
        (version,) = struct.unpack_from(f"{order}H", data, 2)
        is_big = version == 43
        (start,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", data, 8 if is_big else 4)
        (number,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}H", data, start)
        width, entry = (20, f"{order}HHQ") if is_big else (12, f"{order}HHI")
        first = start + (8 if is_big else 2)
        if not order or number > _MOST_TAGS:
            return False
        entries = [struct.unpack_from(entry, data, first + width * index) for index in range(number)]
    except struct.error:
        return False
    sizes = [(tag, kind, count) for tag, kind, count in entries if tag in _SIZES]
    often = Counter(tag for tag, _, _ in sizes)
    whole = _WHOLE_IN_BIGTIFF if is_big else _WHOLE
    return all(kind in whole and count == 1 and often[tag] == 1 for tag, kind, count in sizes)

"""Marks files as AI-generated: IPTC's DigitalSourceType in XMP, as tools and laws expect.

Independent of prompt and settings, and written whether or not those are embedded.
"""

from __future__ import annotations

import struct
from xml.sax.saxutils import quoteattr

from app.core.tasks import TEXT_TASKS, Task

XMP_KEY = "XML:com.adobe.xmp"  # the keyword of the PNG chunk
_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # UUID of XMP in MP4
FROM_TEXT = _TYPES + "trainedAlgorithmicMedia"
FROM_IMAGE = _TYPES + "compositeWithTrainedAlgorithmicMedia"


def digital_source_type(task: Task) -> str:
    """IPTC's type for the result of `task`: generated from text only, or from an existing picture."""
    return FROM_TEXT if task in TEXT_TASKS else FROM_IMAGE


def xmp_packet(source_type: str, creator: str) -> str:
    """An XMP packet with this type. `creator` is the program's name and version."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(source_type)}"
        f" xmp:CreatorTool={quoteattr(creator)}/>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def marked_mp4(content: bytes, xmp: str) -> bytes:
    """The MP4 with `xmp` in a box at the end, which players skip."""
    packet = xmp.encode()
    return content + struct.pack(">I4s", 8 + len(_XMP_BOX) + len(packet), b"uuid") + _XMP_BOX + packet

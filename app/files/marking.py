"""Say inside a file that a machine made it: IPTC's DigitalSourceType, in XMP, where picture tools and the law look.

It says nothing about the prompt or the settings, and is there whether or not those are.
"""

from __future__ import annotations

import struct
from xml.sax.saxutils import quoteattr

from app.core.tasks import TEXT_TASKS, Task

XMP_KEY = "XML:com.adobe.xmp"  # the keyword of the PNG chunk
_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # the name that XMP has in MP4
FROM_WORDS = _TYPES + "trainedAlgorithmicMedia"
FROM_A_PICTURE = _TYPES + "compositeWithTrainedAlgorithmicMedia"


def digital_source_type(task: Task) -> str:
    """IPTC's name for what came of `task`: drawn from words alone, or made of somebody's picture."""
    return FROM_WORDS if task in TEXT_TASKS else FROM_A_PICTURE


def xmp_packet(source_type: str, creator: str) -> str:
    """The XMP that says so. `creator` is the program's name and version."""
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
    """The same MP4 with `xmp` in a box of its own at the end, where players look past it."""
    packet = xmp.encode()
    return content + struct.pack(">I4s", 8 + len(_XMP_BOX) + len(packet), b"uuid") + _XMP_BOX + packet

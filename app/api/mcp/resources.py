"""The gallery as resources: of each client its own pictures. Read, they are small; the file in full has a URL."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import mcp_types as mcp

from app.api.http.absolute_urls import picture_url
from app.api.http.cursor import decode, encode
from app.api.mcp.content import MOST_PICTURE_BYTES
from app.api.mcp.messages import Call
from app.api.mcp.protocol_error import ProtocolError
from app.api.schemas.images import ImageMetadata
from app.api.security.authorization import check_owned
from app.api.security.client_identity import identity
from app.api.server.context import ApiContext
from app.core.job import JobStatus
from app.core.output import Output
from app.errors import Gone, InvalidRequest, NotFound
from app.services.media import gallery
from app.services.media.reencode import small_webp

SCHEME = "cyberimage://images/"
PAGE = 50
_OF_URI = re.compile(r"(?:cyberimage://images|https?://[^\s]{1,500}/api/image)/([0-9a-f]{32})(?:\?[^\s]{0,500})?")
_RETIRED_NOT_FOUND = -32002  # of versions with a handshake


def resource_templates() -> dict[str, Any]:
    about = "A picture of the gallery by its image_id, in small, with what it was made of. Of a video its poster."
    template = {"uriTemplate": SCHEME + "{image_id}", "name": "picture", "title": "Picture of the gallery"}
    return {"resourceTemplates": [{**template, "description": about, "mimeType": "image/webp"}]}


def list_resources(here: ApiContext, call: Call) -> dict[str, Any]:
    """A page of the caller's gallery, newest first."""
    try:
        after = decode(call.params.get("cursor"))
    except InvalidRequest as error:
        raise ProtocolError(mcp.INVALID_PARAMS, error.detail) from None
    wanted = gallery.Filter(owner=identity().scope)
    listing = gallery.browse(here.context, wanted, status=JobStatus.COMPLETED, limit=PAGE, after=after)
    found = [_resource(item) for item in listing.items if isinstance(item, gallery.ImageItem)]
    return {"resources": found, **({"nextCursor": encode(listing.next)} if listing.next else {})}


def read_resource(here: ApiContext, call: Call) -> dict[str, Any]:
    """The picture in small, and what is known of it. Raises ProtocolError for one that is not the caller's."""
    uri = str(call.params["uri"])
    try:
        output = _output(here, uri)
        webp = small_webp(here.context, output, MOST_PICTURE_BYTES)
    except (NotFound, Gone) as error:
        number = mcp.INVALID_PARAMS if call.is_stateless else _RETIRED_NOT_FOUND
        raise ProtocolError(number, error.detail, {"uri": uri[:600]}) from None
    about = ImageMetadata.of(output).as_dict() | {"url": picture_url(here.context, output)}
    return {
        "contents": [
            {"uri": uri, "mimeType": "image/webp", "blob": base64.b64encode(webp).decode()},
            {"uri": uri, "mimeType": "application/json", "text": json.dumps(about, ensure_ascii=False)},
        ]
    }


def _output(here: ApiContext, uri: str) -> Output:
    found = _OF_URI.fullmatch(uri)
    if found is None:
        raise NotFound(f"Resources here are {SCHEME}<image_id>.")
    check_owned("image_id", found[1])
    return here.context.outputs.get(found[1])


def _resource(item: gallery.ImageItem) -> dict[str, Any]:
    output = item.output
    return {
        "uri": SCHEME + output.id,
        "name": f"{output.media} {output.id[:8]}",
        "title": item.prompt[:100] or output.id[:8],
        "description": f"{output.media} by {output.model_id}, {output.width}x{output.height}: {item.prompt[:300]}",
        "mimeType": "image/webp",
    }

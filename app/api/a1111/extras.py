"""POST png-info; and what this server does not do."""

from __future__ import annotations

from app.api.a1111.bodies import PngInfoBody
from app.api.a1111.errors import answers
from app.api.http.openapi import blueprint
from app.api.routing import Access
from app.api.schemas.a1111 import Nothing, PictureInfo
from app.api.server.context import app_context
from app.errors import InvalidImage, NotProvided
from app.services.media.picture_info import picture_text

api = blueprint("a1111_extras", "AUTOMATIC1111", "a1111")


@api.post(
    "/sdapi/v1/png-info",
    access=Access.USER,
    budget="read",
    accepts_files=True,
    responses=answers(PictureInfo, InvalidImage),
)
def a1111_png_info(body: PngInfoBody) -> PictureInfo:
    """Read the parameters in a picture, as AUTOMATIC1111"""
    found = picture_text(app_context(), body.image)
    return PictureInfo.read(info=found.parameters, items=dict(found.items), parameters=dict(found.settings))


def _not_provided(what: str) -> Nothing:
    raise NotProvided(f"This server does not {what}. Use another program for that, or leave it out.")


@api.post(
    "/sdapi/v1/interrogate",
    access=Access.USER,
    budget="read",
    raw_body=True,
    responses=answers(Nothing, NotProvided),
)
def a1111_interrogate() -> Nothing:
    """Describe a picture, as AUTOMATIC1111: not here"""
    return _not_provided("describe pictures")

"""POST /api/preprocess."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from app.api.http import openapi
from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.security.client_identity import client_id
from app.api.server.context import app_context
from app.core.inputs import PICTURE, Processor
from app.core.json_values import Body
from app.errors import InvalidImage, InvalidRequest, PayloadTooLarge, Unavailable, UnsupportedMediaType
from app.services.media.preprocess import preprocessed

api = blueprint("preprocess", "generate")


class PreprocessBody(Body):
    image: str = Field(description=PICTURE)
    processor: Processor = Field(description="One that needs no weights: canny, lineart, tile or none.")


@api.post(
    "/api/preprocess",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=responses(
        {200: openapi.file("The control picture, at most 1024 pixels on a side.", "image/png")},
        InvalidRequest,
        InvalidImage,
        PayloadTooLarge,
        UnsupportedMediaType,
        Unavailable,
    ),
    description="What `processor` of a control picture would make of it. Nothing is stored.",
)
def preprocess(body: PreprocessBody) -> Response:
    """Show what a processor makes of a picture"""
    made = preprocessed(app_context(), body.image, body.processor, client_id=client_id())
    return Response(made, mimetype="image/png", headers={"Cache-Control": "no-store"})

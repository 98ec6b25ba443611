"""AUTOMATIC1111's interface (`/sdapi/v1`), for its clients.

It translates, waits and answers; the work goes through the same queue. What its clients set for all there, such as the
model, is kept for each client, and `interrupt` stops only what the same client submitted.
"""

from __future__ import annotations

from flask_openapi3 import OpenAPI

from app.api.a1111 import controlnet, extras, images, lists, options, progress, upscaling
from app.api.a1111.clients import Clients
from app.api.a1111.errors import error_response
from app.api.http.problems import ErrorShape, add_shape
from app.config import Settings

FACADE = "a1111"


def register(app: OpenAPI, settings: Settings) -> None:
    """Register the routes, unless FACADES leaves them out."""
    if FACADE not in settings.facade_names:
        return
    add_shape(app, ErrorShape(FACADE, ("/sdapi/", "/internal/", "/controlnet/"), error_response))
    app.extensions[Clients.EXTENSION] = Clients()
    for resource in (images, upscaling, options, progress, lists, extras, controlnet):
        app.register_api(resource.api)

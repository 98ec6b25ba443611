"""The Model Context Protocol (`/mcp`, Streamable HTTP), for assistants.

Its messages are JSON-RPC; every request is answered by itself, and no session is kept. A tool that draws submits to the
same queue as every other interface, and waits without a thread. `cyberimage mcp` passes such messages on from stdio.
"""

from __future__ import annotations

from flask_openapi3 import OpenAPI

from app.api.http.problems import ErrorShape, add_shape
from app.api.mcp import routes
from app.api.mcp.errors import error_response
from app.config import Settings

FACADE = "mcp"


def register(app: OpenAPI, settings: Settings) -> None:
    """Register the route, unless FACADES leaves it out."""
    if FACADE not in settings.facade_names:
        return
    add_shape(app, ErrorShape(FACADE, ("/mcp",), error_response))
    app.register_api(routes.api)

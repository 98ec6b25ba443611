"""GET /: the page for a browser, links for other clients."""

from __future__ import annotations

from flask import Response, make_response, render_template, request

from app.api.http.openapi import blueprint, responses
from app.api.http.page_language import page_language, translator
from app.api.routing import Access
from app.api.schemas.server import RootBody
from app.api.server.context import app_context
from app.services.urls import url
from app.version import __version__

api = blueprint("pages", "server")

_LINKS = {
    "documentation": "/docs",
    "openapi": "/openapi.json",
    "models": "/api/models",
    "generate": "/api/generate",
    "gallery": "/api/images",
    "queue": "/api/queue",
    "status": "/status",
    "health": "/health",
    "metrics": "/metrics",
}


@api.get(
    "/",
    access=Access.PUBLIC,
    budget=None,
    responses=responses({200: RootBody}),
    description="A browser gets the page, as text/html.",
)
def root() -> Response:
    """The page, or links to the API"""
    choice = request.accept_mimetypes.best_match(["application/json", "text/html"], default="application/json")
    settings = app_context().settings
    body = (
        render_template(
            "index.html",
            auth_mode=settings.auth_mode,
            remote=settings.has_key_for("replicate"),
            root=request.script_root,
            language=(language := page_language()),
            t=translator(language),
            service_worker=settings.service_worker,
        )
        if choice == "text/html"
        else RootBody(name="CyberImage", version=__version__, links={name: url(path) for name, path in _LINKS.items()})
    )
    response = make_response(body)
    response.vary.update(["Accept", "Accept-Language", "Cookie"])
    return response

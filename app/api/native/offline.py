"""The service worker of the page, and the page that it shows while the server cannot be reached."""

from __future__ import annotations

import hashlib
import json
from functools import cache

from flask import Blueprint, Response, current_app, render_template, request

from app.api.http.page_language import LANGUAGES, translator
from app.api.routing import Access, RoutePolicy, declare
from app.api.server.context import app_context
from app.config import CODE
from app.version import __version__

pages = Blueprint("offline", __name__)

_FILES = CODE / "app" / "static"
_TEMPLATES = CODE / "app" / "templates"


@pages.get("/service-worker.js")
@declare(RoutePolicy(Access.PUBLIC, budget=None))
def service_worker() -> Response:
    """static/service-worker.js, told its version, and whether it is wanted: switched off it removes itself."""
    told = {"VERSION": files_version(), "ENABLED": app_context().settings.service_worker}
    head = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in told.items())
    text = (_FILES / "service-worker.js").read_text("utf-8")
    return current_app.response_class(head + text, mimetype="text/javascript")


@pages.get("/offline")
@declare(RoutePolicy(Access.PUBLIC, budget=None))
def offline() -> str:
    """In all languages, of which a script shows one: the copy in a browser outlives a choice of language."""
    texts = {language: translator(language) for language in LANGUAGES}
    return render_template("offline.html", root=request.script_root, texts=texts)


@cache
def files_version() -> str:
    """A digest of everything that the service worker keeps: it changes with each version of the program, and with
    each change of the files."""
    digest = hashlib.sha256(__version__.encode())
    files = [file for folder in (_FILES, _TEMPLATES) for file in folder.rglob("*") if file.is_file()]
    for file in sorted(files):
        digest.update(f"{file.name} {file.stat().st_size} ".encode())
        digest.update(file.read_bytes())
    return f"{__version__}-{digest.hexdigest()[:16]}"

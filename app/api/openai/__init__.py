"""OpenAI's image API, for its clients: requests in its words, answered with the pictures.

It translates, waits and answers; the work goes through the same queue. Every path is served under `/api/openai/v1`,
where the OpenAPI document has it, and under `/v1`.
"""

from __future__ import annotations

from flask_openapi3 import OpenAPI

from app.api.http.problems import ErrorShape, add_shape
from app.api.openai import images, models
from app.api.openai.errors import error_response
from app.config import Settings

FACADE = "openai"
DOCUMENTED, SHORT = "/api/openai/v1", "/v1"
_LIST_OF_MODELS = "/api/v1/models"  # the versioned API's has OpenAI's shape too


def register(app: OpenAPI, settings: Settings) -> None:
    """Register the routes under both spellings, unless FACADES leaves them out."""
    if FACADE not in settings.facade_names:
        return
    add_shape(app, ErrorShape(FACADE, (f"{DOCUMENTED}/", f"{SHORT}/images/"), error_response))
    for resource in (images, models):
        app.register_api(resource.api)
    for rule in list(app.url_map.iter_rules()):
        for path in other_spellings(rule.rule):
            methods = sorted(set(rule.methods or ()) - {"HEAD", "OPTIONS"})
            app.add_url_rule(path, rule.endpoint, methods=methods)


def other_spellings(path: str) -> list[str]:
    """The further paths under which the route at `path` is served; none for routes of others."""
    if path == _LIST_OF_MODELS:
        return [f"{DOCUMENTED}/models"]
    return [SHORT + path.removeprefix(DOCUMENTED)] if path.startswith(f"{DOCUMENTED}/") else []

"""The versioned API: flat requests, answered with the picture itself.

It translates, waits and answers; the work goes through the same queue. Every path is served under
`/api/v1`, where the OpenAPI document has it, and under `/v1`; some have a second spelling.
"""

from __future__ import annotations

from flask_openapi3 import OpenAPI

from app.api.v1 import generate, inference, loras, model_loading, models, stream
from app.config import Settings

DOCUMENTED, SHORT = "/api/v1", "/v1"
SPELLINGS = {"/generate/txt2img": "/txt2img", "/generate/img2img": "/img2img", "/loras": "/loras/list"}


def register(app: OpenAPI, settings: Settings) -> None:
    """Register the routes under all their spellings: the same endpoints, so that they share one policy."""
    for resource in (generate, models, model_loading, loras, inference):
        app.register_api(resource.api)
    app.config["SOCK_SERVER_OPTIONS"] = stream.options(settings)
    app.register_blueprint(stream.pages)
    for rule in list(app.url_map.iter_rules()):
        for path in other_spellings(rule.rule):
            # Without HEAD and OPTIONS, which are added to every rule: named here, OPTIONS would run the view.
            methods = sorted(set(rule.methods or ()) - {"HEAD", "OPTIONS"})
            app.add_url_rule(path, rule.endpoint, methods=methods, websocket=rule.websocket)


def other_spellings(path: str) -> list[str]:
    """The further paths under which the route at `path` is served; none for routes of others."""
    prefix, found, rest = path.partition(DOCUMENTED)
    if prefix or not found:
        return []
    rests = [rest, *(short for long, short in SPELLINGS.items() if long == rest)]
    starts = [DOCUMENTED, SHORT, *([""] if rest.startswith("/stream/") else [])]
    return [start + end for start in starts for end in rests if start + end != path]

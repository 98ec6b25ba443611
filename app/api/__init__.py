"""The HTTP interface: one small file per resource. It translates between HTTP and the services, and decides nothing."""

from __future__ import annotations

from typing import Any

from flask_openapi3 import OpenAPI

from app.api import a1111, access_log, mcp, openai, routing, v1
from app.api.http import compression, conditional, drain, headers, prefix, problems, request_body, tracing
from app.api.http.application import Application
from app.api.http.problems import refuse
from app.api.http.request_body import ApiRequest
from app.api.native import (
    batch_events,
    batch_results,
    batches,
    cleanup,
    docs,
    embeddings,
    events,
    gallery,
    generate,
    health,
    images,
    job_inputs,
    jobs,
    keys,
    loras,
    metrics,
    models,
    offline,
    pages,
    preprocess,
    provider_webhooks,
    queue,
    remote_models,
    schedulers,
    selection,
    session,
    upscale,
    webhooks,
)
from app.api.schemas.problems import Problem
from app.api.security import authorization, client_identity
from app.api.server import request_metrics
from app.config import Settings

__all__ = [
    "DESCRIPTION",
    "EXPOSED_HEADERS",
    "SECURITY_SCHEMES",
    "ApiRequest",
    "Application",
    "Problem",
    "refuse",
    "register",
]

DESCRIPTION = (
    "Self-hosted image generation. Send a prompt, get a job; follow the job until it is COMPLETED; fetch its images. "
    "Where authentication is on, send `Authorization: Bearer <token>`. Every error is an RFC 9457 problem "
    "document with a stable `code`. All times are UTC, ISO 8601."
)
SECURITY_SCHEMES: dict[str, Any] = {
    "token": {"type": "http", "scheme": "bearer", "description": "Where AUTH_MODE asks: a key, or a hub token."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": authorization.COOKIE,
        "description": "See POST /api/session.",
    },
}
EXPOSED_HEADERS = [
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Image-Size",
    "X-Job-Id",
    "X-Request-Id",
]


def register(app: OpenAPI, settings: Settings) -> None:
    """Register every route, the error documents, the headers of every response, and the rate limits on `app`."""
    app.wsgi_app = prefix.PathPrefix(app.wsgi_app, settings)  # type: ignore[method-assign]
    client_identity.trust_proxies(app, settings.trusted_proxies)
    tracing.register(app)
    request_body.register(app, settings)
    request_metrics.register(app, lambda: routing.current_policy().facade)
    access_log.register(app)
    compression.register(app)
    problems.register(app)
    headers.register(app, settings)
    conditional.register(app)
    authorization.register(app)
    app.before_request(request_body.refuse_unread_body)
    app.before_request(drain.refuse_new_jobs)
    work = (
        generate,
        batches,
        batch_events,
        batch_results,
        jobs,
        job_inputs,
        events,
        images,
        gallery,
        selection,
        models,
        loras,
        embeddings,
        schedulers,
        preprocess,
        upscale,
        remote_models,
        provider_webhooks,
        queue,
        webhooks,
    )
    for resource in (*work, health, metrics, cleanup, session, keys, pages):
        app.register_api(resource.api)
    v1.register(app, settings)
    openai.register(app, settings)
    a1111.register(app, settings)
    mcp.register(app, settings)
    app.register_blueprint(docs.pages)
    app.register_blueprint(offline.pages)
    routing.declare(routing.RoutePolicy(routing.Access.PUBLIC, budget=None, polled=True))(app.view_functions["static"])
    routing.collect(app)
    if settings.rate_limit_generate or settings.rate_limit_read or settings.auth_mode == "keys":
        from app.api.security import rate_limits  # only then: it costs megabytes

        rate_limits.register(app, settings)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

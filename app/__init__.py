"""CyberImage: image generation service with a durable queue and separate worker processes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.version import __version__

if TYPE_CHECKING:
    from flask_openapi3 import OpenAPI

    from app.config import Settings


REQUEST_LOCK_SECONDS = 3.0  # how long a request waits for a lock that another program holds


def create_app(settings: Settings) -> OpenAPI:
    """Create the web application and open its installation: call it after a fork, never before.

    Raises ConfigurationError.
    """
    # Imported here because workers import this package too, and they need no Flask.
    from flask_cors import CORS
    from flask_openapi3 import Info

    from app import api
    from app.api.routing import policies_of
    from app.api.security.authorization import AccessControl
    from app.api.server.context import ApiContext
    from app.api.server.request_metrics import expect_routes
    from app.services.context import open_context

    app = api.Application(
        __name__,
        info=Info(title="CyberImage", version=__version__, description=api.DESCRIPTION),
        security_schemes=api.SECURITY_SCHEMES,
        openapi_extensions={"security": [{}, *({name: []} for name in api.SECURITY_SCHEMES)]},
        doc_ui=False,  # its pages need a CDN; app.api.native.docs has its own
        validation_error_status="default",  # every operation documents this error itself
        validation_error_model=api.Problem,
        validation_error_callback=api.refuse,
    )
    app.request_class = api.ApiRequest
    app.url_map.strict_slashes = False  # people add a slash to URLs; a route is the same with one
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    api.register(app, settings)
    if settings.cors_origin_list:
        # Flask-CORS treats origins with brackets (IPv6) as patterns.
        allowed = [re.compile(f"^{re.escape(one)}$") if "[" in one else one for one in settings.cors_origin_list]
        CORS(app, origins=allowed, expose_headers=api.EXPOSED_HEADERS)
    server = app.extensions["cyberimage"] = ApiContext(open_context(settings, lock_timeout=REQUEST_LOCK_SECONDS))
    policies = policies_of(app)
    expect_routes(app, server.meter, lambda endpoint: policies[endpoint].facade)
    app.extensions["cyberimage-access-control"] = AccessControl(server)
    return app

"""The Flask application class: views may return response bodies, and responses that are made later."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import Response
from flask_openapi3 import OpenAPI
from werkzeug.routing import BaseConverter

from app.api.http.document import complete
from app.api.routing import policies_of
from app.api.server.deferred_response import DeferredResponse
from app.core.response_body import ResponseBody


class GenerationConverter(BaseConverter):
    """The id in `/api/images/<id>`. The routes beside it are no ids: another method there is 405, not an unknown id."""

    regex = r"(?!(?:actions|zip)$)[^/]+"


class Application(OpenAPI):
    """As OpenAPI; a ResponseBody, alone or first in a tuple with status and headers, becomes JSON, and the document is
    completed for generators of clients."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.url_map.converters["generation"] = GenerationConverter

    def generate_spec_json(self) -> None:
        super().generate_spec_json()
        policies = policies_of(self)
        forms = {
            (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
            for rule in self.url_map.iter_rules()
            if rule.endpoint in policies and policies[rule.endpoint].accepts_files
            for method in rule.methods or ()
        }
        self.spec_json = complete(self.spec_json, forms)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """`func`: no view and no hook is a coroutine, and Flask would look at 15 of them in every request."""
        return func

    def make_response(self, rv: Any) -> Response:
        if isinstance(rv, tuple):
            return super().make_response((_plain(rv[0]), *rv[1:]))
        return super().make_response(_plain(rv))

    def process_response(self, response: Response) -> Response:
        """Not for a response that is made later: then its hooks run."""
        return response if isinstance(response, DeferredResponse) else super().process_response(response)


def _plain(body: Any) -> Any:
    if isinstance(body, list):
        return [_plain(each) for each in body]
    return body.as_dict() if isinstance(body, ResponseBody) else body

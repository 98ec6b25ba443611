"""The Flask application class: views may return response bodies."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_openapi3 import OpenAPI

from app.core.response_body import ResponseBody


class Application(OpenAPI):
    """As OpenAPI; a ResponseBody, alone or first in a tuple with status and headers, becomes JSON."""

    def make_response(self, rv: Any) -> Response:
        if isinstance(rv, tuple):
            return super().make_response((_plain(rv[0]), *rv[1:]))
        return super().make_response(_plain(rv))


def _plain(body: Any) -> Any:
    return body.as_dict() if isinstance(body, ResponseBody) else body

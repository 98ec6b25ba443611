"""How request bodies are read: strict JSON, with an error that says what is wrong with it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from flask import Request

from app.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType


class ApiRequest(Request):
    """Flask's request, except that a bad body is an error even where the caller asked to be told nothing.

    flask-openapi3 reads bodies silently and takes None for an unreadable one; what was wrong would be lost.
    """

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        if not self.mimetype and not self._whole(cache):
            return {}  # nothing was sent: whoever requires something says so
        if not self.is_json:
            raise UnsupportedMediaType("Send the body as JSON, with the header Content-Type: application/json.")
        try:
            data = json.loads(self._whole(cache), parse_constant=_refuse_constant)
        except RecursionError:
            raise InvalidRequest("The body is nested too deeply.") from None
        except ValueError as error:  # bad syntax, bad UTF-8, a number of five thousand digits
            raise InvalidRequest(f"The body is not valid JSON: {str(error)[:200]}.") from None
        if not isinstance(data, dict):
            raise InvalidRequest("The body must be a JSON object.")
        return data

    def _whole(self, cache: bool) -> bytes:
        data = self.get_data(cache=cache)
        # werkzeug refuses a length announced too large, but cuts a chunked body off at the limit and says nothing.
        if self.content_length is None and self.max_content_length and len(data) >= self.max_content_length:
            raise PayloadTooLarge()
        return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
